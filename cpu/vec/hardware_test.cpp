// Every MMX, SSE and AVX row against the host's processor: the same instruction bytes on hard and random registers, MXCSR
// and memory, registers or memory as operands. All registers, MXCSR, tags, memory, EFLAGS and the fault are compared.
// Knows the rows' encodings only.
#include <doctest/doctest.h>

#if defined(__x86_64__) && defined(__linux__)

#include <sys/mman.h>
#include <ucontext.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cpu/decoder.h"
#include "cpu/fp/hard_operands.h"
#include "cpu/semantics/fpu_state.h"
#include "cpu/semantics/host_features.h"
#include "cpu/system/msr.h"
#include "cpu/system/test_machine.h"
#include "cpu/table/encoding.h"
#include "cpu/table/table.h"
#include "cpu/table/vex_prefix.h"
#include "cpu/value_builder.h"

using namespace callgate;
using fp::TestRandom;

namespace {

constexpr u64 kOperand = 0x210000;  ///< the memory operand's page, on the host and in the guest
constexpr u64 kStub = 0x310000;
constexpr u64 kImageAddress = 0x220000;  ///< in the guest: where FXRSTOR and FXSAVE exchange states with the test
constexpr unsigned kOperandBytes = 64;

/// What goes in and what comes out. The stub knows the offsets.
struct alignas(16) State {
  u8 fxsave[512] = {};
  u64 rax = 0, rcx = 0, rdx = 0, flags = 0;
  u32 host_mxcsr = 0x1F80;
  u32 padding = 0;
  u8 upper[256] = {};  ///< of the ymm registers: the host has no say in them if it has no AVX
  u8 memory[kOperandBytes] = {};
  int fault = -1;  ///< a vector
};
constexpr unsigned kMxcsr = 24, kRegisters = 32, kXmm = 160, kSaved = 416;

/// The instruction of the host's stub that may raise a signal.
volatile std::sig_atomic_t signalled = 0;
unsigned instruction_length = 0;

void on_signal(int number, siginfo_t*, void* context) {
  signalled = number;
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] += instruction_length;
}

