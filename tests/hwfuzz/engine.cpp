#include "tests/hwfuzz/engine.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/verify.h"
#include "cpu/decoder.h"
#include "cpu/interpreter.h"
#include "cpu/system/segments.h"
#include "cpu/x87/state.h"
#include "jit/translator.h"

namespace callgate::hwfuzz {

namespace {

// Physical memory: tables first, then the pages of the cases in the order of their addresses.
constexpr u64 kGdt = 0x1000, kIdt = 0x2000, kTss = 0x3000, kHandlers = 0x4000, kStack = 0x6000, kTables = 0x8000;
constexpr u64 kPhysicalCode = 0x10000, kPhysicalExit = 0x12000, kPhysicalData = 0x13000;
/// The kernel's half: physical memory from here, for supervisors only.
constexpr u64 kKernel = 0xFFFFFFFF80000000;
constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kNoExecute = u64{1} << 63;
// Linux's selectors, so that nothing differs.
constexpr u16 kKernelCode = 0x10, kKernelData = 0x18, kUserData = 0x2B, kUserCode = 0x33, kTssSelector = 0x40;
/// More than any finite case retires: REP steps are pages.
constexpr u64 kMostRetired = 20000;

class Platform final : public CpuPlatform {
 public:
  u32 io_read(u16, unsigned) override { return ~u32{0}; }
  void io_write(u16, unsigned, u32) override {}
  bool apic_msr_read(u32, u64&) override { return false; }
  bool apic_msr_write(u32, u64) override { return false; }
  u8 task_priority() override { return 0; }
  void set_task_priority(u8) override {}
  bool interrupt_pending() override { return false; }
  u8 acknowledge_interrupt() override { return 0; }
  u64 now() override { return 0; }
  void tsc_adjusted(u64) override {}
  void set_ferr(bool) override {}
  void shutdown() override {}
};

std::unique_ptr<Ram> make_ram() { return std::move(Ram::create(0x20000).value()); }

void load(const Registers& in, Cpu& c) {
  CpuState& s = c.s;
  for (unsigned i = 0; i < 16; i++) s.gpr[i] = in.gpr[i];
  s.rip = in.rip;
  s.flags.set_value(static_cast<u32>(in.rflags));
  const FxImage& fx = in.fx;
  X87State& x = s.x87;
  x.control = x87_control_word(fx.control);
  set_x87_status_word(x, fx.status);
  x.empty = static_cast<u8>(~fx.not_empty);
  x.opcode = fx.opcode & 0x7FF;
  x.instruction_pointer = fx.instruction_pointer;
  x.data_pointer = fx.data_pointer;
  x.instruction_selector = x.data_selector = 0;
  for (unsigned i = 0; i < 8; i++) x.r[(x.top + i) & 7] = {fx.st[i].significand, fx.st[i].sign_exponent};
  s.mxcsr = fx.mxcsr;
  for (unsigned i = 0; i < 16; i++) 
    s.vec[i] = {{{fx.xmm[i][0], fx.xmm[i][1]}}, {{in.upper[i][0], in.upper[i][1]}}};
}

void store(const Cpu& c, Registers& out) {
  const CpuState& s = c.s;
  out = Registers{};
  for (unsigned i = 0; i < 16; i++) out.gpr[i] = s.gpr[i];
  out.rip = s.rip;
  out.rflags = s.flags.value();
  FxImage& fx = out.fx;
  const X87State& x = s.x87;
  fx.control = x.control;
  fx.status = x87_status_word(x);
  fx.not_empty = static_cast<u8>(~x.empty);
  fx.opcode = x.opcode;
  fx.instruction_pointer = x.instruction_pointer;
  fx.data_pointer = x.data_pointer;
  for (unsigned i = 0; i < 8; i++) {
    const fp::F80& r = x.r[(x.top + i) & 7];
    fx.st[i].significand = r.significand;
    fx.st[i].sign_exponent = r.sign_exponent;
  }
  fx.mxcsr = s.mxcsr;
  for (unsigned i = 0; i < 16; i++) {
    fx.xmm[i][0] = s.vec[i].lo.q[0];
    fx.xmm[i][1] = s.vec[i].lo.q[1];
    out.upper[i][0] = s.vec[i].hi.q[0];
    out.upper[i][1] = s.vec[i].hi.q[1];
  }
}

}  // namespace

struct Engine::Machine {
  Platform platform;
  Log log;
  CpuModel model;
  PhysicalMap memory{make_ram(), 0x80000000};
  Cpu cpu{0, memory, platform, log, model};
  DecodeCache decoded{memory};
  Interpreter interpreter{decoded};
  std::unique_ptr<jit::Translator> translator;  ///< nullptr: the interpreter runs
  Segment user_code, user_data, kernel_data;
  u64 next_table = kTables + kPageSize;
  u8 data[kDataBytes];  ///< the data pages before the run

