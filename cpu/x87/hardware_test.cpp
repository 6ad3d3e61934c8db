// Every x87 row against the host's x87: the same instruction bytes on random register stacks, control words and memory;
// registers, status, tags, control word, pointers, memory and EFLAGS afterwards. Knows the rows' encodings only.
#include <doctest/doctest.h>

#if defined(__x86_64__) && defined(__linux__)

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "cpu/decoder.h"
#include "cpu/fp/hard_operands.h"
#include "cpu/system/test_machine.h"
#include "cpu/table/table.h"
#include "cpu/x87/unit.h"

using namespace callgate;
using fp::F80;
using fp::TestRandom;

namespace {

constexpr u64 kOperand = 0x200000;  ///< the memory operand, on the host and in the guest
constexpr u64 kStub = 0x300000;
constexpr unsigned kOperandBytes = 128;
constexpr unsigned kImage = 108;

/// FNSAVE's 32-bit image.
struct Image {
  u8 bytes[kImage] = {};
  u16 word(unsigned at) const { return load_as<u16>(bytes + at); }
  u32 dword(unsigned at) const { return load_as<u32>(bytes + at); }
};

/// What goes in and what comes out.
struct Outcome {
  Image x87;
  u8 memory[kOperandBytes] = {};
  u32 flags = 0;
  u64 rax = 0;
};

/// An instruction's bytes in low host memory, between FRSTOR and FNSAVE.
class HostStub {
 public:
  HostStub() {
    code_ = map(kStub, PROT_READ | PROT_WRITE | PROT_EXEC);
    memory_ = map(kOperand, PROT_READ | PROT_WRITE);
  }
  bool good() const { return code_ != nullptr && memory_ != nullptr; }
  /// Returns the address of the instruction itself.
  u64 set(const std::string& instruction) {
    // mov rax, rcx; push r8; popfq; frstor [rsi]; ...; fnsave [rdx]; pushfq; pop r8; mov [rsi], r8; mov [rsi + 8], rax;
    // ret
    const std::string before("\x48\x89\xC8\x41\x50\x9D\xDD\x26", 8);
    const std::string after("\xDD\x32\x9C\x41\x58\x4C\x89\x06\x48\x89\x46\x08\xC3", 13);
    const std::string all = before + instruction + after;
    std::memcpy(code_, all.data(), all.size());
    return kStub + before.size();
  }
  Outcome run(Outcome in) {
    std::memcpy(memory_, in.memory, kOperandBytes);
    Image out;
    // rdi, rsi, rdx, rcx, r8
    reinterpret_cast<void (*)(u64, void*, void*, u64, u64)>(code_)(kOperand, in.x87.bytes, out.bytes, in.rax, in.flags);
    in.flags = load_as<u32>(in.x87.bytes) & kArithmetic;
    in.rax = load_as<u64>(in.x87.bytes + 8);
    in.x87 = out;
    std::memcpy(in.memory, memory_, kOperandBytes);
    return in;
  }

