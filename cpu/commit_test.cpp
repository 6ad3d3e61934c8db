// An instruction that faults has changed nothing: no byte of memory, no register, no flag. Every instruction that
// writes memory is run with its operand (or its stack frame) across a page that can be written and one that cannot,
// each way round.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "cpu/system/test_machine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

constexpr u64 kPt = M::kTables + 0x8000;
constexpr u64 kRegion = 0x40000;  ///< three pages; one of the middle one's neighbours can't be written
constexpr u64 kMiddle = kRegion + 0x1000;
constexpr u64 kRegionSize = 0x3000;

enum class Hole { Below, Above };

/// Long mode with 4 KiB pages; the page at the hole is read-only, or missing.
void enter(M& m, bool compatibility, Hole hole, bool missing) {
  const u64 bad = (hole == Hole::Below ? kRegion : kRegion + 0x2000) >> 12;
  for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | (n == bad ? (missing ? 0 : 1) : 3));
  m.long64(0, compatibility);
  m.write<u64>(M::kTables + 0x2000, kPt | 7);
  m.set_idt64(14, M::kCode64, M::handler(14), 0x8E, 1);
  m.cpu.s.cr4 |= kCr4Osxmmexcpt | kCr4Osxsave;
  m.cpu.s.xcr0 = 3;
  for (u64 n = 0; n < kRegionSize; n++) m.write<u8>(kRegion + n, static_cast<u8>(n * 7 + (n >> 8)));
  for (unsigned r = 0; r < 16; r++) m.cpu.s.gpr[r] = 0x1111111111111111u * r;
  m.cpu.s.gpr[RCX] = 3;
  m.cpu.s.gpr[RSP] = M::kStack0;
  m.cpu.s.flags.set_arithmetic(kCF | kZF | kPF);
  m.cpu.s.x87.empty = 0;
  m.cpu.refresh();
}

std::vector<u8> region(M& m) {
  std::vector<u8> bytes(kRegionSize);
  m.ram_map.bus_read(kRegion, bytes);
  return bytes;
}

/// What one instruction must not have changed.
struct Snapshot {
  CpuState s;
  std::vector<u8> memory;
};

std::string difference(const Snapshot& before, const Snapshot& after) {
  std::string out;
  for (unsigned r = 0; r < 16; r++)
    if (before.s.gpr[r] != after.s.gpr[r]) out += " gpr" + std::to_string(r);
  if (before.s.rip != after.s.rip) out += " rip";
  if ((before.s.flags.value() | kRF) != (after.s.flags.value() | kRF)) out += " rflags";
  for (unsigned n = 0; n < kSegCount; n++)
    if (before.s.seg[n].selector != after.s.seg[n].selector || before.s.seg[n].base != after.s.seg[n].base)
      out += " seg" + std::to_string(n);
  if (before.s.cpl != after.s.cpl) out += " cpl";
  if (before.s.mxcsr != after.s.mxcsr) out += " mxcsr";
  if (before.s.x87.top != after.s.x87.top || before.s.x87.empty != after.s.x87.empty ||
      before.s.x87.status != after.s.x87.status || before.s.x87.control != after.s.x87.control)
    out += " x87";
  for (unsigned n = 0; n < 8; n++)
    if (!(before.s.x87.r[n] == after.s.x87.r[n])) out += " st" + std::to_string(n);
  if (before.memory != after.memory) {
    u64 at = 0;
    while (before.memory[at] == after.memory[at]) at++;
    out += " memory+" + std::to_string(at);
  }
  return out;
}

/// Runs the instruction to its fault without delivering it: the state is the instruction's own.
std::string run_faulting(M& m, const std::vector<u8>& code) {
  u64 at = M::kCode;
  for (const u8 b : code) m.write<u8>(at++, b);
  m.cpu.s.rip = M::kCode;
  const Snapshot before{m.cpu.s, region(m)};
  const u64 faults = m.cpu.faults_delivered();
  m.run(1);
  if (m.cpu.faults_delivered() == faults) return " no fault";
  // The handler's frame has what delivery changed.
  Snapshot after{m.cpu.s, region(m)};
  after.s.rip = m.stack(1, 8);
  after.s.seg[CS] = m.cpu.s.seg[CS];
  after.s.seg[CS].selector = static_cast<u16>(m.stack(2, 8));
  after.s.seg[CS].base = before.s.seg[CS].base;
  after.s.flags.set_value(static_cast<u32>(m.stack(3, 8)));
  after.s.gpr[RSP] = m.stack(4, 8);
  std::string what = difference(before, after);
  if (m.last_fault().substr(0, 3) != "#PF") what += " " + m.last_fault() + " " + m.last_reason();
  return what;
}

struct Case {
  const char* name;
  std::vector<u8> code;
  u64 size;            ///< of the operand at [RBX] (or RDI), or of what is pushed
  bool compatibility = false;
  u64 alignment = 1;
};

}  // namespace

