#include "cpu/system/msr.h"

#include "cpu/system/control.h"
#include "cpu/system/debug.h"
#include "cpu/system/helpers.h"

namespace callgate {

namespace {

// SDM 4, Architectural MSRs.
enum Msr : u32 {
  kTimeStampCounter = 0x10,
  kPlatformId = 0x17,
  kApicBase = 0x1B,
  kTscAdjust = 0x3B,
  kBiosSignature = 0x8B,
  kMtrrCap = 0xFE,
  kArchCapabilities = 0x10A,
  kSysenterCs = 0x174,
  kSysenterEsp = 0x175,
  kSysenterEip = 0x176,
  kMcgCap = 0x179,
  kMcgStatus = 0x17A,
  kMiscEnable = 0x1A0,
  kDebugctl = 0x1D9,
  kMtrrVariable = 0x200,
  kMtrrFixed64K = 0x250,
  kMtrrFixed16K = 0x258,
  kMtrrFixed4K = 0x268,
  kPat = 0x277,
  kMtrrDefType = 0x2FF,
  kTscDeadline = 0x6E0,
  kX2ApicFirst = 0x800,
  kX2ApicLast = 0x8FF,
  kEfer = 0xC0000080,
  kStar = 0xC0000081,
  kLstar = 0xC0000082,
  kCstar = 0xC0000083,
  kSfmask = 0xC0000084,
  kFsBase = 0xC0000100,
  kGsBase = 0xC0000101,
  kKernelGsBase = 0xC0000102,
  kTscAux = 0xC0000103,
};

constexpr unsigned kVariableMtrrs = 8;
constexpr u64 kMtrrCapValue = kVariableMtrrs | 1u << 8 | 1u << 10;  // fixed ranges, write combining
constexpr u64 kMicrocodeRevision = u64{1} << 32;
// No branch trace and no PEBS: read-only bits 11 and 12.
constexpr u64 kMiscEnableReadOnly = 3u << 11;
constexpr u64 kApicGlobalEnable = 1u << 11;

/// IA32_ARCH_CAPABILITIES: nothing here speculates, so nothing leaks.
constexpr u64 kArchCapabilitiesValue = u64{1} << 0      // RDCL_NO: no Meltdown, no L1TF
                                       | u64{1} << 4    // SSB_NO
                                       | u64{1} << 5    // MDS_NO
                                       | u64{1} << 6    // IF_PSCHANGE_MC_NO
                                       | u64{1} << 8    // TAA_NO
                                       | u64{1} << 13   // SBDR_SSDP_NO
                                       | u64{1} << 14   // FBSDP_NO
                                       | u64{1} << 15   // PSDP_NO
                                       | u64{1} << 20   // BHI_NO
                                       | u64{1} << 24   // PBRSB_NO
                                       | u64{1} << 26   // GDS_NO
                                       | u64{1} << 27   // RFDS_NO
                                       | u64{1} << 62;  // ITS_NO

bool is_apic(u32 index) {
  return index == kApicBase || index == kTscDeadline || (index >= kX2ApicFirst && index <= kX2ApicLast);
}
bool is_variable_mtrr(u32 index) { return index >= kMtrrVariable && index < kMtrrVariable + 2 * kVariableMtrrs; }

/// The place of a fixed-range MTRR in Msrs::mtrr_fixed, or -1.
int fixed_mtrr(u32 index) {
  if (index == kMtrrFixed64K) return 0;
  if (index == kMtrrFixed16K || index == kMtrrFixed16K + 1) return static_cast<int>(index - kMtrrFixed16K) + 1;
  if (index >= kMtrrFixed4K && index < kMtrrFixed4K + 8) return static_cast<int>(index - kMtrrFixed4K) + 3;
  return -1;
}

bool is_mtrr_type(u64 type) { return type < 7 && type != 2 && type != 3; }  // UC, WC, WT, WP, WB
bool is_pat_type(u64 type) { return type < 8 && type != 2 && type != 3; }   // and UC-

template <class Valid>
bool all_bytes(u64 value, Valid valid) {
  for (unsigned n = 0; n < 8; n++)
    if (!valid(value >> (8 * n) & 0xFF)) return false;
  return true;
}

[[noreturn]] void no_such_register(Cpu& c, u32 index) {
  c.log.line(LogChannel::Msr, "cpu {}: MSR {:#x} does not exist", c.index, index);
  raise(Vector::GP, 0, "MSR {0:#x} does not exist", index);
}

void require(bool valid, u32 index, u64 value) {
  if (!valid) raise(Vector::GP, 0, "MSR {0:#x} does not take {1:#x}", index, value);
}

void require_canonical(u32 index, u64 value) {
  if (!is_canonical(value)) raise(Vector::GP, 0, "MSR {0:#x} := {1:#x}, which is not canonical", index, value);
}

u64 read_hypervisor_msr(Cpu& c, u32 index) {
  u64 value = 0;
  const MsrAnswer answer = c.hypervisor != nullptr ? c.hypervisor->read_msr(c, index, value) : MsrAnswer::Unknown;
  if (answer == MsrAnswer::Unknown) no_such_register(c, index);
  require(answer == MsrAnswer::Done, index, 0);
  return value;
}

void write_hypervisor_msr(Cpu& c, u32 index, u64 value) {
  const MsrAnswer answer = c.hypervisor != nullptr ? c.hypervisor->write_msr(c, index, value) : MsrAnswer::Unknown;
  if (answer == MsrAnswer::Unknown) no_such_register(c, index);
  require(answer == MsrAnswer::Done, index, value);
}

void set_tsc_adjust(Cpu& c, u64 adjust) {
  c.s.msr.tsc_adjust = adjust;
  c.request_attention();  // an engine may have worked out what the TSC will be
  c.platform.tsc_adjusted(adjust);
}

void write_variable_mtrr(Cpu& c, u32 index, u64 value) {
  const bool mask = index & 1;
  require(value >> kPhysicalBits == 0, index, value);
  require(mask ? (value & 0x7FF) == 0 : (value & 0xF00) == 0 && is_mtrr_type(value & 0xFF), index, value);
  c.s.msr.mtrr_variable[index - kMtrrVariable] = value;
}

}  // namespace

bool apic_enabled(Cpu& c) {
  u64 base = 0;
  return c.platform.apic_msr_read(kApicBase, base) && (base & kApicGlobalEnable);
}

u64 read_msr(Cpu& c, u32 index) {
  const Msrs& m = c.s.msr;
  if (is_apic(index)) {
    u64 value = 0;
    if (!c.platform.apic_msr_read(index, value)) no_such_register(c, index);
    return value;
  }
  if (is_variable_mtrr(index)) return m.mtrr_variable[index - kMtrrVariable];
  if (const int n = fixed_mtrr(index); n >= 0) return m.mtrr_fixed[n];
  switch (index) {
    case kTimeStampCounter:
      return time_stamp_counter(c);
    case kPlatformId:
      return 0;
    case kTscAdjust:
      return m.tsc_adjust;
    case kBiosSignature:
      return kMicrocodeRevision;
    case kMtrrCap:
      return kMtrrCapValue;
    case kArchCapabilities:
      return kArchCapabilitiesValue;
    case kSysenterCs:
      return m.sysenter_cs;
    case kSysenterEsp:
      return m.sysenter_esp;
    case kSysenterEip:
      return m.sysenter_eip;
    case kMcgCap:
    case kMcgStatus:
      return 0;  // no banks: nothing in here breaks
    case kMiscEnable:
      return m.misc_enable | kMiscEnableReadOnly;
    case kDebugctl:
      return m.debugctl;
    case kPat:
      return m.pat;
    case kMtrrDefType:
      return m.mtrr_def_type;
    case kEfer:
      return m.efer;
    case kStar:
      return m.star;
    case kLstar:
      return m.lstar;
    case kCstar:
      return m.cstar;
    case kSfmask:
      return m.sfmask;
    case kFsBase:
      return c.s.seg[FS].base;
    case kGsBase:
      return c.s.seg[GS].base;
    case kKernelGsBase:
      return m.kernel_gs_base;
    case kTscAux:
      return m.tsc_aux;
    default:
      return read_hypervisor_msr(c, index);
  }
}

void write_msr(Cpu& c, u32 index, u64 value) {
  Msrs& m = c.s.msr;
  if (is_apic(index)) {
    if (!c.platform.apic_msr_write(index, value))
      raise(Vector::GP, 0, "MSR {0:#x} of the local APIC does not exist or does not take {1:#x}", index, value);
    c.request_attention();  // an EOI or a priority may let an interrupt through
    return;
  }
  if (is_variable_mtrr(index)) return write_variable_mtrr(c, index, value);
  if (const int n = fixed_mtrr(index); n >= 0) {
    require(all_bytes(value, is_mtrr_type), index, value);
    m.mtrr_fixed[n] = value;
    return;
  }
  switch (index) {
    case kTimeStampCounter:
      return set_tsc_adjust(c, value - c.platform.now());
    case kTscAdjust:
      return set_tsc_adjust(c, value);
    case kBiosSignature:
      return;  // software clears it before it asks CPUID for the revision
    case kSysenterCs:
      m.sysenter_cs = value;
      return;
    case kSysenterEsp:
      require_canonical(index, value);
      m.sysenter_esp = value;
      return;
    case kSysenterEip:
      require_canonical(index, value);
      m.sysenter_eip = value;
      return;
    case kMcgStatus:
      return require(value == 0, index, value);
    case kMiscEnable:
      value &= ~kMiscEnableReadOnly;
      require(!(value & ~(kMiscEnableFastStrings | kMiscEnableMonitor)), index, value);
      m.misc_enable = value;
      return;
    case kDebugctl:
      require(!(value & ~kDebugctlBtf), index, value);
      m.debugctl = value;
      return;
    case kPat:
      require(all_bytes(value, is_pat_type), index, value);
      m.pat = value;
      return;
    case kMtrrDefType:
      require(!(value & ~u64{0xCFF}) && is_mtrr_type(value & 0xFF), index, value);
      m.mtrr_def_type = value;
      return;
    case kEfer:
      return write_efer(c, value);
    case kStar:
      m.star = value;
      return;
    case kLstar:
      require_canonical(index, value);
      m.lstar = value;
      return;
    case kCstar:
      require_canonical(index, value);
      m.cstar = value;
      return;
    case kSfmask:
      require(value >> 32 == 0, index, value);
      m.sfmask = value;
      return;
    case kFsBase:
      require_canonical(index, value);
      c.s.seg[FS].base = value;
      return c.refresh();
    case kGsBase:
      require_canonical(index, value);
      c.s.seg[GS].base = value;
      return c.refresh();
    case kKernelGsBase:
      require_canonical(index, value);
      m.kernel_gs_base = value;
      return;
    case kTscAux:
      require(value >> 32 == 0, index, value);
      m.tsc_aux = value;
      return;
    case kPlatformId:
    case kMtrrCap:
    case kArchCapabilities:
    case kMcgCap:
      raise(Vector::GP, 0, "MSR {0:#x} is read-only", index);
    default:
      return write_hypervisor_msr(c, index, value);
  }
}

namespace helpers {

void rdmsr(Cpu& c, const Insn&) {
  const u32 index = c.gpr<u32>(RCX);
  const u64 value = read_msr(c, index);
  c.log.line(LogChannel::Msr, "cpu {}: rdmsr {:#x} -> {:#x}", c.index, index, value);
  c.set_gpr<u32>(RAX, static_cast<u32>(value));
  c.set_gpr<u32>(RDX, static_cast<u32>(value >> 32));
}

void wrmsr(Cpu& c, const Insn&) {
  const u32 index = c.gpr<u32>(RCX);
  const u64 value = u64{c.gpr<u32>(RDX)} << 32 | c.gpr<u32>(RAX);
  c.log.line(LogChannel::Msr, "cpu {}: wrmsr {:#x} <- {:#x}", c.index, index, value);
  write_msr(c, index, value);
}

}  // namespace helpers
}  // namespace callgate
