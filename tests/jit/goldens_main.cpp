// What common instruction sequences become: jit_goldens FOLDER [--update]. Each file of the folder has cases, the guest's
// code as bytes, and beside it what the translator emitted on a host that has everything (x64::Host::best()), with the number
// of host instructions for each guest instruction. A change of either shows in review; --update writes the files anew.
// Nothing of what is emitted here is executed. Cases are made by new_goldens.py.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#include "cpu/disassembler.h"
#include "cpu/ir/ir.h"
#include "cpu/semantics/test_cpu.h"
#include "jit/context.h"
#include "jit/translator.h"
#include "jit/x64/host.h"

namespace callgate::jit {
namespace {

constexpr int kSkipped = 77;
constexpr x64::Host kHost = x64::Host::best();

struct Case {
  std::string name;
  test::Mode mode = test::Mode::Long64;
  std::vector<u8> code;
};

struct Counts {
  unsigned guest = 0, host = 0, out_of_line = 0;
  std::string text() const {
    return fmt::format("guest {}, host {}, {:.1f} for each; out of line {}", guest, host, guest != 0 ? double(host) / guest : 0.0,
                       out_of_line);
  }
};

/// The translator whose code is looked at, in a processor that can execute everything.
class GoldenEngine final : public test::TestEngine {
 public:
  GoldenEngine(PhysicalMap& memory, Interpreter& interpreter, unsigned most_insns) {
    auto made = Translator::create(memory, interpreter, {.code_bytes = 1 << 20, .most_insns = most_insns, .verify = true, .host = &kHost});
    VERIFY(made.has_value(), "no translator for the goldens");
    translator = std::move(*made);
  }
  void run(Cpu&, const u64&, const bool&) override { VERIFY(false, "goldens are not executed"); }
  std::unique_ptr<Translator> translator;
};
GoldenEngine* engine = nullptr;
unsigned most_insns = 0;

std::unique_ptr<test::TestEngine> make_engine(PhysicalMap& memory, Interpreter& interpreter) {
  auto made = std::make_unique<GoldenEngine>(memory, interpreter, most_insns);
  engine = made.get();
  return made;
}

/// The routines that all blocks use, in the order in which they lie; behind them are those that some block wanted.
using Routines = std::vector<std::pair<const u8*, std::string>>;

/// Gives names to what differs from host to host, or would change with the layout of the state.
class HostText {
 public:
  HostText(const u8* code, std::size_t size, std::size_t hot, const Routines& routines)
      : code_(code), size_(size), hot_(hot), routines_(routines) {}

  std::string operator()(const std::string& text) {
    static const std::regex kState(R"(\[rbp( ([-+]) (0x[0-9a-f]+|\d+))?\])"), kTarget(R"(^(j\w+|call) (0x[0-9a-f]+)$)");
    std::smatch m;
    if (std::regex_search(text, m, kState)) {
      const i64 offset = m[1].matched ? std::stoll(m[3], nullptr, 0) * (m[2] == "-" ? -1 : 1) : 0;
      return m.prefix().str() + "[" + state(offset) + "]" + m.suffix().str();
    }
    if (std::regex_match(text, m, kTarget)) return m[1].str() + " " + target(std::stoull(m[2], nullptr, 16));
    return text;
  }