TEST_CASE("a store or read-modify-write over a page that can't be written changes nothing") {
  const std::vector<Case> cases = {
      {"mov [rbx], ax", {0x66, 0x89, 0x03}, 2},
      {"mov [rbx], eax", {0x89, 0x03}, 4},
      {"mov [rbx], rax", {0x48, 0x89, 0x03}, 8},
      {"mov qword [rbx], imm", {0x48, 0xC7, 0x03, 1, 2, 3, 4}, 8},
      {"add [rbx], eax", {0x01, 0x03}, 4},
      {"lock adc [rbx], rax", {0xF0, 0x48, 0x11, 0x03}, 8},
      {"sbb qword [rbx], imm8", {0x48, 0x83, 0x1B, 5}, 8},
      {"inc dword [rbx]", {0xFF, 0x03}, 4},
      {"neg qword [rbx]", {0x48, 0xF7, 0x1B}, 8},
      {"not qword [rbx]", {0x48, 0xF7, 0x13}, 8},
      {"shl qword [rbx], 5", {0x48, 0xC1, 0x23, 5}, 8},
      {"rcr dword [rbx], 5", {0xC1, 0x1B, 5}, 4},
      {"shl dword [rbx], cl", {0xD3, 0x23}, 4},
      {"shld [rbx], rax, 7", {0x48, 0x0F, 0xA4, 0x03, 7}, 8},
      {"shrd [rbx], eax, cl", {0x0F, 0xAD, 0x03}, 4},
      {"bts [rbx], ecx", {0x0F, 0xAB, 0x0B}, 4},
      {"btc dword [rbx], 3", {0x0F, 0xBA, 0x3B, 3}, 4},
      {"xchg [rbx], rax", {0x48, 0x87, 0x03}, 8},
      {"xadd [rbx], rax", {0x48, 0x0F, 0xC1, 0x03}, 8},
      {"cmpxchg [rbx], rcx: not equal", {0x48, 0x0F, 0xB1, 0x0B}, 8},
      {"cmpxchg8b [rbx]", {0x0F, 0xC7, 0x0B}, 8},
      {"pop qword [rbx]", {0x8F, 0x03}, 8},
      {"setz would be a byte; movnti [rbx], rax", {0x48, 0x0F, 0xC3, 0x03}, 8},
      {"stosq", {0x48, 0xAB}, 8},
      {"rep stosq", {0xF3, 0x48, 0xAB}, 8},
      {"movsd", {0xA5}, 4},
      {"sgdt [rbx]", {0x0F, 0x01, 0x03}, 10},
      {"sidt [rbx]", {0x0F, 0x01, 0x0B}, 10},
      {"str word [rbx]", {0x0F, 0x00, 0x0B}, 2},
      {"mov word [rbx], ds", {0x8C, 0x1B}, 2},
      {"smsw [rbx]", {0x0F, 0x01, 0x23}, 2},
      {"stmxcsr [rbx]", {0x0F, 0xAE, 0x1B}, 4},
      {"movups [rbx], xmm0", {0x0F, 0x11, 0x03}, 16},
      {"movdqu [rbx], xmm0", {0xF3, 0x0F, 0x7F, 0x03}, 16},
      {"movlps [rbx], xmm0", {0x0F, 0x13, 0x03}, 8},
      {"movq [rbx], mm0", {0x0F, 0x7F, 0x03}, 8},
      {"maskmovq: all bytes", {0x0F, 0xF7, 0xC0}, 8},
      {"fst dword [rbx]", {0xD9, 0x13}, 4},
      {"fstp qword [rbx]", {0xDD, 0x1B}, 8},
      {"fstp tbyte [rbx]", {0xDB, 0x3B}, 10},
      {"fistp qword [rbx]", {0xDF, 0x3B}, 8},
      {"fisttp would be SSE3; fist word [rbx]", {0xDF, 0x13}, 2},
      {"fbstp [rbx]", {0xDF, 0x33}, 10},
      {"fnstcw [rbx]", {0xD9, 0x3B}, 2},
      {"fnstsw [rbx]", {0xDD, 0x3B}, 2},
      {"fnstenv [rbx]", {0xD9, 0x33}, 28},
      {"fnsave [rbx]", {0xDD, 0x33}, 108},
      {"fxsave [rbx]", {0x0F, 0xAE, 0x03}, 512, false, 16},
      {"fxsave64 [rbx]", {0x48, 0x0F, 0xAE, 0x03}, 512, false, 16},
      {"xsave [rbx]", {0x0F, 0xAE, 0x23}, 576, false, 64},
  };
  for (const Case& c : cases)
    for (const Hole hole : {Hole::Below, Hole::Above})
      for (const bool missing : {false, true}) {
        M m;
        enter(m, c.compatibility, hole, missing);
        const u64 edge = hole == Hole::Below ? kMiddle : kRegion + 0x2000;
        for (u64 inside = c.alignment; inside < c.size; inside += c.size > 32 ? 16 : 1) {
          enter(m, c.compatibility, hole, missing);
          const u64 at = edge - inside;
          if (at % c.alignment != 0) continue;
          m.cpu.s.gpr[RBX] = m.cpu.s.gpr[RDI] = at;
          m.cpu.s.gpr[RSI] = kMiddle + 0x800;
          m.cpu.s.gpr[RAX] = 0xFFFFFFFF;
          m.cpu.s.gpr[RDX] = 0;
          m.cpu.s.x87.r[0] = {~u64{0}, 0xBFFF};  // a mask for MASKMOVQ with every byte chosen
          CHECK_MESSAGE(run_faulting(m, c.code) == "", std::string(c.name), ", ", inside, " bytes below the edge");
          CHECK(m.cpu.s.cr2 >= kRegion);
        }
      }
}