class HostStub {
 public:
  HostStub() {
    code_ = map(kStub, PROT_READ | PROT_WRITE | PROT_EXEC);
    memory_ = map(kOperand, PROT_READ | PROT_WRITE);
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGFPE, &action, &old_fpe_);
    sigaction(SIGSEGV, &action, &old_segv_);
  }
  ~HostStub() {
    sigaction(SIGFPE, &old_fpe_, nullptr);
    sigaction(SIGSEGV, &old_segv_, nullptr);
    if (code_ != nullptr) munmap(code_, 4096);
    if (memory_ != nullptr) munmap(memory_, 4096);
  }
  bool good() const { return code_ != nullptr && memory_ != nullptr; }
  void set(const std::string& instruction) {
    // fxrstor [rsi]; vinsertf128 for each register; mov rax, [rsi+512]; mov rcx, [rsi+520]; mov rdx, [rsi+528]; push qword [rsi+536]; popfq; ...;
    const std::string fxrstor("\x0F\xAE\x0E", 3);
    const std::string before("\x48\x8B\x86\x00\x02\x00\x00\x48\x8B\x8E\x08\x02\x00\x00\x48\x8B\x96\x10\x02\x00\x00"
                             "\xFF\xB6\x18\x02\x00\x00\x9D", 28);
    // vextractf128 for each register; vzeroupper; fxsave [r8]; mov [r8+512], rax; mov [r8+520], rcx; mov [r8+528], rdx; pushfq; pop [r8+536]; fninit;
    // ldmxcsr [rsi+544]; cld; ret
    const std::string after("\x41\x0F\xAE\x00\x49\x89\x80\x00\x02\x00\x00\x49\x89\x88\x08\x02\x00\x00\x49\x89\x90\x10\x02\x00\x00"
                            "\x9C\x41\x8F\x80\x18\x02\x00\x00\xDB\xE3\x0F\xAE\x96\x20\x02\x00\x00\xFC\xC3", 44);
    const std::string all = fxrstor + upper_moves(true) + before + instruction + upper_moves(false) + after;
    std::memcpy(code_, all.data(), all.size());
    instruction_length = static_cast<unsigned>(instruction.size());
  }
  State run(const State& in) {
    std::memcpy(memory_, in.memory, kOperandBytes);
    State out = in;
    signalled = 0;
    // rdi, rsi and r8; rdx and rcx are the instruction's.
    reinterpret_cast<void (*)(u64, const State*, u64, u64, State*)>(code_)(kOperand, &in, 0, 0, &out);
    out.flags &= kArithmetic;
    if (!has_avx_) std::memcpy(out.upper, in.upper, sizeof out.upper);
    std::memcpy(out.memory, memory_, kOperandBytes);
    if (signalled != 0) out.fault = signalled == SIGFPE ? 19 : 13;
    return out;
  }

 private:
  static u8* map(u64 address, int protection) {
    void* p = mmap(reinterpret_cast<void*>(address), 4096, protection,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return p == MAP_FAILED ? nullptr : static_cast<u8*>(p);
  }
  /// VINSERTF128 of every register's upper half from [rsi], or VEXTRACTF128 to [r8].
  std::string upper_moves(bool load) const {
    std::string code;
    if (!has_avx_) return code;
    const Encoding e = parse_encoding(load ? kVinsertf128 : kVextractf128);
    for (unsigned n = 0; n < 16; n++) {
      u8 bytes[10] = {};
      put_vex3(bytes, e, {n >= 8, false, !load, false, true, static_cast<u8>(load ? n : 0)});
      bytes[3] = e.opcode;
      bytes[4] = static_cast<u8>(0x80 | (n & 7) << 3 | (load ? 6 : 0));
      store_as<u32>(bytes + 5, static_cast<u32>(offsetof(State, upper) + 16 * n));
      bytes[9] = 1;
      code.append(reinterpret_cast<const char*>(bytes), sizeof bytes);
    }
    return load ? code : code + "\xC5\xF8\x77";
  }
  static constexpr Row kVinsertf128{"VEX.256.66.0F3A.W0 18 /r ib", "", "Vx,Hx,Wdq,Ib", kNoAttr, kNoFlags, "avx", {}};
  static constexpr Row kVextractf128{"VEX.256.66.0F3A.W0 19 /r ib", "", "Wdq,Vx,Ib", kNoAttr, kNoFlags, "avx", {}};

  const bool has_avx_ = test::host_has("avx");
  u8* code_;
  u8* memory_;
  struct sigaction old_fpe_ {}, old_segv_ {};
};

/// Executes an instruction whose memory operand is [rdi].
void execute_at(Cpu& c, const Insn& i, u64 rdi) {
  c.s.gpr[RDI] = rdi;
  c.next_rip() = c.s.rip + i.length;
  i.exec(c, i);
}

Insn decoded(const std::string& bytes) {
  Insn i;
  REQUIRE(decode({reinterpret_cast<const u8*>(bytes.data()), bytes.size()}, CodeSize::Bits64, i) == DecodeStatus::Ok);
  REQUIRE(i.length == bytes.size());
  return i;
}

