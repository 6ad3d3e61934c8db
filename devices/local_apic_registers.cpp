// Local APIC: the register file, by MMIO (xAPIC) and by MSR (x2APIC), and IA32_APIC_BASE.
#include "devices/local_apic.h"

namespace callgate {
namespace {

// SDM 3A, Local APIC Register Address Map. An x2APIC MSR is 800h + offset / 16.
constexpr u32 kId = 0x20, kVersion = 0x30, kTpr = 0x80, kApr = 0x90, kPpr = 0xA0, kEoi = 0xB0, kRrd = 0xC0, kLdr = 0xD0,
              kDfr = 0xE0, kSvr = 0xF0, kIsr = 0x100, kTmr = 0x180, kIrr = 0x200, kEsr = 0x280, kIcrLow = 0x300,
              kIcrHigh = 0x310, kLvtFirst = 0x320, kLvtLast = 0x370, kInitialCount = 0x380, kCurrentCount = 0x390,
              kDivide = 0x3E0, kSelfIpi = 0x3F0;

// Version 14h (integrated APIC), the last LVT entry's index, EOI-broadcast suppression (SDM 3A, Local APIC Version
// Register).
constexpr u32 kVersionValue = 0x14 | (LocalApic::kLvtCount - 1) << 16 | 1u << 24;

/// Bits that software may set in each LVT entry, in register order.
constexpr u32 kLvtWritable[LocalApic::kLvtCount] = {
    0x000700FF,  // timer: vector, mask, mode
    0x000107FF,  // thermal: vector, delivery mode, mask
    0x000107FF,  // performance counters
    0x0001A7FF,  // LINT0: and polarity, trigger mode
    0x0001A7FF,  // LINT1
    0x000100FF,  // error: vector, mask
};
/// Status bits that only hardware changes; writing them is no error.
constexpr u32 kLvtReadOnly[LocalApic::kLvtCount] = {0x1000, 0x1000, 0x1000, 0x5000, 0x5000, 0x1000};

/// For each x2APIC register that takes writes: the bits that may be written without #GP.
u64 x2apic_write_mask(u32 reg) {
  if (reg >= kLvtFirst && reg <= kLvtLast) {
    const u32 n = (reg - kLvtFirst) >> 4;
    return kLvtWritable[n] | kLvtReadOnly[n];
  }
  switch (reg) {
    case kTpr:
    case kSelfIpi:
      return 0xFF;
    case kEoi:
    case kEsr:
      return 0;  // Only zero may be written.
    case kSvr:
      return 0x11FF;
    case kIcrLow:
      // Bit 12 was the delivery status and is read-only, not reserved, in this mode's ICR.
      return 0xFFFF'FFFF'000C'DFFF;
    case kInitialCount:
      return 0xFFFF'FFFF;
    case kDivide:
      return 0xB;
    default:
      return 0;
  }
}

constexpr bool legal_mode(u64 base) { return (base & kApicBaseEnable) || !(base & kApicBaseX2); }

}  // namespace

u32 LocalApic::id_register() const { return x2apic() ? config_.id : config_.id << 24; }

u32 LocalApic::ldr_register() const {
  // SDM 3A, Deriving Logical x2APIC ID from the Local x2APIC ID.
  return x2apic() ? (config_.id >> 4) << 16 | 1u << (config_.id & 15) : s_.ldr;
}

std::optional<u64> LocalApic::mmio_page() const {
  if (!enabled() || x2apic()) return std::nullopt;
  return s_.base & ~kPageMask;
}

std::optional<u32> LocalApic::read_register(u32 reg) const {
  if (reg >= kLvtFirst && reg <= kLvtLast) return s_.lvt[(reg - kLvtFirst) >> 4];
  if (reg >= kIsr && reg < kTmr) return s_.isr.dword((reg - kIsr) >> 4);
  if (reg >= kTmr && reg < kIrr) return s_.tmr.dword((reg - kTmr) >> 4);
  if (reg >= kIrr && reg < kEsr) return s_.irr.dword((reg - kIrr) >> 4);
  switch (reg) {
    case kId:
      return id_register();
    case kVersion:
      return kVersionValue;
    case kTpr:
      return s_.tpr;
    case kPpr:
      return ppr();
    case kLdr:
      return ldr_register();
    case kSvr:
      return s_.svr;
    case kEsr:
      return s_.esr;
    case kIcrLow:
      return static_cast<u32>(s_.icr);
    case kInitialCount:
      return s_.initial_count;
    case kCurrentCount:
      return current_count();
    case kDivide:
      return s_.divide;
    default:
      break;
  }
  if (x2apic()) return std::nullopt;
  switch (reg) {
    case kDfr:
      return s_.dfr;
    case kIcrHigh:
      return static_cast<u32>(s_.icr >> 32);
    case kApr:
    case kRrd:  // Gone since the Pentium 4; they read as zero without an error.
    case kEoi:
      return 0;
    default:
      return std::nullopt;
  }
}

bool LocalApic::write_register(u32 reg, u32 value) {
  if (reg >= kLvtFirst && reg <= kLvtLast) {
    write_lvt(static_cast<Lvt>((reg - kLvtFirst) >> 4), value);
    return true;
  }
  switch (reg) {
    case kTpr:
      s_.tpr = value & 0xFF;
      update();
      return true;
    case kEoi:
      settle_eoi();
      end_of_interrupt();
      return true;
    case kSvr:
      write_svr(value);
      return true;
    case kEsr:
      s_.esr = s_.esr_pending;
      s_.esr_pending = 0;
      return true;
    case kIcrLow:
      s_.icr = (s_.icr & ~u64{0xFFFF'FFFF}) | (value & 0x000C'CFFF);
      send_ipi();
      return true;
    case kInitialCount:
      write_initial_count(value);
      return true;
    case kDivide:
      write_divide(value);
      return true;
    default:
      break;
  }
  if (x2apic()) {
    if (reg != kSelfIpi) return false;
    self_ipi(static_cast<u8>(value));
    return true;
  }
  switch (reg) {
    case kLdr:
      s_.ldr = value & 0xFF00'0000;
      return true;
    case kDfr:
      s_.dfr = value | 0x0FFF'FFFF;
      return true;
    case kIcrHigh:
      s_.icr = (s_.icr & 0xFFFF'FFFF) | static_cast<u64>(value & 0xFF00'0000) << 32;
      return true;
    case kId:  // Whether it can be changed is model-specific; here it can't.
    case kVersion:
    case kApr:
    case kPpr:
    case kRrd:
    case kCurrentCount:
      return true;
    default:
      return reg >= kIsr && reg < kEsr;
  }
}

void LocalApic::write_lvt(Lvt which, u32 value) {
  u32 merged = (value & kLvtWritable[which]) | (s_.lvt[which] & kLvtReadOnly[which]);
  if (!bit(s_.svr, 8)) merged |= kLvtMasked;  // Attempts to clear the mask are ignored.
  if (which == kTimer) {
    write_timer_lvt(merged);
  } else {
    s_.lvt[which] = merged;
    if (which == kLint0) {
      if (!(merged & kLvtLevel)) s_.lvt[which] &= ~kLvtRemoteIrr;
      retry_level_lint0();
    }
  }
  update();
}

void LocalApic::write_svr(u32 value) {
  const bool was_on = bit(s_.svr, 8);
  s_.svr = value & 0x11FF;
  if (!bit(value, 8)) {
    catch_up_timer();
    for (u32& lvt : s_.lvt) lvt |= kLvtMasked;
    arm_timer();
  } else if (!was_on) {
    bus_.retry();
  }
  update();
}

u64 LocalApic::read(u64 offset, unsigned size) {
  if (!mmio_page() || offset >= kPageSize) return low_mask(size * 8);
  // Only bytes 0 to 3 of each 16 hold a register; the others are undefined and read as zero here.
  const unsigned byte = offset & 15;
  if (byte >= 4) return 0;
  settle_eoi();
  const auto value = read_register(static_cast<u32>(offset) & ~15u);
  if (!value) {
    error(kEsrIllegalRegister);
    update();
    return 0;
  }
  return (*value >> (8 * byte)) & low_mask(size * 8);
}

void LocalApic::write(u64 offset, unsigned size, u64 value) {
  if (!mmio_page() || offset >= kPageSize) return;
  if ((offset & 15) != 0 || size < 4) {
    log_.line(LogChannel::Devices, "lapic {}: write of {} bytes at {:#x} ignored", config_.id, size, offset);
    return;
  }
  if (!write_register(static_cast<u32>(offset), static_cast<u32>(value))) error(kEsrIllegalRegister);
  update();
}

bool LocalApic::read_msr(u32 index, u64& value) {
  if (index == kMsrApicBase) {
    value = s_.base;
    return true;
  }
  if (index == kMsrTscDeadline) {
    value = timer_mode() == kDeadline ? s_.tsc_deadline : 0;
    return true;
  }
  if (!owns_msr(index) || !x2apic()) return false;
  settle_eoi();
  const auto low = read_register((index - kMsrX2ApicFirst) << 4);
  if (!low) return false;
  value = index - kMsrX2ApicFirst == kIcrLow >> 4 ? s_.icr : *low;
  return true;
}

bool LocalApic::write_msr(u32 index, u64 value) {
  if (index == kMsrApicBase) return write_apic_base(value);
  if (index == kMsrTscDeadline) {
    write_tsc_deadline(value);
    return true;
  }
  return owns_msr(index) && x2apic() && write_x2apic((index - kMsrX2ApicFirst) << 4, value);
}

bool LocalApic::write_x2apic(u32 reg, u64 value) {
  const u64 writable = x2apic_write_mask(reg);
  if (value & ~writable) return false;
  if (writable == 0 && reg != kEoi && reg != kEsr) return false;
  if (reg == kIcrLow) s_.icr = value & ~u64{0xFFFF'FFFF};
  return write_register(reg, static_cast<u32>(value));
}

bool LocalApic::write_apic_base(u64 value) {
  const u64 writable =
      (low_mask(config_.physical_address_bits) & ~kPageMask) | kApicBaseBsp | kApicBaseX2 | kApicBaseEnable;
  if ((value & ~writable) || !legal_mode(value)) return false;
  const bool enable = value & kApicBaseEnable;
  const bool x2 = value & kApicBaseX2;
  // SDM 3A, Local x2APIC State Transitions: x2APIC is entered from xAPIC only, and left through disabled only.
  if (x2 && !enabled()) return false;
  if (x2apic() && enable && !x2) return false;
  const bool disables = enabled() && !enable;
  s_.base = value;
  if (disables)
    clear_registers();
  else
    update();
  return true;
}

}  // namespace callgate
