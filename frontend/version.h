#pragma once

namespace callgate {
constexpr const char* kVersion = "0.1.0";
}