  template <class T>
  void write(u64 physical, T v) {
    memory.bus_write(physical, {reinterpret_cast<const u8*>(&v), sizeof v});
  }
  template <class T>
  T read(u64 physical) {
    T v;
    memory.bus_read(physical, {reinterpret_cast<u8*>(&v), sizeof v});
    return v;
  }

  void map(u64 linear, u64 physical, u64 rights) {
    u64 table = kTables;
    for (int shift = 39; shift > 12; shift -= 9) {
      const u64 entry_at = table + 8 * (linear >> shift & 511);
      u64 entry = read<u64>(entry_at);
      if (entry == 0) {
        entry = next_table | kPresent | kWritable | kUser;
        next_table += kPageSize;
        VERIFY(next_table <= kPhysicalCode, "room for page tables");
        write<u64>(entry_at, entry);
      }
      table = entry & ~kPageMask;
    }
    write<u64>(table + 8 * (linear >> 12 & 511), physical | rights | kPresent);
  }

  Segment set_descriptor(u16 selector, u64 raw) {
    write<u64>(kGdt + (selector & ~7u), raw);
    return Descriptor{static_cast<u32>(raw), static_cast<u32>(raw >> 32), 0, selector}.segment();
  }

  Machine() {
    for (u64 page = 0; page < kPhysicalCode; page += kPageSize) map(kKernel + page, page, kWritable);
    for (u64 page = 0; page < kCodeBytes; page += kPageSize) map(kCode + page, kPhysicalCode + page, kUser);
    map(kExit, kPhysicalExit, kUser);
    for (u64 page = 0; page < kDataBytes; page += kPageSize)
      map(kData + page, kPhysicalData + page, kUser | kNoExecute | (kData + page < kReadOnly ? kWritable : 0));
    for (unsigned i = 0; i < kCodeBytes; i++) write<u8>(kPhysicalCode + i, kUnusedCode);
    write<u16>(kPhysicalExit, 0x0B0F);  // UD2

    set_descriptor(kKernelCode, 0x00AF9B000000FFFF);
    kernel_data = set_descriptor(kKernelData, 0x00CF93000000FFFF);
    user_data = set_descriptor(kUserData, 0x00CFF3000000FFFF);
    user_code = set_descriptor(kUserCode, 0x00AFFB000000FFFF);
    for (unsigned v = 0; v < 256; v++) {
      const u64 handler = kKernel + kHandlers + 16 * v;
      write<u8>(kHandlers + 16 * v, 0xF4);              // HLT
      const u64 gate = v == 3 || v == 4 ? 0xEE : 0x8E;  // INT3 and INTO are the user's
      write<u64>(kIdt + 16 * v,
                 (handler & 0xFFFF) | u64{kKernelCode} << 16 | gate << 40 | (handler >> 16 & 0xFFFF) << 48);
      write<u64>(kIdt + 16 * v + 8, handler >> 32);
    }
    write<u64>(kTss + 4, kKernel + kStack + kPageSize);
    write<u16>(kTss + 0x66, 0xFFFF);  // no I/O bitmap

    CpuState& s = cpu.s;
    s.gdtr = {kKernel + kGdt, 0xFF};
    s.idtr = {kKernel + kIdt, 0xFFF};
    s.ldtr = null_segment(0);
    s.tr = Descriptor{static_cast<u32>(0x00000067), 0x00008B00, 0, kTssSelector}.segment();
    s.tr.base = kKernel + kTss;
    s.cr0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Ne | kCr0Wp | kCr0Am | kCr0Pg;
    s.cr3 = kTables;
    s.cr4 = kCr4Pae | kCr4Pge | kCr4Osfxsr | kCr4Osxmmexcpt | kCr4Umip | kCr4Osxsave | kCr4Smep | kCr4Smap;
    s.msr.efer = kEferSce | kEferLme | kEferLma | kEferNxe;
    s.xcr0 = 7;
  }

