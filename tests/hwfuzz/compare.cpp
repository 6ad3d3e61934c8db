#include "tests/hwfuzz/compare.h"

#include <fmt/format.h>

#include <cstring>

#include "cpu/decoder.h"
#include "cpu/table/row.h"

namespace callgate::hwfuzz {

namespace {

constexpr u32 kComparedFlags = kArithmetic | kTF | kIF | kDF | kIOPL | kNT | kAC | kID;
constexpr u64 kUserEnd = 0x7FFFFFFFF000;  ///< Linux's TASK_SIZE_MAX with 4-level paging
constexpr u16 kX87Summary = 0x80;
const char* const kNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

class Report {
 public:
  void field(std::string_view name, u64 host, u64 ours) {
    if (host != ours) add(fmt::format("{}: {:x} (host) {:x} (ours)", name, host, ours));
  }
  void add(const std::string& line) {
    if (++count_ > 6) return;
    if (!text_.empty()) text_ += "; ";
    text_ += line;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  unsigned count_ = 0;
};

/// The flags that the run leaves undefined: exactly when all of it was executed in order, all that any instruction may
/// have left otherwise.
u32 undefined_flags(const Case& c, const Outcome& o) {
  u32 exact = 0, any = 0;
  bool straight = o.ending == Ending::Finished;
  for (unsigned i = 0; i < c.instructions; i++) {
    Insn insn;
    if (decode({c.code + c.start[i], static_cast<std::size_t>(c.code_size - c.start[i])}, CodeSize::Bits64, insn) !=
        DecodeStatus::Ok)
      continue;
    const FlagEffect& f = insn.row->flags;
    if (f.read == 0) exact &= ~f.written;
    exact |= f.undefined;
    any |= f.undefined;
    straight &= !(insn.row->attributes & kBranch);
  }
  return straight ? exact : any;
}

void compare_fx(const FxImage& host, const FxImage& ours, Report& report) {
  report.field("x87 control", host.control, ours.control);
  report.field("x87 status", host.status, ours.status);
  report.field("x87 tags", host.not_empty, ours.not_empty);
  // Without a pending exception a processor may leave the pointers as it likes (AMD saves none, recent Intel only those
  // of unmasked exceptions).
  if (host.status & ours.status & kX87Summary) {
    report.field("x87 opcode", host.opcode, ours.opcode);
    report.field("x87 instruction pointer", host.instruction_pointer, ours.instruction_pointer);
    report.field("x87 data pointer", host.data_pointer, ours.data_pointer);
  }
  for (unsigned i = 0; i < 8; i++) {
    if (host.st[i].significand == ours.st[i].significand && host.st[i].sign_exponent == ours.st[i].sign_exponent)
      continue;
    report.add(fmt::format("st{}: {:04x}:{:016x} (host) {:04x}:{:016x} (ours)", i, host.st[i].sign_exponent,
                           host.st[i].significand, ours.st[i].sign_exponent, ours.st[i].significand));
  }
  report.field("mxcsr", host.mxcsr, ours.mxcsr);
  for (unsigned i = 0; i < 16; i++) {
    if (std::memcmp(host.xmm[i], ours.xmm[i], 16) == 0) continue;
    report.add(fmt::format("xmm{}: {:016x}:{:016x} (host) {:016x}:{:016x} (ours)", i, host.xmm[i][1], host.xmm[i][0],
                           ours.xmm[i][1], ours.xmm[i][0]));
  }
}

void compare_upper(const Registers& host, const Registers& ours, Report& report) {
  for (unsigned i = 0; i < 16; i++) {
    if (std::memcmp(host.upper[i], ours.upper[i], 16) == 0) continue;
    report.add(fmt::format("ymm{} above: {:016x}:{:016x} (host) {:016x}:{:016x} (ours)", i, host.upper[i][1],
                           host.upper[i][0], ours.upper[i][1], ours.upper[i][0]));
  }
}

std::string ending(const Outcome& o) {
  switch (o.ending) {
    case Ending::Finished: return "finished";
    case Ending::Endless: return "endless";
    case Ending::Lost: return "lost";
    case Ending::Faulted: break;
  }
  return fmt::format("vector {} error {:x} cr2 {:x} rip {:x}", o.vector, o.error_code, o.cr2, o.out.rip);
}

}  // namespace

std::string differences(const Case& c, const Outcome& host, const Outcome& ours) {
  Report report;
  // The kernel hides from a process whether an address of the kernel's is mapped.
  const u32 error_mask = host.vector == 14 && host.cr2 >= kUserEnd ? ~u32{1} : ~u32{0};
  const bool same_end = host.ending == ours.ending && host.vector == ours.vector && host.cr2 == ours.cr2 &&
                        ((host.error_code ^ ours.error_code) & error_mask) == 0 && host.out.rip == ours.out.rip;
  if (!same_end) report.add(fmt::format("end: {} (host) {} (ours)", ending(host), ending(ours)));
  for (unsigned i = 0; i < 16; i++) report.field(kNames[i], host.out.gpr[i], ours.out.gpr[i]);
  const u32 mask = kComparedFlags & ~undefined_flags(c, host);
  report.field("flags", host.out.rflags & mask, ours.out.rflags & mask);
  compare_fx(host.out.fx, ours.out.fx, report);
  compare_upper(host.out, ours.out, report);
  if (std::memcmp(host.memory, ours.memory, kDataBytes) != 0) {
    unsigned first = 0;
    while (host.memory[first] == ours.memory[first]) first++;
    unsigned last = kDataBytes - 1;
    while (host.memory[last] == ours.memory[last]) last--;
    const unsigned shown = std::min(last + 1, first + 16);
    std::string a, b;
    for (unsigned i = first; i < shown; i++) {
      a += fmt::format("{:02x}", host.memory[i]);
      b += fmt::format("{:02x}", ours.memory[i]);
    }
    report.add(fmt::format("memory at {:x} to {:x}: {} (host) {} (ours)", kData + first, kData + last, a, b));
  }
  return report.text();
}

std::string judge(Engine& engine, const Case& c, const Outcome& host, const Outcome& ours, const Quirk*& quirk) {
  quirk = nullptr;
  std::string found = differences(c, host, ours);
  if (found.empty()) return found;
  if (host.ending == Ending::Lost || host.ending == Ending::Endless) return {};
  struct Hit {
    const Quirk* quirk;
    Insn insn;
  };
  std::vector<Hit> hits;
  unsigned executed = 0;
  engine.step(c, [&](Cpu& cpu, const Insn& insn) {
    executed++;
    for (const Quirk& q : quirks())
      if (q.applies(cpu, insn)) hits.push_back({&q, insn});
  });
  if (hits.empty()) return found;
  quirk = hits.front().quirk;
  if (c.instructions > 1) return {};
  auto forgiven = std::make_unique<Outcome>(ours);
  for (const Hit& h : hits) h.quirk->forgive(h.insn, c, host, *forgiven);
  found = differences(c, host, *forgiven);
  return found;
}

}  // namespace callgate::hwfuzz
