// Results and flags that x86 leaves undefined have one canonical value in Callgate: the same on every host and every
// engine. The digests were recorded once; a host or compiler that leaks into an undefined value gives another one.
#include <doctest/doctest.h>

#include <cstdio>
#include <string>

#include "cpu/semantics/test_cpu.h"

using namespace callgate;
using test::Mode;
using test::TestCpu;

namespace {

constexpr u64 kOperands[] = {0, 1, 2, 0x7F, 0x80, 0xFF, 0x1234, 0x7FFF, 0x8000, 0xFFFF, 0x12345678, 0x7FFFFFFF,
                             0x80000000, 0xFFFFFFFF, 0x123456789ABCDEF0, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000,
                             ~u64{0}};
constexpr u8 kCounts[] = {1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 63};

/// Runs `code` with rAX and rBX from the operands, CL from the counts, and all flags clear or set; hashes what it leaves.
/// Faults (#DE) are part of it.
u64 digest(Mode mode, std::initializer_list<u8> code, bool counts) {
  TestCpu t(mode);
  u64 hash = 0xCBF29CE484222325;
  for (const u64 a : kOperands)
    for (const u64 b : kOperands)
      for (const u8 count : kCounts) {
        for (const u32 flags : {u32{0}, u32{kArithmetic}}) {
          t.gpr(RAX) = a;
          t.gpr(RBX) = b;
          t.gpr(RCX) = count;
          t.gpr(RDX) = b >> 3;
          t.s().flags.set_arithmetic(flags);
          t.s().rip = TestCpu::kCode;
          const bool fault = t.run(code).has_value();
          for (const u64 word : {t.gpr(RAX), t.gpr(RBX), t.gpr(RDX), u64{t.s().flags.arithmetic()}, u64{fault}})
            hash = (hash ^ word) * 0x100000001B3 + (hash >> 29);
        }
        if (!counts) break;
      }
  return hash;
}

struct Recorded {
  const char* name;
  Mode mode;
  std::initializer_list<u8> code;
  u64 expected;
  bool counts = false;
};

}  // namespace

