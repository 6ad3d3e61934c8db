#include "machine/lockstep.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/verify.h"
#include "cpu/decoder.h"
#include "cpu/disassembler.h"
#include "machine/fault_report.h"

namespace callgate {

namespace {

/// How many pieces of a stretch are looked at in one go, and how many instructions a report shows.
constexpr u64 kPieces = 1024, kShown = 24;
constexpr unsigned kShownBytes = 8;

CodeSize code_size(const CpuState& s) {
  if ((s.msr.efer & kEferLma) && s.seg[CS].long_mode()) return CodeSize::Bits64;
  return s.seg[CS].big() ? CodeSize::Bits32 : CodeSize::Bits16;
}

/// The instruction that processor `cpu` executes next.
std::string next_instruction(Machine& m, unsigned cpu) {
  const CpuState& s = m.cpu_state(cpu);
  const CodeSize size = code_size(s);
  std::vector<u8> bytes;
  for (u8 byte; bytes.size() < kMaxInsnLength; bytes.push_back(byte))
    if (!m.read_linear(cpu, (size == CodeSize::Bits64 ? 0 : s.seg[CS].base) + s.rip + bytes.size(), {&byte, 1})) break;
  if (bytes.empty()) return fmt::format("{:#018x}  (no memory is mapped here)", s.rip);
  const Disassembly d = disassemble(bytes, s.rip, size);
  std::string hex;
  for (unsigned k = 0; k < d.length && k < bytes.size(); k++) hex += fmt::format("{:02x} ", bytes[k]);
  return fmt::format("{:#018x}  {:<32} {}", s.rip, hex, d.text);
}

/// What differs of two processors, a line each; registers that a person knows by name.
std::string compare(const CpuState& a, const CpuState& b) {
  static constexpr const char* kGpr[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  static constexpr const char* kSeg[kSegCount] = {"es", "cs", "ss", "ds", "fs", "gs"};
  std::string out;
  const auto field = [&](const std::string& name, u64 x, u64 y) {
    if (x != y) out += fmt::format("  {:<10} {:#018x}  {:#018x}\n", name, x, y);
  };
  field("rip", a.rip, b.rip);
  field("retired", a.retired, b.retired);
  field("rflags", a.flags.value(), b.flags.value());
  for (unsigned i = 0; i < 16; i++) field(kGpr[i], a.gpr[i], b.gpr[i]);
  for (unsigned i = 0; i < kSegCount; i++) {
    field(fmt::format("{}.selector", kSeg[i]), a.seg[i].selector, b.seg[i].selector);
    field(fmt::format("{}.base", kSeg[i]), a.seg[i].base, b.seg[i].base);
    field(fmt::format("{}.limit", kSeg[i]), a.seg[i].limit, b.seg[i].limit);
    field(fmt::format("{}.rights", kSeg[i]), a.seg[i].rights, b.seg[i].rights);
  }
  field("cr0", a.cr0, b.cr0);
  field("cr2", a.cr2, b.cr2);
  field("cr3", a.cr3, b.cr3);
  field("cr4", a.cr4, b.cr4);
  field("efer", a.msr.efer, b.msr.efer);
  field("dr6", a.dr6, b.dr6);
  field("cpl", a.cpl, b.cpl);
  field("activity", static_cast<u64>(a.activity), static_cast<u64>(b.activity));
  field("shadows", a.sti_shadow | a.mov_ss_shadow << 1, b.sti_shadow | b.mov_ss_shadow << 1);
  field("pending #DB", a.pending_db, b.pending_db);
  field("mxcsr", a.mxcsr, b.mxcsr);
  for (unsigned i = 0; i < 16; i++)
    for (unsigned q = 0; q < 4; q++) {
      const auto lane = [&](const CpuState& s) { return q < 2 ? s.vec[i].lo.q[q] : s.vec[i].hi.q[q - 2]; };
      field(fmt::format("ymm{}.q{}", i, q), lane(a), lane(b));
    }
  field("x87 control", a.x87.control, b.x87.control);
  field("x87 status", a.x87.status, b.x87.status);
  field("x87 top", a.x87.top, b.x87.top);
  field("x87 empty", a.x87.empty, b.x87.empty);
  for (unsigned i = 0; i < 8; i++)
    if (std::memcmp(&a.x87.r[i], &b.x87.r[i], 10) != 0) out += fmt::format("  x87 register R{} differs\n", i);
  return out;
}

std::string compare_memory(Machine& a, Machine& b) {
  std::string out;
  std::vector<u8> x(kPageSize), y(kPageSize);
  unsigned shown = 0;
  for (u64 at = 0; at < a.config().ram_bytes && shown < kShownBytes; at += kPageSize) {
    if (!a.read_physical(at, x) || !b.read_physical(at, y) || x == y) continue;
    for (u64 k = 0; k < kPageSize && shown < kShownBytes; k++)
      if (x[k] != y[k]) out += fmt::format("  memory {:#x}: {:#04x}  {:#04x}\n", at + k, x[k], y[k]), shown++;
  }
  return out;
}

/// The host code of the block with the instruction at `rip`, as a machine emits it: of the blocks that begin there or a little
/// before, the nearest; of those, the last.
class HostCode {
 public:
  explicit HostCode(u64 rip) : rip_(rip) {}
  void watch(Machine& m) {
    m.on_code([this](const void* at, std::size_t size, std::string_view name) {
      u64 begin = 0;
      if (!name.starts_with("guest:0x") || std::from_chars(name.data() + 8, name.data() + name.size(), begin, 16).ec != std::errc{}) return;
      constexpr u64 kLongestBlock = 1024;
      if (begin > rip_ || rip_ - begin >= kLongestBlock || (found_ && begin < begin_)) return;
      found_ = true;
      begin_ = begin;
      name_ = name;
      address_ = reinterpret_cast<std::uintptr_t>(at);
      code_.assign(static_cast<const u8*>(at), static_cast<const u8*>(at) + size);
    });
  }
  std::string text() const {
    if (!found_) return "The translator had no code for it: the interpreter executed it there, too.\n";
    std::string out = fmt::format("The translator's code, {}:\n", name_);
    for (std::size_t at = 0; at < code_.size();) {
      const Disassembly d = disassemble(std::span(code_).subspan(at), address_ + at, CodeSize::Bits64);
      out += fmt::format("  {:#x}  {}\n", address_ + at, d.text);
      at += d.length;
    }
    return out;
  }

 private:
  u64 rip_, begin_ = 0, address_ = 0;
  bool found_ = false;
  std::string name_;
  std::vector<u8> code_;
};

}  // namespace

Result<std::unique_ptr<Machine>> Lockstep::make(Engine engine) const {
  MachineConfig config = config_;
  config.engine = engine;
  auto machine = Machine::create(config);
  if (!machine) return machine;
  if (auto loaded = loader_(**machine); !loaded) return tl::make_unexpected(loaded.error());
  return machine;
}

Result<std::unique_ptr<Lockstep>> Lockstep::create(const MachineConfig& config, Loader loader, u64 interval) {
  std::unique_ptr<Lockstep> l(new Lockstep(config, std::move(loader), interval));
  auto reference = l->make(Engine::Interpreter);
  if (!reference) return tl::make_unexpected(reference.error());
  auto subject = l->make(Engine::Translator);
  if (!subject) return tl::make_unexpected(subject.error());
  l->reference_ = std::move(*reference);
  l->subject_ = std::move(*subject);
  return l;
}

void Lockstep::serial_input(std::span<const u8> bytes) {
  actions_.push_back({{}, {bytes.begin(), bytes.end()}});
  reference_->serial_input(bytes);
  subject_->serial_input(bytes);
}

Stop Lockstep::run(const RunLimits& limits) {
  if (!difference_.empty()) return {StopReason::Requested};
  for (;;) {
    const u64 from = subject_->count();
    actions_.push_back({{std::min(limits.until_count, (from / interval_ + 1) * interval_), limits.stop_when_idle}, {}});
    const Stop stop = subject_->run(actions_.back().limits);
    // Nobody asked the reference to stop.
    if (stop.reason == StopReason::Requested) actions_.back().limits.until_count = subject_->count();
    const Stop expected = reference_->run(actions_.back().limits);
    if (stop.reason == StopReason::Requested) return stop;
    if (stop.reason != expected.reason || stop.code != expected.code || subject_->hash() != reference_->hash()) {
      difference_ = investigate(from, std::max(subject_->count(), reference_->count()));
      return {StopReason::Requested};
    }
    if (stop.reason != StopReason::CountReached || subject_->count() >= limits.until_count) return stop;
  }
}

/// A fresh machine that everything but the last action was done to.
std::unique_ptr<Machine> Lockstep::replay(Engine engine, const Prepare& prepare) const {
  auto machine = make(engine);
  VERIFY(machine.has_value(), "a machine could not be made a second time");
  if (prepare) prepare(**machine);
  for (std::size_t n = 0; n + 1 < actions_.size(); n++) {
    const Action& a = actions_[n];
    if (!a.typed.empty()) (*machine)->serial_input(a.typed);
    else (*machine)->run(a.limits);
  }
  return std::move(*machine);
}

/// In the middle of the last action. In one go, so that translated code is entered as it was the first time.
std::unique_ptr<Machine> Lockstep::replay_to(Engine engine, u64 count, const Prepare& prepare) const {
  auto machine = replay(engine, prepare);
  if (machine->count() < count) machine->run({count, actions_.back().limits.stop_when_idle});
  return machine;
}

Lockstep::Interval Lockstep::narrow(Interval i) const {
  while (i.to - i.from > 1) {
    std::vector<u64> counts, hashes;
    auto reference = replay_to(Engine::Interpreter, i.from);
    const u64 piece = (i.to - i.from + kPieces - 1) / kPieces;
    for (u64 at = i.from + piece; at < i.to; at += piece) {
      reference->run({at, actions_.back().limits.stop_when_idle});
      counts.push_back(at);
      hashes.push_back(reference->hash());
    }
    std::size_t low = 0, high = counts.size();
    while (low < high) {
      const std::size_t middle = (low + high) / 2;
      if (replay_to(Engine::Translator, counts[middle])->hash() == hashes[middle]) low = middle + 1;
      else high = middle;
    }
    i = {high == 0 ? i.from : counts[high - 1], high == counts.size() ? i.to : counts[high]};
  }
  return i;
}

std::string Lockstep::investigate(u64 from, u64 to) {
  // With blocks of one instruction the culprit stands alone, if it shows at all.
  Interval found{from, to};
  const unsigned most_insns = config_.translator.most_insns;
  config_.translator.most_insns = 1;
  bool alone = replay_to(Engine::Translator, to)->hash() != reference_->hash();
  if (!alone) config_.translator.most_insns = most_insns;
  found = narrow(found);

  std::string out = fmt::format("the engines differ after count {}, and agreed at {}{}\n", found.to, found.from,
                                alone ? "" : " (a translated block ends there; it may have gone wrong anywhere)");
  auto reference = replay_to(Engine::Interpreter, std::max(from, found.to > kShown ? found.to - kShown : 0));
  out += "The instructions before, as the interpreter executes them:\n";
  u64 last_rip = 0;
  while (reference->count() < found.to) {
    const u64 before = reference->count();
    std::vector<std::string> next;
    std::vector<u64> retired, rips;
    for (unsigned cpu = 0; cpu < reference->cpus(); cpu++) {
      next.push_back(next_instruction(*reference, cpu));
      retired.push_back(reference->cpu_state(cpu).retired);
      rips.push_back(reference->cpu_state(cpu).rip);
    }
    reference->run({before + 1, actions_.back().limits.stop_when_idle});
    if (reference->count() == before) break;
    for (unsigned cpu = 0; cpu < reference->cpus(); cpu++)
      if (reference->cpu_state(cpu).retired != retired[cpu]) {
        out += fmt::format("  cpu {}  {}\n", cpu, next[cpu]);
        last_rip = rips[cpu];
      }
  }
  HostCode host_code(last_rip);
  auto subject = replay_to(Engine::Translator, found.to, [&](Machine& m) { host_code.watch(m); });
  out += host_code.text();
  for (unsigned cpu = 0; cpu < reference->cpus(); cpu++) {
    const CpuState &a = reference->cpu_state(cpu), &b = subject->cpu_state(cpu);
    const std::string what = compare(a, b);
    if (what.empty()) continue;
    out += fmt::format("cpu {}: the interpreter's, the translator's\n{}", cpu, what);
    out += "The interpreter's registers:\n" + describe_registers(a) + "The translator's:\n" + describe_registers(b);
  }
  out += compare_memory(*reference, *subject);
  if (subject->now() != reference->now())
    out += fmt::format("  guest time {} ns, {} ns\n", reference->now(), subject->now());
  config_.translator.most_insns = most_insns;
  return out;
}

}  // namespace callgate
