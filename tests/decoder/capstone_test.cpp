// Our decoder against Capstone 4.0.2: length and validity of random byte strings in the three code sizes.
//   decoder_capstone [--count N] [--seed N]   (N strings in each code size)
#include <capstone/capstone.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "base/verify.h"
#include "tests/decoder/exceptions.h"

namespace callgate::decoder_test {
namespace {

/// Capstone in one code size.
class Capstone {
 public:
  explicit Capstone(CodeSize size) {
    const cs_mode mode = size == CodeSize::Bits64 ? CS_MODE_64 : size == CodeSize::Bits32 ? CS_MODE_32 : CS_MODE_16;
    VERIFY(cs_open(CS_ARCH_X86, mode, &handle_) == CS_ERR_OK, "Capstone opens");
    insn_ = cs_malloc(handle_);
  }
  ~Capstone() {
    cs_free(insn_, 1);
    cs_close(&handle_);
  }
  Capstone(const Capstone&) = delete;
  Capstone& operator=(const Capstone&) = delete;

  /// The length, 0 for an invalid instruction.
  unsigned length(const CodeBytes& bytes) { return disassemble(bytes) ? insn_->size : 0; }
  /// All that Capstone knows, at some cost.
  CapstoneView view(const CodeBytes& bytes) {
    cs_option(handle_, CS_OPT_DETAIL, CS_OPT_ON);
    cs_free(insn_, 1);
    insn_ = cs_malloc(handle_);
    CapstoneView v;
    v.valid = disassemble(bytes);
    if (v.valid) {
      v.length = insn_->size;
      v.mnemonic = insn_->mnemonic;
      v.operands = insn_->op_str;
      v.groups = " ";
      for (unsigned i = 0; i < insn_->detail->groups_count; i++)
        v.groups += std::string(cs_group_name(handle_, insn_->detail->groups[i])) + " ";
    }
    cs_option(handle_, CS_OPT_DETAIL, CS_OPT_OFF);
    return v;
  }

 private:
  bool disassemble(const CodeBytes& bytes) {
    const u8* code = bytes.data();
    std::size_t size = kMaxInsnLength;
    uint64_t address = 0;
    return cs_disasm_iter(handle_, &code, &size, &address, insn_);
  }
  csh handle_ = 0;
  cs_insn* insn_ = nullptr;
};

struct Tally {
  u64 strings = 0, valid = 0;
  std::vector<u64> excused;
  std::map<std::string, std::pair<u64, std::string>> unexplained;  ///< by class: how many, an example
};

/// A short name for a kind of disagreement, so that a thousand examples of one make one line.
std::string class_of(const Comparison& c) {
  static constexpr const char* kMap[8] = {"", "0f ", "0f 38 ", "0f 3a ", "vex ", "vex 0f ", "vex 0f 38 ", "vex 0f 3a "};
  return fmt::format("{} {}{:02x} /{} {} p{}{:02x} {} {}", size_name(c.size), kMap[c.at.map], c.at.opcode, c.at.reg(),
                     c.at.register_form() ? "reg" : "mem", c.at.opsize, c.at.rep,
                     c.valid() ? c.theirs.valid ? "length" : "ours only" : "Capstone only", c.theirs.mnemonic);
}

void compare(CodeSize size, u64 count, u64 seed, Tally& tally) {
  Random random(seed * 3 + static_cast<u64>(size));
  Capstone capstone(size);
  const auto known = exceptions();
  tally.excused.resize(known.size());
  for (u64 n = 0; n < count; n++) {
    Comparison c;
    c.bytes = random_code(random);
    c.size = size;
    c.status = decode(std::span<const u8>(c.bytes).first(kMaxInsnLength), size, c.ours);
    if (c.status == DecodeStatus::Truncated) c.status = decode(c.bytes, size, c.ours);
    tally.strings++;
    tally.valid += c.valid();
    if (capstone.length(c.bytes) == (c.valid() ? c.ours.length : 0u)) continue;
    c.theirs = capstone.view(c.bytes);
    c.capstone_length = [&](const CodeBytes& bytes) { return capstone.length(bytes); };
    c.at = outline(c.bytes, size);
    bool excused = false;
    for (std::size_t i = 0; i < known.size() && !excused; i++) {
      excused = known[i].covers(c);
      tally.excused[i] += excused;
    }
    if (excused) continue;
    auto& [times, example] = tally.unexplained[class_of(c)];
    if (times++ == 0) example = describe(c);
  }
}

int run(u64 count, u64 seed) {
  Tally tally;
  for (const CodeSize size : {CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64}) compare(size, count, seed, tally);
  fmt::print("{} strings, {} valid instructions\n", tally.strings, tally.valid);
  const auto known = exceptions();
  bool stale = false;
  for (std::size_t i = 0; i < known.size(); i++) {
    fmt::print("{:>10}  {}: {}\n", tally.excused[i], known[i].name, known[i].reason);
    stale |= tally.excused[i] == 0;
  }
  for (const auto& [name, found] : tally.unexplained)
    fmt::print("DISAGREEMENT {} x {}\n    {}\n", found.first, name, found.second);
  if (stale) fmt::print("FAILED: an exception covers nothing: take it out (or look at more strings)\n");
  if (!tally.unexplained.empty()) fmt::print("FAILED: {} classes of disagreement\n", tally.unexplained.size());
  return stale || !tally.unexplained.empty();
}

}  // namespace
}  // namespace callgate::decoder_test

int main(int argc, char** argv) {
  callgate::u64 count = 800'000, seed = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--count") == 0)
      count = std::strtoull(argv[i + 1], nullptr, 0);
    else if (std::strcmp(argv[i], "--seed") == 0)
      seed = std::strtoull(argv[i + 1], nullptr, 0);
  }
  return callgate::decoder_test::run(count, seed);
}
