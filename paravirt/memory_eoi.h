// An EOI that a guest makes in a word of its memory: bit 0 is set with an interrupt that needs no other, and the guest clears it
// instead of writing the register. KVM's and Hyper-V's are alike in that; where the word is, each knows itself.
#pragma once

#include <optional>

#include "devices/local_apic.h"
#include "paravirt/guest_ram.h"

namespace callgate::paravirt {

class MemoryEoi : public LazyEoi {
 public:
  explicit MemoryEoi(PhysicalMap& memory) : memory_(memory) {}

  /// Where the word is, if the guest has said so.
  virtual std::optional<u64> place() const = 0;

  void offer() override {
    if (const auto at = place()) offered = write_ram(memory_, *at, kNotNeeded);
  }
  bool collect() override {
    if (!offered) return false;
    offered = false;
    u8 word = 0;
    const u64 at = place().value_or(kPhysicalEnd);
    read_ram(memory_, at, word);
    if (word & kNotNeeded) {
      write_ram(memory_, at, u8{0});
      return false;
    }
    made++;
    return true;
  }

  bool offered = false;  ///< state: the bit was set, and not looked at since
  u64 made = 0;          ///< EOIs that the guest made like that. A figure, not state

 private:
  static constexpr u8 kNotNeeded = 1;
  PhysicalMap& memory_;
};

}  // namespace callgate::paravirt
