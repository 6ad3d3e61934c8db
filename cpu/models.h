// The names of the CPU models that there are: for whoever lets a user choose one.
#pragma once

#include <string_view>

namespace callgate {

/// "plain" says of the same processor only what an ordinary old one would say: without the fast strings, frequencies, timers and
/// immunities by which kernels save themselves work. It is there to be measured against. What it keeps quiet about still works, as
/// far as an instruction or register needs no permission of CR4.
constexpr std::string_view kCpuModels[] = {"callgate", "plain"};

}  // namespace callgate