State run_ours(test::TestMachine& m, const Insn& i, const State& in) {
  static const Insn fxrstor = decoded("\x0F\xAE\x0F"), fxsave = decoded("\x0F\xAE\x07");
  Cpu& c = m.cpu;
  m.ram_map.bus_write(kImageAddress, {in.fxsave, sizeof in.fxsave});
  execute_at(c, fxrstor, kImageAddress);
  m.ram_map.bus_write(kOperand, {in.memory, kOperandBytes});
  c.s.gpr[RAX] = in.rax;
  c.s.gpr[RCX] = in.rcx;
  c.s.gpr[RDX] = in.rdx;
  c.s.flags.set_arithmetic(static_cast<u32>(in.flags));
  for (unsigned n = 0; n < 16; n++) c.s.vec[n].hi = load_as<V128>(in.upper + 16 * n);
  State out = in;
  try {
    execute_at(c, i, kOperand);
  } catch (const Fault& fault) {
    out.fault = static_cast<int>(fault.vector);
  }
  out.rax = c.s.gpr[RAX];
  out.rcx = c.s.gpr[RCX];
  out.rdx = c.s.gpr[RDX];
  out.flags = c.s.flags.arithmetic();
  for (unsigned n = 0; n < 16; n++) store_as(out.upper + 16 * n, c.s.vec[n].hi);
  execute_at(c, fxsave, kImageAddress);
  m.ram_map.bus_read(kImageAddress, {out.fxsave, sizeof out.fxsave});
  m.ram_map.bus_read(kOperand, {out.memory, kOperandBytes});
  return out;
}

/// A 64-bit piece that some operation finds hard.
u64 hard_piece(TestRandom& random) {
  switch (random.below(6)) {
    case 0: return fp::random_operand<fp::F64>(random);
    case 1: return random.next();
    case 2: {  // few different bytes: equal lanes, saturation, small shift counts
      static constexpr u8 kBytes[] = {0, 1, 0x7F, 0x80, 0xFF, 0xFE};
      u64 v = 0;
      for (unsigned n = 0; n < 8; n++) v = v << 8 | kBytes[random.below(6)];
      return v;
    }
    case 3: return random.below(80);
    default: return u64{fp::random_operand<fp::F32>(random)} << 32 | fp::random_operand<fp::F32>(random);
  }
}

State random_input(TestRandom& random) {
  State in;
  store_as<u16>(in.fxsave, 0x37F);
  store_as<u16>(in.fxsave + 2, static_cast<u16>(random.below(8) << 11 | (random.next() & 0x4700)));
  in.fxsave[4] = static_cast<u8>(random.next());
  const u32 masks = random.below(4) == 0 ? static_cast<u32>(random.below(64)) : 0x3F;
  const u32 sticky = random.below(2) ? 0 : static_cast<u32>(random.below(64));
  const u32 zeros = random.below(2) ? 0 : static_cast<u32>(random.next()) & 0x8040;  // FTZ, DAZ
  store_as<u32>(in.fxsave + kMxcsr, masks << 7 | sticky | zeros | static_cast<u32>(random.below(4)) << 13);
  for (unsigned n = 0; n < 8; n++) {
    store_as<u64>(in.fxsave + kRegisters + 16 * n, hard_piece(random));
    store_as<u16>(in.fxsave + kRegisters + 16 * n + 8, static_cast<u16>(random.next()));
  }
  u64 piece = 0;
  for (u8* registers : {in.fxsave + kXmm, in.upper}) {
    for (unsigned n = 0; n < 32; n++) {
      if (random.below(8) != 0) piece = hard_piece(random);  // else the same again
      store_as<u64>(registers + 8 * n, piece);
    }
  }
  for (unsigned n = 0; n < kOperandBytes; n += 8) store_as<u64>(in.memory + n, hard_piece(random));
  in.rax = hard_piece(random);
  in.rcx = random.next();
  in.rdx = hard_piece(random);
  in.flags = random.next() & kArithmetic;
  return in;
}