 private:
  static std::string state(i64 offset) {
    static constexpr const char* kGpr[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                             "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    const auto within = [&](const char* name, i64 at) { return at == 0 ? std::string(name) : fmt::format("{} + {}", name, at); };
    const i64 engine = offset + static_cast<i64>(sizeof(EngineSlots));
    const i64 slot = engine - static_cast<i64>(offsetof(EngineSlots, slot)), far = engine - static_cast<i64>(offsetof(EngineSlots, far));
    if (offset < 0 && slot >= 0 && slot / 8 < static_cast<i64>(std::size(kSlotNames))) return within(kSlotNames[slot / 8], slot % 8);
    if (offset < 0 && far >= 0 && far / 8 < static_cast<i64>(std::size(kFarNames))) return within(kFarNames[far / 8], far % 8);
    if (engine == static_cast<i64>(offsetof(EngineSlots, data_context))) return "contexts";
    if (engine >= 0 && engine < 8 * i64{kSegCount}) return within("fast bases", engine);
    if (offset >= 0 && offset < 16 * 8) return "state." + within(kGpr[offset / 8], offset % 8);
    const i64 vec = offset - static_cast<i64>(offsetof(CpuState, vec)), each = sizeof(VectorRegister);
    if (vec >= 0 && vec < 16 * each) return "state." + within(fmt::format("ymm{}", vec / each).c_str(), vec % each);
    const auto field = [&](std::size_t at, std::size_t size) {
      return offset >= static_cast<i64>(at) && offset < static_cast<i64>(at + size);
    };
#define CG_FIELD(NAME) \
  if (field(offsetof(CpuState, NAME), sizeof(CpuState::NAME))) return "state." + within(#NAME, offset - static_cast<i64>(offsetof(CpuState, NAME)));
    CG_FIELD(rip) CG_FIELD(retired) CG_FIELD(flags) CG_FIELD(seg) CG_FIELD(x87) CG_FIELD(mxcsr) CG_FIELD(msr) CG_FIELD(cpl)
#undef CG_FIELD
    return fmt::format("state {:+}", offset);
  }

  std::string target(u64 address) {
    const u8* at = reinterpret_cast<const u8*>(static_cast<std::uintptr_t>(address));
    if (at >= code_ && at < code_ + hot_) return fmt::format("+{}", at - code_);
    if (at >= code_ && at < code_ + size_) return "(out of line)";
    for (std::size_t n = routines_.size(); n-- > 0;)
      if (at >= routines_[n].first)
        return routines_[n].second + (routines_[n].first == at || n + 1 == routines_.size() ? "" : fmt::format(" + {}", at - routines_[n].first));
    return "(elsewhere)";
  }

  const u8* code_;
  std::size_t size_, hot_;
  const Routines& routines_;
};

unsigned count_code(std::span<const u8> code, CodeSize size) {
  unsigned count = 0;
  for (std::size_t at = 0; at < code.size(); count++) at += disassemble(code.subspan(at), at, size).length;
  return count;
}

/// A block: each guest instruction, and below it the host's.
void render_block(const EmittedCode& e, std::span<const u8> code, const Routines& routines, Counts& counts,
                  std::string& out) {
  HostText host_text(e.at, e.size, e.starts.back(), routines);
  const auto host_code = [&](std::size_t from, std::size_t to) {
    while (from < to) {
      const Disassembly d = disassemble({e.at + from, to - from}, reinterpret_cast<std::uintptr_t>(e.at) + from, CodeSize::Bits64);
      out += "        " + host_text(d.text) + "\n";
      from += d.length;
      counts.host++;
    }
  };
  host_code(0, e.starts[0]);
  const ir::Block& block = *e.block;
  for (std::size_t n = 0; n < block.insns.size(); n++) {
    const ir::BlockInsn& b = block.insns[n];
    const std::span<const u8> bytes = code.subspan(b.rip - test::TestCpu::kCode, b.insn.length);
    std::string hex;
    for (const u8 byte : bytes) hex += fmt::format("{:02x} ", byte);
    out += fmt::format("  {:<30}  {}{}\n", hex, disassemble(bytes, b.rip, block.mode.code_size).text,
                       b.count == 0 ? "   ; by its handler" : "");
    host_code(e.starts[n], e.starts[n + 1]);
    counts.guest++;
  }
  counts.out_of_line += count_code({e.at + e.starts.back(), e.size - e.starts.back()}, CodeSize::Bits64);
}

/// What a case becomes, and what its loops do when they are hot.
struct Rendered {
  std::string text, hot_text;
  Counts counts, hot_counts;
};

/// What the block at `at` of the case becomes; how many bytes it has.
std::size_t render_block(const Case& c, std::size_t at, Rendered& r) {
  most_insns = count_code(std::span(c.code).subspan(at), c.mode == test::Mode::Long64 ? CodeSize::Bits64 : CodeSize::Bits32);
  test::TestCpu t(c.mode);
  CpuState& s = t.s();
  s.cr4 |= kCr4Osfxsr | kCr4Osxmmexcpt | kCr4Osxsave;
  s.xcr0 = 7;
  s.x87.control = 0x37F;
  t.cpu().refresh();
  t.place(c.code);
  s.rip += at;
  Routines routines;
  std::size_t bytes = 0;
  engine->translator->on_code([&](const EmittedCode& e) {
    if (e.block == nullptr) {
      if (!routines.empty()) routines.pop_back();
      routines.emplace_back(e.at, e.name.substr(e.name.find(':') + 1));
      routines.emplace_back(e.at + e.size, "(made on demand)");
      return;
    }
    const bool hot = e.name.ends_with("/linked");
    render_block(e, c.code, routines, hot ? r.hot_counts : r.counts, hot ? r.hot_text : r.text);
    const ir::BlockInsn& last = e.block->insns.back();
    bytes = last.rip + last.insn.length - s.rip;
  });
  engine->translator->translate(t.cpu());
  VERIFY(bytes != 0 && at + bytes <= c.code.size(), "a golden case that is not translated as it stands");
  return bytes;
}

std::string render(const Case& c, Counts& sum) {
  Rendered r;
  for (std::size_t at = 0; at < c.code.size();) at += render_block(c, at, r);
  sum.guest += r.counts.guest;
  sum.host += r.counts.host;
  sum.out_of_line += r.counts.out_of_line;
  std::string text = fmt::format("=== {}{}\n    {}\n{}", c.name, c.mode == test::Mode::Long64 ? "" : " [32-bit]", r.counts.text(), r.text);
  if (!r.hot_text.empty()) text += fmt::format("    hot: {}\n{}", r.hot_counts.text(), r.hot_text);
  return text;
}

/// A file's cases, and the comment in front of them.
struct File {
  std::string comment;
  std::vector<Case> cases;
};

File parse(const std::string& text) {
  static const std::regex kGuest(R"(^  (([0-9a-f]{2} )+) .*)");
  File file;
  std::istringstream in(text);
  bool hot = false;
  for (std::string line; std::getline(in, line);) {
    std::smatch m;
    if (line.starts_with("# ") && !line.starts_with("# Sum: ")) file.comment += line + "\n";
    if (line.starts_with("=== ")) {
      Case c{line.substr(4), test::Mode::Long64, {}};
      if (const std::size_t at = c.name.find(" [32-bit]"); at != std::string::npos) {
        c.name.resize(at);
        c.mode = test::Mode::Protected32;
      }
      file.cases.push_back(c);
      hot = false;
    } else if (line.starts_with("    hot: ")) {
      hot = true;  // the same code once more
    } else if (!file.cases.empty() && !hot && std::regex_match(line, m, kGuest)) {
      std::istringstream bytes(m[1].str());
      for (std::string byte; bytes >> byte;) file.cases.back().code.push_back(static_cast<u8>(std::stoul(byte, nullptr, 16)));
    }
  }
  return file;
}

std::string render(const File& file, Counts& total) {
  std::string cases;
  Counts sum;
  for (const Case& c : file.cases) cases += "\n" + render(c, sum);
  total.guest += sum.guest;
  total.host += sum.host;
  total.out_of_line += sum.out_of_line;
  return fmt::format("{}# Sum: {}\n{}", file.comment, sum.text(), cases);
}

/// Where two texts part, for a person.
void tell_difference(const std::string& name, const std::string& was, const std::string& is) {
  std::istringstream a(was), b(is);
  std::string x, y, title;
  unsigned told = 0;
  for (unsigned line = 1; told < 3; line++) {
    const bool more_x = !!std::getline(a, x), more_y = !!std::getline(b, y);
    if (!more_x && !more_y) return;
    if (x.starts_with("=== ")) title = x;
    if (x == y && more_x == more_y) continue;
    fmt::print("{}:{}: {}\n  was: {}\n  is:  {}\n", name, line, title, x, y);
    told++;
  }
}

int run(const std::string& folder, bool update) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  Counts total;
  std::size_t cases = 0;
  unsigned differ = 0;
  for (const auto& path : files) {
    std::stringstream was;
    was << std::ifstream(path).rdbuf();
    const File file = parse(was.str());
    cases += file.cases.size();
    const std::string is = render(file, total);
    if (is == was.str()) continue;
    differ++;
    if (update) std::ofstream(path) << is;
    else tell_difference(path.filename().string(), was.str(), is);
  }
  fmt::print("{} cases in {} files: {}\n", cases, files.size(), total.text());
  if (update) fmt::print("{} files written anew\n", differ);
  else if (differ != 0) fmt::print("{} files differ. Is the change meant? Then: jit_goldens {} --update\n", differ, folder);
  return differ != 0 && !update ? 1 : 0;
}

}  // namespace
}  // namespace callgate::jit

int main(int argc, char** argv) {
  using namespace callgate;
  if (!jit::translator_supported()) {
    std::puts("skipped: there is no translator for this host");
    return jit::kSkipped;
  }
  test::make_test_engine = jit::make_engine;
  const bool update = argc == 3 && std::string_view(argv[2]) == "--update";
  if (argc != 2 && !update) {
    std::puts("jit_goldens FOLDER [--update]");
    return 2;
  }
  return jit::run(argv[1], update);
}