  void prepare(const Case& c) {
    fill_memory(c, data);
    memory.bus_write(kPhysicalData, {data, kDataBytes});
    memory.bus_write(kPhysicalCode + c.code_at, {c.code, code_bytes(c)});
    CpuState& s = cpu.s;
    s.seg[CS] = user_code;
    s.seg[SS] = user_data;
    for (const SegReg seg : {DS, ES, FS, GS}) {
      s.seg[seg] = user_data;
      s.seg[seg].selector = 0;
    }
    s.seg[GS].base = kGsBase;
    s.cpl = 3;
    s.activity = Activity::Running;
    s.pending_db = 0;
    s.sti_shadow = s.mov_ss_shadow = false;
    s.cr2 = 0;
    s.dr6 = 0xFFFF0FF0;
    load(c.in, cpu);
    cpu.refresh();
  }

  static unsigned code_bytes(const Case& c) { return std::min<unsigned>(c.code_size, kCodeBytes - c.code_at); }
  void clear(const Case& c) {
    static constexpr std::array<u8, sizeof(Case::code)> kUnused = [] {
      std::array<u8, sizeof(Case::code)> a{};
      a.fill(kUnusedCode);
      return a;
    }();
    memory.bus_write(kPhysicalCode + c.code_at, {kUnused.data(), code_bytes(c)});
  }

  /// The handler halted: its frame says what happened.
  void read_frame(Outcome& out) {
    const unsigned vector = static_cast<unsigned>((cpu.s.rip - 1 - kKernel - kHandlers) / 16);
    u64 at = cpu.s.gpr[RSP] - kKernel;
    if (pushes_error_code(static_cast<Vector>(vector))) {
      out.error_code = static_cast<u32>(read<u64>(at));
      at += 8;
    }
    out.out.rip = read<u64>(at);
    out.out.rflags = read<u64>(at + 16);
    out.out.gpr[RSP] = read<u64>(at + 24);
    if (vector == static_cast<unsigned>(Vector::UD) && out.out.rip == kExit) {
      out.ending = Ending::Finished;
    } else {
      out.ending = Ending::Faulted;
      out.vector = static_cast<u8>(vector);
      if (vector == static_cast<unsigned>(Vector::PF)) out.cr2 = cpu.s.cr2;
    }
  }
};

Engine::Engine(Subject subject) : m_(std::make_unique<Machine>()) {
  if (subject == Subject::Interpreter) return;
  // Code is at the same place in every case.
  auto made = jit::Translator::create(m_->memory, m_->interpreter, {.interpret_rewritten = false, .verify = true});
  VERIFY(made.has_value(), "no translator for this host");
  m_->translator = std::move(*made);
}
Engine::~Engine() = default;

void Engine::run(const Case& c, Outcome& out) {
  m_->prepare(c);
  Cpu& cpu = m_->cpu;
  const u64 until = cpu.s.retired + kMostRetired;
  const bool stop = false;
  if (m_->translator) m_->translator->run(cpu, until, stop);
  else m_->interpreter.run(cpu, until, stop);
  store(cpu, out.out);
  out.vector = 0;
  out.error_code = 0;
  out.cr2 = 0;
  if (cpu.s.activity == Activity::Halted)
    m_->read_frame(out);
  else
    out.ending = cpu.s.activity == Activity::Running ? Ending::Endless : Ending::Lost;
  m_->memory.bus_read(kPhysicalData, {out.memory, kDataBytes});
  m_->clear(c);
}

void Engine::step(const Case& c, const std::function<void(Cpu&, const Insn&)>& before) {
  m_->prepare(c);
  Cpu& cpu = m_->cpu;
  const bool stop = false;
  for (u64 n = 0; n < kMostRetired && cpu.cpl() == 3 && cpu.s.rip != kExit; n++) {
    const u64 offset = cpu.s.rip - kCode;
    if (offset >= kCodeBytes) break;
    u8 bytes[kMaxInsnLength + 1] = {};
    const unsigned available = static_cast<unsigned>(std::min<u64>(sizeof bytes, kCodeBytes - offset));
    m_->memory.bus_read(kPhysicalCode + offset, {bytes, available});
    Insn insn;
    // What would be fetched from the inaccessible page is zeros here.
    if (decode(bytes, CodeSize::Bits64, insn) == DecodeStatus::Ok) {
      cpu.next_rip() = cpu.s.rip + insn.length;
      before(cpu, insn);
    }
    const u64 until = cpu.s.retired + 1;
    m_->interpreter.run(cpu, until, stop);
  }
  m_->clear(c);
}

}  // namespace callgate::hwfuzz