/// Bytes of the row with random registers, or with [rdi + n]. Empty when the row has no such form.
std::string bytes_of(const Encoding& e, bool memory, TestRandom& random) {
  const Row& row = *e.row;
  if (memory ? !e.memory_ok || row.handlers.exec[1][1] == nullptr : !e.register_ok || row.handlers.exec[1][0] == nullptr)
    return "";
  std::string out;
  unsigned reg = 0, rm = 0, rex = 0, vvvv = 0;
  bool may_be_unaligned = true, by_width = row.attributes & kWidths;
  for (unsigned n = 0; n < 4; n++) {
    const OperandSpec s = parse_operand(row.operands, n);
    by_width |= s.size == 'y';
    switch (s.kind) {
      case 'V': reg = static_cast<unsigned>(random.below(16)); break;
      case 'P': reg = static_cast<unsigned>(random.below(8)); break;
      case 'H': vvvv = static_cast<unsigned>(random.below(16)); break;
      case 'G': reg = static_cast<unsigned>(random.below(2)); break;
      case 'W':
      case 'U': rm = static_cast<unsigned>(random.below(16)); break;
      case 'Q':
      case 'N': rm = static_cast<unsigned>(random.below(8)); break;
      case 'R':
      case 'E': rm = static_cast<unsigned>(random.below(2)); break;
    }
    if (s.size == 'a' && random.below(8) != 0) may_be_unaligned = false;
  }
  if (e.extension >= 0) reg = static_cast<unsigned>(e.extension);
  if (e.rexw_only || (by_width && random.below(2))) rex |= 8;
  rex |= reg >> 3 << 2;
  if (!memory) rex |= rm >> 3;
  const unsigned index = e.vsib ? (reg + 1 + static_cast<unsigned>(random.below(15))) & 15 : 0;
  if (e.vsib) {
    while (vvvv == reg || vvvv == index) vvvv = static_cast<unsigned>(random.below(16));
    rex |= index >> 3 << 1;
  }
  if (e.vex) {
    u8 vex[3];
    put_vex3(vex, e, {bool(rex & 4), bool(rex & 2), bool(rex & 1), bool(rex & 8), vex_length_bit(e, random.below(2)), static_cast<u8>(vvvv)});
    out.append(reinterpret_cast<const char*>(vex), sizeof vex);
  } else {
    if (e.prefix == MandatoryPrefix::P66) out += '\x66';
    if (e.prefix == MandatoryPrefix::PF2) out += '\xF2';
    if (e.prefix == MandatoryPrefix::PF3) out += '\xF3';
    if (rex != 0) out += static_cast<char>(0x40 | rex);
    out += '\x0F';
    if (e.map == 2) out += '\x38';
    if (e.map == 3) out += '\x3A';
  }
  out += static_cast<char>(e.opcode);
  if (!e.has_modrm) return memory ? "" : out;
  if (e.vsib) {
    out += static_cast<char>(0x44 | (reg & 7) << 3);
    out += static_cast<char>(random.below(4) << 6 | (index & 7) << 3 | RDI);
    out += static_cast<char>(random.below(24));
  } else if (memory) {
    out += static_cast<char>(0x47 | (reg & 7) << 3);
    out += static_cast<char>(may_be_unaligned ? random.below(32) : 32 * random.below(2));
  } else {
    out += static_cast<char>(0xC0 | (reg & 7) << 3 | (rm & 7));
  }
  if (e.imm == ImmKind::Byte) out += static_cast<char>(random.below(4) ? random.below(70) : random.below(256));
  return out;
}

std::string hex(const void* p, unsigned n) {
  std::string s;
  for (unsigned k = 0; k < n; k++) s += fmt::format("{:02x}", static_cast<const u8*>(p)[k]);
  return s;
}

