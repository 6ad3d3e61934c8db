// The host's floating-point environment and the guest's don't touch each other: the guest's results are the same
// whatever rounding the host has set, and the guest's MXCSR and control word never get into the host's registers.
#include <doctest/doctest.h>

#include <cfenv>
#include <vector>

#include "cpu/semantics/test_cpu.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

using namespace callgate;
using test::Mode;
using test::TestCpu;

namespace {

/// The host's environment as C++ and, on x86, the processor show it.
struct HostEnvironment {
  int rounding = std::fegetround();
  unsigned mxcsr = 0;
  u16 control = 0;
  HostEnvironment() {
#if defined(__x86_64__)
    mxcsr = _mm_getcsr() & 0xFFC0;
    __asm__ volatile("fnstcw %0" : "=m"(control));
#endif
  }
  bool operator==(const HostEnvironment&) const = default;
};

/// Puts the host's unit into a state that no compiler expects, and back at the end.
class OddHost {
 public:
  explicit OddHost(int rounding) {
    std::fegetenv(&saved_);
    std::fesetround(rounding);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);  // flush to zero, denormals are zero
    u16 control;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    control = static_cast<u16>(control & ~0x300);  // single precision
    __asm__ volatile("fldcw %0" : : "m"(control));
#endif
  }
  ~OddHost() { std::fesetenv(&saved_); }

 private:
  std::fenv_t saved_;
};

/// A guest program with every kind of rounding and precision of its own; the bits of all that it computes.
std::vector<u64> compute() {
  std::vector<u64> results;
  for (unsigned rounding = 0; rounding < 4; rounding++) {
    TestCpu t(Mode::Long64);
    t.cpu().s.cr4 |= kCr4Osfxsr | kCr4Osxmmexcpt;
    t.s().mxcsr = 0x1F80 | rounding << 13;
    t.s().x87.control = static_cast<u16>(0x37F | rounding << 10);
    t.s().x87.empty = 0xFF;
    t.gpr(RBX) = 0x8000;
    const double operands[] = {1.0, 3.0, 1e-310, -2.5e-320, 1e300, 0.1};
    for (const double a : operands)
      for (const double b : operands) {
        std::copy_n(reinterpret_cast<const u8*>(&a), 8, t.ram() + 0x8000);
        std::copy_n(reinterpret_cast<const u8*>(&b), 8, t.ram() + 0x8008);
        CHECK(!t.run({0xF2, 0x0F, 0x10, 0x03}));        // movsd xmm0, [rbx]
        for (const u8 op : {0x58, 0x59, 0x5C, 0x5E}) {  // add, mul, sub, div
          CHECK(!t.run({0x0F, 0x28, 0xC8}));            // movaps xmm1, xmm0
          CHECK(!t.run({0xF2, 0x0F, op, 0x4B, 0x08}));  // xmm1 op= [rbx + 8]
          results.push_back(t.s().vec[1].lo.q[0]);
        }
        CHECK(!t.run({0xF2, 0x0F, 0x51, 0xC8}));  // sqrtsd
        results.push_back(t.s().vec[1].lo.q[0]);
        CHECK(!t.run({0xF2, 0x0F, 0x5A, 0xC8}));  // cvtsd2ss
        results.push_back(t.s().vec[1].lo.d[0]);
        results.push_back(t.s().mxcsr);
        CHECK(!t.run({0xDD, 0x03}));        // fld qword [rbx]
        CHECK(!t.run({0xDC, 0x73, 0x08}));  // fdiv qword [rbx + 8]
        CHECK(!t.run({0xD9, 0xFE}));        // fsin
        CHECK(!t.run({0xDD, 0x5B, 0x10}));  // fstp qword [rbx + 16]
        results.push_back(t.peek<u64>(0x8010));
      }
  }
  return results;
}

}  // namespace

TEST_CASE("the guest's floating point doesn't depend on the host's rounding, precision or flush-to-zero") {
  const std::vector<u64> expected = compute();
  for (const int rounding : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    std::vector<u64> got;
    {
      OddHost host(rounding);
      got = compute();
    }
    CHECK(got == expected);
  }
}

TEST_CASE("the guest's MXCSR and x87 control word never become the host's") {
  const HostEnvironment before;
  TestCpu t(Mode::Long64);
  t.cpu().s.cr4 |= kCr4Osfxsr | kCr4Osxmmexcpt;
  t.gpr(RBX) = 0x8000;
  t.poke<u32>(0x8000, 0xFFC0 & ~0x1F80u);  // rounding to zero, FTZ, DAZ, nothing masked
  t.poke<u16>(0x8008, 0x0F40);             // rounding to zero, everything unmasked
  CHECK(!t.run({0x0F, 0xAE, 0x13}));       // ldmxcsr [rbx]
  CHECK(!t.run({0xD9, 0x6B, 0x08}));       // fldcw [rbx + 8]
  CHECK(HostEnvironment() == before);
  t.s().vec[0].lo.q[0] = 0x3FF0000000000000;
  t.s().vec[1].lo.q[0] = 0;
  CHECK(t.run({0xF2, 0x0F, 0x5E, 0xC1}));  // divsd by zero: #XM, in the guest
  CHECK(HostEnvironment() == before);
}