TEST_CASE("what pushes writes nothing and keeps the stack pointer when a part of it can't be written") {
  const std::vector<Case> cases = {
      {"push rax", {0x50}, 8},
      {"push imm", {0x68, 1, 2, 3, 4}, 8},
      {"push qword [rip]", {0xFF, 0x35, 0, 0, 0, 0}, 8},
      {"push ax", {0x66, 0x50}, 2},
      {"push fs", {0x0F, 0xA0}, 8},
      {"pushfq", {0x9C}, 8},
      {"call rel32", {0xE8, 0, 0, 0, 0}, 8},
      {"call rsi", {0xFF, 0xD6}, 8},
      {"enter 16, 0", {0xC8, 16, 0, 0}, 8},
      {"enter 16, 3", {0xC8, 16, 0, 3}, 32},
      {"call far [rdx]", {0x48, 0xFF, 0x1A}, 16},
      {"pushad", {0x60}, 32, true},
      {"push eax", {0x50}, 4, true},
      {"pushfd", {0x9C}, 4, true},
      {"call rel32 of 32 bits", {0xE8, 0, 0, 0, 0}, 4, true},
      {"call far", {0x9A, 0x00, 0x90, 0, 0, M::kCode0, 0}, 8, true},
      {"enter 16, 3 of 32 bits", {0xC8, 16, 0, 3}, 16, true},
  };
  for (const Case& c : cases)
    for (const bool missing : {false, true})
      for (u64 inside = 1; inside < c.size; inside++) {
        M m;
        enter(m, c.compatibility, Hole::Below, missing);
        m.write<u64>(0x60000, M::handler(0));
        m.write<u64>(0x60008, M::kCode64);
        m.cpu.s.gpr[RDX] = 0x60000;
        m.cpu.s.gpr[RBP] = 0x60100;
        m.cpu.s.gpr[RSI] = M::handler(0);
        m.cpu.s.gpr[RSP] = kMiddle + inside;
        CHECK_MESSAGE(run_faulting(m, c.code) == "", std::string(c.name), ", ", inside, " bytes above the edge");
      }
}

TEST_CASE("CMPXCHG16B on a read-only page changes nothing, whether it would have matched or not") {
  for (const bool equal : {false, true}) {
    M m;
    enter(m, false, Hole::Below, false);
    m.cpu.s.gpr[RSI] = kRegion;
    if (equal) {
      m.cpu.s.gpr[RAX] = m.read<u64>(kRegion);
      m.cpu.s.gpr[RDX] = m.read<u64>(kRegion + 8);
    }
    CHECK(run_faulting(m, {0x48, 0x0F, 0xC7, 0x0E}) == "");
    CHECK(m.last_fault() == "#PF(0x3)");
  }
}

TEST_CASE("a comparison that fails still needs write permission: CMPXCHG on a read-only page is #PF") {
  M m;
  enter(m, false, Hole::Below, false);
  m.cpu.s.gpr[RSI] = kRegion;
  m.cpu.s.gpr[RAX] = ~m.read<u64>(kRegion);
  CHECK(run_faulting(m, {0x48, 0x0F, 0xB1, 0x0E}) == "");
  CHECK(m.last_fault() == "#PF(0x3)");
}

TEST_CASE("flags that an instruction before computed are in the frame of the one that faults") {
  M m;
  enter(m, false, Hole::Below, true);
  m.cpu.s.flags.set_arithmetic(0);
  m.cpu.s.gpr[RAX] = 0x7FFFFFFF;
  m.cpu.s.gpr[RSI] = kRegion;
  // add eax, 1: OF, SF, AF, PF. Then a load that faults; the ADD behind it would redefine all of them.
  m.code({0x83, 0xC0, 0x01, 0x8B, 0x16, 0x83, 0xC0, 0x01});
  m.run(2);
  CHECK(m.last_fault() == "#PF(0x0)");
  CHECK((m.stack(3, 8) & kArithmetic) == (kOF | kSF | kAF | kPF));
}
