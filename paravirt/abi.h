// The numbers of paravirt/ABI.md. guest/callgate.h has the same ones for guests.
#pragma once

#include "base/types.h"

namespace callgate::paravirt::abi {

constexpr u32 kVersion = 1u << 16 | 0;  ///< major << 16 | minor
constexpr u16 kPort = 0xE4;

enum Status : u32 { kOk = 0, kNoSys = 1 };

enum Call : u32 { kProbe = 0 };

}  // namespace callgate::paravirt::abi
