// A guest fault as a value, for those who do something on the guest's behalf and answer with a status instead of an exception.
#pragma once

#include <optional>

#include "cpu/fault.h"

namespace callgate {

/// Does `work`; the fault that it raised, if it did. Nothing is delivered.
template <class Work>
std::optional<Fault> attempt(Work&& work) {
  try {
    work();
    return std::nullopt;
  } catch (const Fault& fault) {
    return fault;
  }
}

}  // namespace callgate