/// Only what differs, and MXCSR.
std::string difference(const State& in, const State& host, const State& ours) {
  std::string s = fmt::format("mxcsr in {:04x} host {:04x} ours {:04x}; fault {} {}; sw {:04x} {:04x} tags {:02x} {:02x}; ",
                              load_as<u32>(in.fxsave + kMxcsr), load_as<u32>(host.fxsave + kMxcsr),
                              load_as<u32>(ours.fxsave + kMxcsr), host.fault, ours.fault, load_as<u16>(host.fxsave + 2),
                              load_as<u16>(ours.fxsave + 2), host.fxsave[4], ours.fxsave[4]);
  s += fmt::format("flags {:x} {:x} rax {:x} {:x} rcx {:x} {:x} rdx {:x} {:x}", host.flags, ours.flags, host.rax,
                   ours.rax, host.rcx, ours.rcx, host.rdx, ours.rdx);
  for (unsigned at = kRegisters; at < kSaved; at += 16)
    if (std::memcmp(host.fxsave + at, ours.fxsave + at, 16) != 0)
      s += fmt::format("\n  {}{}: in {} host {} ours {}", at < kXmm ? "st" : "xmm", (at - (at < kXmm ? kRegisters : kXmm)) / 16,
                       hex(in.fxsave + at, 16), hex(host.fxsave + at, 16), hex(ours.fxsave + at, 16));
  for (unsigned at = 0; at < sizeof in.upper; at += 16)
    if (std::memcmp(host.upper + at, ours.upper + at, 16) != 0)
      s += fmt::format("\n  upper {}: in {} host {} ours {}", at / 16, hex(in.upper + at, 16), hex(host.upper + at, 16),
                       hex(ours.upper + at, 16));
  if (std::memcmp(host.memory, ours.memory, kOperandBytes) != 0)
    s += fmt::format("\n  memory: in {} host {} ours {}", hex(in.memory, 32), hex(host.memory, 32), hex(ours.memory, 32));
  for (unsigned n = 0; n < 16; n++)
    s += fmt::format("\n  in ymm{} {} {}", n, hex(in.fxsave + kXmm + 16 * n, 16), hex(in.upper + 16 * n, 16));
  return s + "\n  in memory " + hex(in.memory, 48);
}

bool same(const State& a, const State& b) {
  return a.rax == b.rax && a.rcx == b.rcx && a.rdx == b.rdx && a.flags == b.flags && a.fault == b.fault &&
         std::memcmp(a.fxsave, b.fxsave, 5) == 0 &&  // not the pointers: no instruction here changes them, but AMD drops them
         load_as<u32>(a.fxsave + kMxcsr) == load_as<u32>(b.fxsave + kMxcsr) &&
         std::memcmp(a.fxsave + kRegisters, b.fxsave + kRegisters, kSaved - kRegisters) == 0 &&
         std::memcmp(a.upper, b.upper, sizeof a.upper) == 0 && std::memcmp(a.memory, b.memory, kOperandBytes) == 0;
}

/// Whether an instruction that raises #XM has gone over to MMX before differs between vendors: TOP and tags are taken over.
void forgive_transition(const Row& row, const State& host, State& ours) {
  if ((row.attributes & (kSse | kMmx)) != (kSse | kMmx) || host.fault != 19 || ours.fault != 19) return;
  store_as<u16>(ours.fxsave + 2, static_cast<u16>((load_as<u16>(ours.fxsave + 2) & ~0x3800) |
                                                  (load_as<u16>(host.fxsave + 2) & 0x3800)));
  ours.fxsave[4] = host.fxsave[4];
  std::memcpy(ours.fxsave + kRegisters, host.fxsave + kRegisters, kXmm - kRegisters);  // by their distance to TOP
}

/// SHA's operands must be aligned on Intel's processors (SDM 2, exceptions of type 4), not on AMD's.
bool aligned_on_intel_only(const Row& row, const State& host, const State& ours) {
  return std::string_view(row.feature) == "sha_ni" && host.fault == -1 && ours.fault == 13;
}

/// Processors differ in these by design: estimates, and MXCSR's bit 17.
bool is_own(std::string name) {
  if (name[0] == 'v') name.erase(0, 1);
  return name.starts_with("rcp") || name.starts_with("rsqrt") || name == "ldmxcsr";
}

