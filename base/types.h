// Integer names used everywhere, and the page geometry of x86.
#pragma once

#include <cstddef>
#include <cstdint>

namespace callgate {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
__extension__ using u128 = unsigned __int128;
__extension__ using i128 = __int128;

constexpr unsigned kPageShift = 12;
constexpr u64 kPageSize = u64{1} << kPageShift;
constexpr u64 kPageMask = kPageSize - 1;

}  // namespace callgate