TEST_CASE("undefined flags and results are those that were recorded once, on every host") {
  const Recorded kRecorded[] = {
      {"and eax, ebx", Mode::Long64, {0x21, 0xD8}, 0xF7875B82930012F4},
      {"or ax, bx", Mode::Long64, {0x66, 0x09, 0xD8}, 0xAAEF426C573720F2},
      {"test al, bl", Mode::Long64, {0x84, 0xD8}, 0x44400AC7648F2CBD},
      {"mul bl", Mode::Long64, {0xF6, 0xE3}, 0xD09FD39BC0A9F67C},
      {"mul ebx", Mode::Long64, {0xF7, 0xE3}, 0x8D71581E4D311BB5},
      {"mul rbx", Mode::Long64, {0x48, 0xF7, 0xE3}, 0x7E75DC5D10D81DB0},
      {"imul bx", Mode::Long64, {0x66, 0xF7, 0xEB}, 0xB2CC70A50FF2C8F7},
      {"imul rax, rbx", Mode::Long64, {0x48, 0x0F, 0xAF, 0xC3}, 0xABE623C68D0B601F},
      {"div bl", Mode::Long64, {0xF6, 0xF3}, 0x9EF57D7A871D1536},
      {"div rbx", Mode::Long64, {0x48, 0xF7, 0xF3}, 0xF6141297141B5FDB},
      {"idiv ebx", Mode::Long64, {0xF7, 0xFB}, 0x4960F8B2545B26E8},
      {"bsf eax, ebx", Mode::Long64, {0x0F, 0xBC, 0xC3}, 0xC9C48CB0F63C8432},
      {"bsf rax, rbx", Mode::Long64, {0x48, 0x0F, 0xBC, 0xC3}, 0xC7B2C867D3A19453},
      {"bsr ax, bx", Mode::Long64, {0x66, 0x0F, 0xBD, 0xC3}, 0x3D432D27B82DF7C5},
      {"bsr eax, ebx", Mode::Long64, {0x0F, 0xBD, 0xC3}, 0x775276D8A8A44EC4},
      {"bt eax, ebx", Mode::Long64, {0x0F, 0xA3, 0xD8}, 0xD54F8647CEBBA1FF},
      {"bts rax, rbx", Mode::Long64, {0x48, 0x0F, 0xAB, 0xD8}, 0xE1349644AF876AE4},
      {"bswap ax", Mode::Long64, {0x66, 0x0F, 0xC8}, 0x5BF99B043D5604F7},
      {"shl al, cl", Mode::Long64, {0xD2, 0xE0}, 0xA1319C27A2159FAC, true},
      {"shl eax, cl", Mode::Long64, {0xD3, 0xE0}, 0x6D2432246B41A164, true},
      {"shr ax, cl", Mode::Long64, {0x66, 0xD3, 0xE8}, 0x33C55FE4A2C9347C, true},
      {"sar al, cl", Mode::Long64, {0xD2, 0xF8}, 0xFBA8A30D54ABA36D, true},
      {"sar rax, cl", Mode::Long64, {0x48, 0xD3, 0xF8}, 0xF1DAE9656C940783, true},
      {"rol al, cl", Mode::Long64, {0xD2, 0xC0}, 0x6628AD86E55C881A, true},
      {"ror ax, cl", Mode::Long64, {0x66, 0xD3, 0xC8}, 0xF9284CF52DE352FF, true},
      {"rcl al, cl", Mode::Long64, {0xD2, 0xD0}, 0x583ED0902585A456, true},
      {"rcr ax, cl", Mode::Long64, {0x66, 0xD3, 0xD8}, 0x25FC6C0A1B3A0B9E, true},
      {"rcr rax, cl", Mode::Long64, {0x48, 0xD3, 0xD8}, 0x7468D100DD0BE042, true},
      {"shld ax, bx, cl", Mode::Long64, {0x66, 0x0F, 0xA5, 0xD8}, 0xC585DAEDB0537593, true},
      {"shld rax, rbx, cl", Mode::Long64, {0x48, 0x0F, 0xA5, 0xD8}, 0x53088193BB5F907C, true},
      {"shrd ax, bx, cl", Mode::Long64, {0x66, 0x0F, 0xAD, 0xD8}, 0x3EE81AF138450DA8, true},
      {"shrd eax, ebx, cl", Mode::Long64, {0x0F, 0xAD, 0xD8}, 0x97CC3DB70A04E7BA, true},
      {"daa", Mode::Protected32, {0x27}, 0xCBD1C20356C032B},
      {"das", Mode::Protected32, {0x2F}, 0x1AC02A891CDE0C03},
      {"aaa", Mode::Protected32, {0x37}, 0xC36C396C055C3FD9},
      {"aas", Mode::Protected32, {0x3F}, 0x229CB40C125A10A},
      {"aam", Mode::Protected32, {0xD4, 0x0A}, 0x6FCF4CEA7BE8C498},
      {"aad", Mode::Protected32, {0xD5, 0x0A}, 0x57A435FF90B7021E},
  };
  for (const Recorded& r : kRecorded) {
    const u64 got = digest(r.mode, r.code, r.counts);
    char text[32];
    std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(got));
    CHECK_MESSAGE(got == r.expected, std::string(r.name), ": ", std::string(text));
  }
}

TEST_CASE("the canonical values: AF after logic is 0, DIV clears all flags, BSF of 0 keeps the destination") {
  TestCpu t(Mode::Long64);
  t.s().flags.set_arithmetic(kArithmetic);
  t.gpr(RAX) = 0xF0;
  t.gpr(RBX) = 0x0F;
  CHECK(!t.run({0x21, 0xD8}));
  CHECK(t.s().flags.arithmetic() == (kZF | kPF));
  t.gpr(RDX) = 0;
  t.s().flags.set_arithmetic(kArithmetic);
  CHECK(!t.run({0xF7, 0xF3}));
  CHECK(t.s().flags.arithmetic() == 0);
  t.gpr(RAX) = 0x123456789;
  t.gpr(RBX) = 0;
  CHECK(!t.run({0x48, 0x0F, 0xBC, 0xC3}));
  CHECK(t.gpr(RAX) == 0x123456789);
  CHECK(t.s().flags.arithmetic() == (kZF | kPF));
}