 private:
  static u8* map(u64 address, int protection) {
    void* p = mmap(reinterpret_cast<void*>(address), 4096, protection,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return p == MAP_FAILED ? nullptr : static_cast<u8*>(p);
  }
  u8* code_;
  u8* memory_;
};

Outcome run_ours(test::TestMachine& m, const Insn& i, u64 rip, Outcome in) {
  Cpu& c = m.cpu;
  X87State& x = c.s.x87;
  x.control = x87_control_word(in.x87.word(0));
  set_x87_status_word(x, in.x87.word(4));
  set_x87_tag_word(x, in.x87.word(8));
  x.instruction_pointer = in.x87.dword(12);
  x.opcode = in.x87.word(18) & 0x7FF;
  x.data_pointer = in.x87.dword(20);
  for (unsigned n = 0; n < 8; n++) {
    const u8* r = in.x87.bytes + 28 + 10 * n;
    x.r[(x.top + n) & 7] = {load_as<u64>(r), load_as<u16>(r + 8)};
  }
  m.ram_map.bus_write(kOperand, {in.memory, kOperandBytes});
  c.s.flags.set_arithmetic(in.flags);
  c.s.gpr[RAX] = in.rax;
  c.s.gpr[RDI] = kOperand;
  c.s.rip = rip;
  c.next_rip() = rip + i.length;
  i.exec(c, i);

  Outcome out;
  store_as<u32>(out.x87.bytes, 0xFFFF0000 | x.control);
  store_as<u32>(out.x87.bytes + 4, 0xFFFF0000 | x87_status_word(x));
  store_as<u32>(out.x87.bytes + 8, 0xFFFF0000 | x87_tag_word(x));
  store_as<u32>(out.x87.bytes + 12, static_cast<u32>(x.instruction_pointer));
  store_as<u32>(out.x87.bytes + 16, u32{x.opcode} << 16);
  store_as<u32>(out.x87.bytes + 20, static_cast<u32>(x.data_pointer));
  store_as<u32>(out.x87.bytes + 24, 0xFFFF0000);
  for (unsigned n = 0; n < 8; n++) {
    store_as<u64>(out.x87.bytes + 28 + 10 * n, x.r[(x.top + n) & 7].significand);
    store_as<u16>(out.x87.bytes + 36 + 10 * n, x.r[(x.top + n) & 7].sign_exponent);
  }
  m.ram_map.bus_read(kOperand, {out.memory, kOperandBytes});
  out.flags = c.s.flags.arithmetic();
  out.rax = c.s.gpr[RAX];
  return out;
}

Outcome random_input(TestRandom& random) {
  Outcome in;
  u16 masks = random.below(3) == 0 ? random.below(64) : 0x3F;
  static constexpr u16 kPrecision[4] = {0x300, 0x300, 0x200, 0x000};
  store_as<u32>(in.x87.bytes, 0xFFFF0040u | masks | kPrecision[random.below(4)] | random.below(4) << 10);
  const u16 pending = static_cast<u16>(random.below(2) ? 0 : random.next() & masks);
  u16 status = static_cast<u16>((random.next() & 0x4740) | pending | random.below(8) << 11);
  if (!(status & 1)) status &= 0xFFBF;
  store_as<u32>(in.x87.bytes + 4, 0xFFFF0000u | status);
  u32 tags = 0;
  const u64 fullness = random.below(4);
  for (unsigned n = 0; n < 8; n++) {
    const bool empty = fullness == 0 ? false : fullness == 1 ? ((n - (status >> 11)) & 7) >= 3 : random.below(3) == 0;
    tags |= (empty ? 3u : 0u) << (2 * n);
  }
  store_as<u32>(in.x87.bytes + 8, 0xFFFF0000 | tags);
  store_as<u32>(in.x87.bytes + 12, 0x11223344);
  store_as<u32>(in.x87.bytes + 16, 0x01230000);
  store_as<u32>(in.x87.bytes + 20, 0x55667788);
  store_as<u32>(in.x87.bytes + 24, 0xFFFF0000);
  for (unsigned n = 0; n < 8; n++) {
    const F80 v = fp::random_operand<F80>(random);
    store_as<u64>(in.x87.bytes + 28 + 10 * n, v.significand);
    store_as<u16>(in.x87.bytes + 36 + 10 * n, v.sign_exponent);
  }
  for (u8& b : in.memory) b = static_cast<u8>(random.next());
  return in;
}

/// A memory operand worth loading.
void operand_for(const Row& row, TestRandom& random, Outcome& in) {
  const std::string op = row.operands;
  if (random.below(4) == 0) return;
  if (row.encoding[0] == 'D' && (row.encoding[1] == '8' || row.encoding[1] == '9') && op == "Md")
    store_as<u32>(in.memory, fp::random_operand<fp::F32>(random));
  else if (op == "Mq")
    store_as<u64>(in.memory, fp::random_operand<fp::F64>(random));
  else if (std::string(row.name) == "fld") {
    const F80 v = fp::random_operand<F80>(random);
    store_as<u64>(in.memory, v.significand);
    store_as<u16>(in.memory + 8, v.sign_exponent);
  } else if (std::string(row.name) == "fbld") {
    for (unsigned n = 0; n < 10; n++) in.memory[n] = static_cast<u8>(random.below(10) << 4 | random.below(10));
    in.memory[9] = static_cast<u8>(random.next() & 0x80);
  }
}

/// The bytes of the row's encoding with ST(i) or [rdi]; nothing for rows of another kind.
std::string bytes_of(const Row& row, unsigned sti) {
  const std::string e = row.encoding;
  std::string out(1, static_cast<char>(std::strtoul(e.c_str(), nullptr, 16)));
  const auto exact = e.find('='), extension = e.find('/');
  unsigned modrm = 0;
  if (exact != std::string::npos)
    modrm = static_cast<unsigned>(std::strtoul(e.c_str() + exact + 1, nullptr, 16));
  else if (extension == std::string::npos)
    return "";
  else
    modrm = static_cast<unsigned>(e[extension + 1] - '0') << 3 | (e.find("/reg") != std::string::npos ? 0xC0 | sti : 7);
  return out + static_cast<char>(modrm);
}

bool is_transcendental(const std::string& name) {
  for (const char* t : {"f2xm1", "fyl2x", "fyl2xp1", "fptan", "fpatan", "fsin", "fcos", "fsincos"})
    if (name == t) return true;
  return false;
}

std::string hex(const u8* p, unsigned n) {
  std::string s;
  for (unsigned k = 0; k < n; k++) s += fmt::format("{:02x}", p[k]);
  return s;
}

std::string show(const Outcome& o) {
  std::string s = fmt::format("cw {:04x} sw {:04x} tw {:04x} ip {:08x} op {:04x} dp {:08x} flags {:03x} ax {:04x}",
                              o.x87.word(0), o.x87.word(4), o.x87.word(8), o.x87.dword(12), o.x87.word(18),
                              o.x87.dword(20), o.flags, o.rax & 0xFFFF);
  for (unsigned n = 0; n < 8; n++)
    s += fmt::format("\n    st{} {:04x}:{:016x}", n, load_as<u16>(o.x87.bytes + 36 + 10 * n),
                     load_as<u64>(o.x87.bytes + 28 + 10 * n));
  return s + "\n    mem " + hex(o.memory, kOperandBytes);
}

/// What is compared: not the selectors, and of the transcendentals (whose last bits differ among processors; cpu/fp has
/// their tests) only the register stack and its faults.
void canonicalize(Outcome& o, bool transcendental) {
  store_as<u16>(o.x87.bytes + 16, 0);
  store_as<u16>(o.x87.bytes + 24, 0);
  if (!transcendental) return;
  store_as<u16>(o.x87.bytes + 4, o.x87.word(4) & 0x3C41);
  u16 tags = o.x87.word(8), empty = 0;
  for (unsigned n = 0; n < 8; n++) empty |= static_cast<u16>((tags >> (2 * n) & 3) == 3) << n;
  store_as<u16>(o.x87.bytes + 8, empty);
  std::memset(o.x87.bytes + 12, 0, 12);
  std::memset(o.x87.bytes + 28, 0, 40);
}

}  // namespace

TEST_CASE("x87: every row leaves what the host's processor leaves") {
  HostStub host;
  REQUIRE_MESSAGE(host.good(), "the addresses of the test's pages are taken");
  test::TestMachine m;
  m.long64(0);
  TestRandom random(87);
  const char* count = std::getenv("CALLGATE_X87_CASES");
  const unsigned cases = count != nullptr ? static_cast<unsigned>(std::atoi(count)) : 1500;
  for (const Row& row : x87_rows()) {
    const std::string name = row.name;
    unsigned wrong = 0;
    for (unsigned n = 0; n < cases; n++) {
      const std::string bytes = bytes_of(row, static_cast<unsigned>(random.below(8)));
      if (bytes.empty()) break;
      Insn insn;
      REQUIRE(decode({reinterpret_cast<const u8*>(bytes.data()), bytes.size()}, CodeSize::Bits64, insn) ==
              DecodeStatus::Ok);
      const u64 rip = host.set(bytes);
      Outcome in = random_input(random);
      operand_for(row, random, in);
      in.flags = static_cast<u32>(random.next()) & kArithmetic;
      in.rax = random.next();
      Outcome ours = run_ours(m, insn, rip, in), theirs;
      canonicalize(ours, is_transcendental(name));
      // When the host's kernel switches threads in between, AMD's FXSAVE loses the pointers: look again.
      for (unsigned tries = 0; tries < 4; tries++) {
        theirs = host.run(in);
        canonicalize(theirs, is_transcendental(name));
        if (std::memcmp(&theirs, &ours, sizeof ours) == 0) break;
      }
      if (std::memcmp(&theirs, &ours, sizeof ours) != 0 && ++wrong <= 2) {
        const std::string what = fmt::format("{} {}\n  in   {}\n  host {}\n  ours {}", row.encoding, name, show(in),
                                             show(theirs), show(ours));
        MESSAGE(what);
      }
    }
    CHECK_MESSAGE(wrong == 0, row.encoding, " ", name, ": ", wrong, " differ");
  }
}

#endif