void compare_rows(std::span<const Row> rows, u64 seed, bool expect_unaligned, bool expect_float) {
  HostStub host;
  REQUIRE_MESSAGE(host.good(), "the addresses of the test's pages are taken");
  unsigned left_out = 0;
  test::TestMachine m;
  m.long64(3);
  m.cpu.s.cr4 |= kCr4Osxmmexcpt | kCr4Osxsave;
  m.cpu.s.xcr0 = kXcr0X87 | kXcr0Sse | kXcr0Avx;
  TestRandom random(seed);
  const char* count = std::getenv("CALLGATE_SSE_CASES");
  const unsigned cases = count != nullptr ? static_cast<unsigned>(std::atoi(count)) : 600;
  unsigned faults[32] = {};
  for (const Row& row : rows) {
    if (is_own(row.name)) continue;
    if (!test::host_has(row.feature)) {
      if (left_out++ == 0) MESSAGE("the host has no ", row.feature, ": its rows are not compared");
      continue;
    }
    const Encoding e = parse_encoding(row);
    unsigned wrong = 0, executed = 0;
    for (unsigned n = 0; n < cases; n++) {
      const std::string bytes = bytes_of(e, n & 1, random);
      if (bytes.empty()) continue;
      const Insn insn = decoded(bytes);
      REQUIRE(insn.row == &row);
      host.set(bytes);
      State in = random_input(random);
      if (e.vsib) {  // indices within the operand
        for (u8* r : {in.fxsave + kXmm + 16 * insn.index, in.upper + 16 * insn.index})
          for (unsigned k = 0; k < 16; k += 8) store_as<u64>(r + k, random.below(4) | (insn.opcode & 1 ? 0 : random.below(4) << 32));
      }
      const State theirs = host.run(in);
      State ours = run_ours(m, insn, in);
      forgive_transition(row, theirs, ours);
      executed++;
      if (ours.fault >= 0) faults[ours.fault]++;
      if (aligned_on_intel_only(row, theirs, ours)) continue;
      if (!same(theirs, ours) && ++wrong <= 2) {
        const std::string what = fmt::format("{} {}: {}\n  {}", row.encoding, row.name, hex(bytes.data(), static_cast<unsigned>(bytes.size())),
                                             difference(in, theirs, ours));
        MESSAGE(what);
      }
    }
    CHECK_MESSAGE(wrong == 0, row.encoding, " ", row.name, ": ", wrong, " of ", executed, " differ");
    CHECK_MESSAGE(executed != 0, row.encoding, " ", row.name, " was not executed");
  }
  if (left_out != 0) return;
  // The rules of #GP for alignment and of #XM were among what was compared.
  CHECK((faults[13] != 0) == expect_unaligned);
  CHECK((faults[19] != 0) == expect_float);
}

}  // namespace

TEST_CASE("MMX: every row leaves what the host's processor leaves") { compare_rows(mmx_rows(), 1, false, false); }
TEST_CASE("SSE3: every row leaves what the host's processor leaves") { compare_rows(sse3_rows(), 5, true, true); }
TEST_CASE("SSSE3: every row leaves what the host's processor leaves") { compare_rows(ssse3_rows(), 6, true, false); }
TEST_CASE("SSE4.1: every row leaves what the host's processor leaves") { compare_rows(sse41_rows(), 7, true, true); }
TEST_CASE("SSE4.2: every row leaves what the host's processor leaves") { compare_rows(sse42_rows(), 8, true, false); }
TEST_CASE("AES, PCLMULQDQ and SHA: every row leaves what the host's processor leaves") {
  compare_rows(crypto_rows(), 14, true, false);
}
TEST_CASE("AVX moves: every row leaves what the host's processor leaves") { compare_rows(avx_move_rows(), 9, true, false); }
TEST_CASE("AVX integers: every row leaves what the host's processor leaves") { compare_rows(avx_integer_rows(), 10, false, false); }
TEST_CASE("AVX floating point: every row leaves what the host's processor leaves") { compare_rows(avx_float_rows(), 11, false, true); }
TEST_CASE("AVX2: every row leaves what the host's processor leaves") { compare_rows(avx2_rows(), 12, false, false); }
TEST_CASE("FMA and F16C: every row leaves what the host's processor leaves") { compare_rows(fma_rows(), 13, false, true); }
TEST_CASE("SSE moves: every row leaves what the host's processor leaves") { compare_rows(sse_move_rows(), 2, true, false); }
TEST_CASE("SSE integers: every row leaves what the host's processor leaves") { compare_rows(sse_integer_rows(), 3, true, false); }
TEST_CASE("SSE floating point: every row leaves what the host's processor leaves") { compare_rows(sse_float_rows(), 4, true, true); }

#endif
