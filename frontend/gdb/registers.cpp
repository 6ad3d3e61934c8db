#include "frontend/gdb/registers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace callgate::gdb {

namespace {

// Where the manual has names for bits that no processor of ours has, a debugger may not set them: an instruction couldn't
// either. SDM 3A, Control Registers.
constexpr u64 kCr0Known = kCr0Pe | kCr0Mp | kCr0Em | kCr0Ts | kCr0Et | kCr0Ne | kCr0Wp | kCr0Am | kCr0Nw | kCr0Cd | kCr0Pg;
constexpr u64 kCr4Known = kCr4Vme | kCr4Pvi | kCr4Tsd | kCr4De | kCr4Pse | kCr4Pae | kCr4Mce | kCr4Pge | kCr4Pce |
                          kCr4Osfxsr | kCr4Osxmmexcpt | kCr4Umip | kCr4Fsgsbase | kCr4Pcide | kCr4Osxsave | kCr4Smep | kCr4Smap;
constexpr u64 kEferKnown = kEferSce | kEferLme | kEferLma | kEferNxe;
constexpr u64 kDr6Writable = 0xE00F, kDr6Ones = 0xFFFF0FF0, kDr7Writable = 0xFFFF23FF, kDr7Ones = 0x400;
constexpr u32 kMxcsrKnown = 0xFFFF;
constexpr u16 kStatusKept = 0x477F;  // all but TOP, ES and B, which follow from other fields. SDM 1, x87 FPU Status Word

template <class T>
void put(u8* to, T value) {
  std::memcpy(to, &value, sizeof value);
}
template <class T>
T take(const u8* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

bool real_or_v86(const CpuState& s) { return !(s.cr0 & kCr0Pe) || s.flags.test(kVM); }

/// EFER.LMA is what LME and paging make it: a processor never holds anything else.
void settle_long_mode(CpuState& s) {
  const bool active = (s.msr.efer & kEferLme) && (s.cr0 & kCr0Pg);
  s.msr.efer = active ? s.msr.efer | kEferLma : s.msr.efer & ~u64{kEferLma};
}

/// The tag word as FSTENV stores it, two bits a physical register. SDM 1, x87 FPU Tag Word.
u16 full_tags(const X87State& x) {
  u16 tags = 0;
  for (unsigned i = 0; i < 8; i++) {
    const u16 exponent = x.r[i].sign_exponent & 0x7FFF;
    const u64 significand = x.r[i].significand;
    unsigned tag = 0;
    if (x.empty >> i & 1) tag = 3;
    else if (exponent == 0 && significand == 0) tag = 1;
    else if (exponent == 0 || exponent == 0x7FFF || !(significand >> 63)) tag = 2;
    tags = static_cast<u16>(tags | tag << (2 * i));
  }
  return tags;
}

/// A register that is a field of the state.
template <class T>
Register field(std::string name, std::string type, Register::Feature feature, T& (*of)(CpuState&)) {
  return {std::move(name), sizeof(T), std::move(type), feature,
          [of](const RegisterValues& v, u8* to) { put(to, of(const_cast<CpuState&>(v.s))); },
          [of](RegisterValues& v, const u8* from) {
            of(v.s) = take<T>(from);
            return true;
          }};
}
/// A register of `bytes` that is worked out.
Register computed(std::string name, unsigned bytes, std::string type, Register::Feature feature,
                  std::function<u64(const RegisterValues&)> get, std::function<bool(RegisterValues&, u64)> set) {
  return {std::move(name), bytes, std::move(type), feature,
          [get, bytes](const RegisterValues& v, u8* to) {
            const u64 value = get(v);
            std::memcpy(to, &value, bytes);
          },
          [set, bytes](RegisterValues& v, const u8* from) {
            u64 value = 0;
            std::memcpy(&value, from, bytes);
            return set && set(v, value);
          }};
}

const char* const kSegmentNames[] = {"es", "cs", "ss", "ds", "fs", "gs"};

/// A general register; in the 32-bit views its low half.
Register general(std::string name, unsigned number, bool wide, std::string type) {
  return computed(std::move(name), wide ? 8 : 4, std::move(type), Register::Core,
                  [number](const RegisterValues& v) { return v.s.gpr[number]; },
                  [number, wide](RegisterValues& v, u64 value) {
                    u64& reg = v.s.gpr[number];
                    reg = wide ? value : (reg & ~u64{0xFFFFFFFF}) | value;
                    return true;
                  });
}

/// RIP, or the linear address of the instruction; ESP likewise.
Register pointer(std::string name, bool linear, bool wide, std::string type, SegReg seg, u64& (*of)(CpuState&)) {
  const auto long_code = [](const CpuState& s) { return (s.msr.efer & kEferLma) && s.seg[CS].long_mode(); };
  const auto base = [=](const CpuState& s) { return linear && !long_code(s) ? s.seg[seg].base : 0; };
  // Of a 16-bit stack ESP's upper half is no part of the address.
  const auto mask = [=](const CpuState& s) {
    return linear && seg == SS && !long_code(s) && !s.seg[SS].big() ? u64{0xFFFF} : ~u64{0};
  };
  return computed(std::move(name), wide ? 8 : 4, std::move(type), Register::Core,
                  [=](const RegisterValues& v) { return (of(const_cast<CpuState&>(v.s)) & mask(v.s)) + base(v.s); },
                  [=](RegisterValues& v, u64 value) {
                    u64& reg = of(v.s);
                    const u64 writable = mask(v.s) & (wide ? ~u64{0} : 0xFFFFFFFF);
                    reg = (reg & ~writable) | ((value - base(v.s)) & writable);
                    return true;
                  });
}

Register selector(unsigned number) {
  return computed(kSegmentNames[number], 4, "int32", Register::Core,
                  [number](const RegisterValues& v) { return v.s.seg[number].selector; },
                  [number](RegisterValues& v, u64 value) {
                    if (value > 0xFFFF) return false;
                    Segment& seg = v.s.seg[number];
                    seg.selector = static_cast<u16>(value);
                    if (real_or_v86(v.s)) seg.base = value << 4;
                    return true;
                  });
}

void add_core(std::vector<Register>& to, View view) {
  const bool wide = view == View::X86_64, linear = view == View::I8086;
  const auto rsp = [](CpuState& s) -> u64& { return s.gpr[RSP]; };
  const auto rip = [](CpuState& s) -> u64& { return s.rip; };
  if (wide) {
    static constexpr std::pair<const char*, unsigned> kOrder[] = {{"rax", RAX}, {"rbx", RBX}, {"rcx", RCX}, {"rdx", RDX},
                                                                  {"rsi", RSI}, {"rdi", RDI}, {"rbp", RBP}, {"rsp", RSP}};
    for (const auto& [name, number] : kOrder)
      to.push_back(general(name, number, true, number == RBP || number == RSP ? "data_ptr" : "int64"));
    for (unsigned i = 8; i < 16; i++) to.push_back(general(fmt::format("r{}", i), i, true, "int64"));
    to.push_back(pointer("rip", false, true, "code_ptr", CS, rip));
  } else {
    static constexpr std::pair<const char*, unsigned> kOrder[] = {{"eax", RAX}, {"ecx", RCX}, {"edx", RDX}, {"ebx", RBX},
                                                                  {"esp", RSP}, {"ebp", RBP}, {"esi", RSI}, {"edi", RDI}};
    for (const auto& [name, number] : kOrder) {
      if (number == RSP) to.push_back(pointer(name, linear, false, "data_ptr", SS, rsp));
      else to.push_back(general(name, number, false, number == RBP ? "data_ptr" : "int32"));
    }
    to.push_back(pointer("eip", linear, false, "code_ptr", CS, rip));
  }
  to.push_back(computed("eflags", 4, "i386_eflags", Register::Core, [](const RegisterValues& v) { return v.s.flags.value(); },
                        [](RegisterValues& v, u64 value) {
                          if ((value & kVM) && (v.s.msr.efer & kEferLma)) return false;
                          v.s.flags.set_value(static_cast<u32>(value));
                          return true;
                        }));
  for (const unsigned number : {CS, SS, DS, ES, FS, GS}) to.push_back(selector(number));
  for (unsigned i = 0; i < 8; i++)
    to.push_back({fmt::format("st{}", i), 10, "i387_ext", Register::Core,
                  [i](const RegisterValues& v, u8* bytes) {
                    const fp::F80& r = v.s.x87.r[(v.s.x87.top + i) & 7];
                    put(bytes, r.significand);
                    put(bytes + 8, r.sign_exponent);
                  },
                  [i](RegisterValues& v, const u8* bytes) {
                    v.s.x87.r[(v.s.x87.top + i) & 7] = {take<u64>(bytes), take<u16>(bytes + 8)};
                    return true;
                  }});
  using X = X87State;
  const auto unit = [&](const char* name, u64 (*get)(const X&), bool (*set)(X&, u64)) {
    to.push_back(computed(name, 4, "int", Register::Core, [get](const RegisterValues& v) { return get(v.s.x87); },
                          [set](RegisterValues& v, u64 value) { return set(v.s.x87, value); }));
  };
  unit("fctrl", [](const X& x) -> u64 { return x.control; }, [](X& x, u64 v) {
         x.control = static_cast<u16>((v & 0x1F7F) | 0x40);
         return v <= 0xFFFF;
       });
  unit("fstat", [](const X& x) -> u64 { return (x.status & kStatusKept) | u64{x.top} << 11 | (x.status & ~x.control & 0x3Fu ? 0x8080 : 0); },
       [](X& x, u64 v) {
         x.top = v >> 11 & 7;
         x.status = static_cast<u16>(v & kStatusKept);
         return v <= 0xFFFF;
       });
  unit("ftag", [](const X& x) -> u64 { return full_tags(x); },
       [](X& x, u64 v) {
         x.empty = 0;
         for (unsigned i = 0; i < 8; i++)
           if ((v >> (2 * i) & 3) == 3) x.empty = static_cast<u8>(x.empty | 1u << i);
         return v <= 0xFFFF;
       });
  unit("fiseg", [](const X& x) -> u64 { return x.instruction_selector; },
       [](X& x, u64 v) { return x.instruction_selector = static_cast<u16>(v), v <= 0xFFFF; });
  unit("fioff", [](const X& x) -> u64 { return static_cast<u32>(x.instruction_pointer); },
       [](X& x, u64 v) { return x.instruction_pointer = v, true; });
  unit("foseg", [](const X& x) -> u64 { return x.data_selector; },
       [](X& x, u64 v) { return x.data_selector = static_cast<u16>(v), v <= 0xFFFF; });
  unit("fooff", [](const X& x) -> u64 { return static_cast<u32>(x.data_pointer); },
       [](X& x, u64 v) { return x.data_pointer = v, true; });
  unit("fop", [](const X& x) -> u64 { return x.opcode; },
       [](X& x, u64 v) { return x.opcode = static_cast<u16>(v & 0x7FF), v <= 0x7FF; });
}

void add_vectors(std::vector<Register>& to, bool wide) {
  const unsigned count = wide ? 16 : 8;
  const auto half = [&](std::string name, std::string type, Register::Feature feature, unsigned i, V128 VectorRegister::* part) {
    to.push_back({std::move(name), 16, std::move(type), feature,
                  [i, part](const RegisterValues& v, u8* bytes) { std::memcpy(bytes, (v.s.vec[i].*part).b, 16); },
                  [i, part](RegisterValues& v, const u8* bytes) {
                    std::memcpy((v.s.vec[i].*part).b, bytes, 16);
                    return true;
                  }});
  };
  for (unsigned i = 0; i < count; i++) half(fmt::format("xmm{}", i), "vec128", Register::Sse, i, &VectorRegister::lo);
  to.push_back(computed("mxcsr", 4, "i386_mxcsr", Register::Sse, [](const RegisterValues& v) { return v.s.mxcsr; },
                        [](RegisterValues& v, u64 value) {
                          v.s.mxcsr = static_cast<u32>(value);
                          return !(value & ~u64{kMxcsrKnown});
                        }));
  if (wide) {
    to.push_back(field<u64>("fs_base", "int64", Register::Segments, [](CpuState& s) -> u64& { return s.seg[FS].base; }));
    to.push_back(field<u64>("gs_base", "int64", Register::Segments, [](CpuState& s) -> u64& { return s.seg[GS].base; }));
  }
  for (unsigned i = 0; i < count; i++) half(fmt::format("ymm{}h", i), "uint128", Register::Avx, i, &VectorRegister::hi);
}

void add_control(std::vector<Register>& to) {
  const auto control = [&](const char* name, const char* type, u64& (*of)(CpuState&), bool (*legal)(const CpuState&, u64)) {
    to.push_back(computed(name, 8, type, Register::System,
                          [of](const RegisterValues& v) { return of(const_cast<CpuState&>(v.s)); },
                          [of, legal](RegisterValues& v, u64 value) {
                            if (!legal(v.s, value)) return false;
                            of(v.s) = value;
                            settle_long_mode(v.s);
                            return true;
                          }));
  };
  const auto any = [](const CpuState&, u64) { return true; };
  control("cr0", "cr0_flags", [](CpuState& s) -> u64& { return s.cr0; },
          [](const CpuState&, u64 v) { return !(v & ~kCr0Known) && !((v & kCr0Pg) && !(v & kCr0Pe)); });
  control("cr2", "int64", [](CpuState& s) -> u64& { return s.cr2; }, any);
  control("cr3", "int64", [](CpuState& s) -> u64& { return s.cr3; }, [](const CpuState&, u64 v) { return v >> 40 == 0; });
  control("cr4", "cr4_flags", [](CpuState& s) -> u64& { return s.cr4; },
          [](const CpuState&, u64 v) { return !(v & ~kCr4Known); });
  to.push_back(computed("cr8", 8, "int64", Register::System, [](const RegisterValues& v) { return v.cr8; }, nullptr));
  control("efer", "efer_flags", [](CpuState& s) -> u64& { return s.msr.efer; },
          [](const CpuState&, u64 v) { return !(v & ~kEferKnown); });
  control("xcr0", "int64", [](CpuState& s) -> u64& { return s.xcr0; },
          [](const CpuState&, u64 v) { return (v & 1) && !(v & ~u64{7}) && (v & 6) != 4; });
  for (unsigned i = 0; i < 4; i++)
    to.push_back(computed(fmt::format("dr{}", i), 8, "int64", Register::System,
                          [i](const RegisterValues& v) { return v.s.dr[i]; },
                          [i](RegisterValues& v, u64 value) { return v.s.dr[i] = value, true; }));
  to.push_back(computed("dr6", 8, "int64", Register::System, [](const RegisterValues& v) { return v.s.dr6; },
                        [](RegisterValues& v, u64 value) { return v.s.dr6 = (value & kDr6Writable) | kDr6Ones, true; }));
  to.push_back(computed("dr7", 8, "int64", Register::System, [](const RegisterValues& v) { return v.s.dr7; },
                        [](RegisterValues& v, u64 value) { return v.s.dr7 = (value & kDr7Writable) | kDr7Ones, true; }));
}

void add_segments(std::vector<Register>& to, bool wide) {
  const auto hidden = [&](std::string name, std::function<Segment&(CpuState&)> of, bool base, bool system) {
    const auto seg = [of](const RegisterValues& v) -> Segment& { return of(const_cast<CpuState&>(v.s)); };
    if (system)
      to.push_back(computed(name, 4, "int32", Register::System, [seg](const RegisterValues& v) { return seg(v).selector; },
                            [of](RegisterValues& v, u64 value) {
                              of(v.s).selector = static_cast<u16>(value);
                              return value <= 0xFFFF;
                            }));
    if (base)
      to.push_back(computed(name + "_base", 8, "int64", Register::System, [seg](const RegisterValues& v) { return seg(v).base; },
                            [of](RegisterValues& v, u64 value) { return of(v.s).base = value, true; }));
    to.push_back(computed(name + "_limit", 4, "uint32", Register::System, [seg](const RegisterValues& v) { return seg(v).limit; },
                          [of](RegisterValues& v, u64 value) { return of(v.s).limit = static_cast<u32>(value), true; }));
    to.push_back(computed(name + "_attr", 4, "segment_attr", Register::System,
                          [seg](const RegisterValues& v) { return seg(v).rights; },
                          [of](RegisterValues& v, u64 value) {
                            of(v.s).rights = static_cast<u32>(value);
                            return !(value & ~u64{0x1F0FF});
                          }));
  };
  for (const unsigned number : {CS, SS, DS, ES, FS, GS})
    hidden(kSegmentNames[number], [number](CpuState& s) -> Segment& { return s.seg[number]; }, number < FS || !wide, false);
  hidden("ldtr", [](CpuState& s) -> Segment& { return s.ldtr; }, true, true);
  hidden("tr", [](CpuState& s) -> Segment& { return s.tr; }, true, true);
  const auto table = [&](const char* name, TableRegister& (*of)(CpuState&)) {
    const auto get = [of](const RegisterValues& v) -> TableRegister& { return of(const_cast<CpuState&>(v.s)); };
    to.push_back(computed(fmt::format("{}_base", name), 8, "int64", Register::System,
                          [get](const RegisterValues& v) { return get(v).base; },
                          [of](RegisterValues& v, u64 value) { return of(v.s).base = value, true; }));
    to.push_back(computed(fmt::format("{}_limit", name), 2, "uint16", Register::System,
                          [get](const RegisterValues& v) { return get(v).limit; },
                          [of](RegisterValues& v, u64 value) { return of(v.s).limit = static_cast<u16>(value), true; }));
  };
  table("gdtr", [](CpuState& s) -> TableRegister& { return s.gdtr; });
  table("idtr", [](CpuState& s) -> TableRegister& { return s.idtr; });
  to.push_back(computed("cpl", 1, "uint8", Register::System, [](const RegisterValues& v) { return v.s.cpl; },
                        [](RegisterValues& v, u64 value) {
                          if (value > 3) return false;
                          v.s.cpl = static_cast<u8>(value);
                          return true;
                        }));
}

void add_msrs(std::vector<Register>& to) {
  const auto msr = [&](const char* name, u64& (*of)(CpuState&)) { to.push_back(field<u64>(name, "int64", Register::System, of)); };
  msr("k_gs_base", [](CpuState& s) -> u64& { return s.msr.kernel_gs_base; });
  msr("star", [](CpuState& s) -> u64& { return s.msr.star; });
  msr("lstar", [](CpuState& s) -> u64& { return s.msr.lstar; });
  msr("cstar", [](CpuState& s) -> u64& { return s.msr.cstar; });
  msr("sfmask", [](CpuState& s) -> u64& { return s.msr.sfmask; });
  msr("sysenter_cs", [](CpuState& s) -> u64& { return s.msr.sysenter_cs; });
  msr("sysenter_esp", [](CpuState& s) -> u64& { return s.msr.sysenter_esp; });
  msr("sysenter_eip", [](CpuState& s) -> u64& { return s.msr.sysenter_eip; });
  msr("pat", [](CpuState& s) -> u64& { return s.msr.pat; });
  msr("tsc_aux", [](CpuState& s) -> u64& { return s.msr.tsc_aux; });
  msr("misc_enable", [](CpuState& s) -> u64& { return s.msr.misc_enable; });
  msr("debugctl", [](CpuState& s) -> u64& { return s.msr.debugctl; });
  to.push_back(computed("tsc_adjust", 8, "int64", Register::System,
                        [](const RegisterValues& v) { return v.s.msr.tsc_adjust; }, nullptr));
  to.push_back(computed("apic_base", 8, "int64", Register::System, [](const RegisterValues& v) { return v.apic_base; }, nullptr));
  to.push_back(computed("retired", 8, "int64", Register::System, [](const RegisterValues& v) { return v.s.retired; }, nullptr));
}

}  // namespace

RegisterFile::RegisterFile(View view) : view_(view) {
  const bool wide = view == View::X86_64;
  add_core(registers_, view);
  add_vectors(registers_, wide);
  add_control(registers_);
  add_segments(registers_, wide);
  add_msrs(registers_);
  for (const Register& r : registers_) bytes_ += r.bytes;
}

std::vector<u8> RegisterFile::read(const RegisterValues& values, std::size_t number) const {
  std::vector<u8> bytes(registers_[number].bytes);
  registers_[number].get(values, bytes.data());
  return bytes;
}

std::vector<u8> RegisterFile::read_all(const RegisterValues& values) const {
  std::vector<u8> bytes(bytes_);
  std::size_t at = 0;
  for (const Register& r : registers_) {
    r.get(values, bytes.data() + at);
    at += r.bytes;
  }
  return bytes;
}

bool RegisterFile::write(RegisterValues& values, std::size_t number, std::span<const u8> bytes) const {
  const Register& r = registers_[number];
  if (bytes.size() != r.bytes) return false;
  const std::vector<u8> now = read(values, number);
  if (std::equal(bytes.begin(), bytes.end(), now.begin())) return true;
  RegisterValues changed = values;
  if (!r.set(changed, bytes.data())) return false;
  values = changed;
  return true;
}

bool RegisterFile::write_all(RegisterValues& values, std::span<const u8> bytes) const {
  // What differs from the state before the packet is what the user changed: a register that follows from another one
  // (a base from its selector) must not be set back by its old value.
  const RegisterValues before = values;
  std::size_t at = 0;
  for (std::size_t number = 0; number < registers_.size(); number++) {
    const std::size_t size = registers_[number].bytes;
    if (bytes.size() - at < size) break;
    const auto wanted = bytes.subspan(at, size);
    at += size;
    const std::vector<u8> old = read(before, number);
    if (!std::equal(wanted.begin(), wanted.end(), old.begin())) write(values, number, wanted);
  }
  return at != 0;
}

std::size_t RegisterFile::find(const std::string& name) const {
  const auto it = std::find_if(registers_.begin(), registers_.end(), [&](const Register& r) { return r.name == name; });
  return static_cast<std::size_t>(it - registers_.begin());
}

}  // namespace callgate::gdb
