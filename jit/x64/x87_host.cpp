// Does the host's x87 compute what cpu/fp computes? Asked at the start with the operands where processors could differ: every
// class of number, pseudo-denormals and unnormals among them, in all roundings and precisions.
#include <cstring>

#include "cpu/fp/f80.h"
#include "cpu/x87/state.h"
#include "jit/x64/host.h"

namespace callgate::jit::x64 {

#if defined(__x86_64__)
namespace {

using fp::F80;

constexpr u64 kOne = u64{1} << 63;
constexpr F80 kSamples[] = {
    {0, 0},                         {0, 0x8000},
    {kOne, 0x3FFF},                 {kOne | 1, 0xBFFF},
    {0xAAAAAAAAAAAAAAAB, 0x3FFD},   {0xC90FDAA22168C235, 0x4000},
    {~u64{0}, 0x403E},              {0xFFFFFF8000000400, 0x4012},
    {~u64{0}, 0x7FFE},              {kOne, 1},
    {kOne, 0},                      {kOne >> 1, 0x8000},
    {1, 0},                         {kOne >> 1, 0x3FFF},
    {kOne, 0x7FFF},                 {kOne, 0xFFFF},
    {0xC000000000000001, 0x7FFF},   {0xA000000000000000, 0xFFFF},
    {kOne >> 1, 0x7FFF},
};

struct Case {
  u8 a[10], b[10];
  u16 control;
  u8 saved[108];  ///< by FNSAVE, which leaves the unit as C++ wants it
};

// An instruction on ST(0) = a and ST(1) = b.
#define CG_HOST_X87(TEXT)                                                                              \
  [](Case& x) {                                                                                        \
    asm volatile("fninit\n\tfldcw %[control]\n\tfldt %[b]\n\tfldt %[a]\n\t" TEXT "\n\tfnsave %[saved]"  \
                 : [saved] "=m"(x.saved)                                                               \
                 : [control] "m"(x.control), [a] "m"(x.a), [b] "m"(x.b)                                \
                 : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory");     \
  }

struct Operation {
  void (*host)(Case&);
  /// Gives ST(0), and changes the condition codes that it sets.
  F80 (*ours)(F80 a, F80 b, fp::Env& env, u16& codes);
};

u16 codes_of(fp::Relation r) {
  using enum fp::Relation;
  return r == Less ? kX87C0 : r == Equal ? kX87C3 : r == Greater ? 0 : kX87C0 | kX87C2 | kX87C3;
}

constexpr Operation kOperations[] = {
    {CG_HOST_X87("fadd %%st(1), %%st"), [](F80 a, F80 b, fp::Env& e, u16&) { return fp::add(a, b, e); }},
    {CG_HOST_X87("fsub %%st(1), %%st"), [](F80 a, F80 b, fp::Env& e, u16&) { return fp::sub(a, b, e); }},
    {CG_HOST_X87("fmul %%st(1), %%st"), [](F80 a, F80 b, fp::Env& e, u16&) { return fp::mul(a, b, e); }},
    {CG_HOST_X87("fdiv %%st(1), %%st"), [](F80 a, F80 b, fp::Env& e, u16&) { return fp::div(a, b, e); }},
    {CG_HOST_X87("fsqrt"), [](F80 a, F80, fp::Env& e, u16&) { return fp::sqrt(a, e); }},
    {CG_HOST_X87("frndint"), [](F80 a, F80, fp::Env& e, u16&) { return fp::round_to_integral(a, true, e); }},
    {CG_HOST_X87("fcom %%st(1)"), [](F80 a, F80 b, fp::Env& e, u16& codes) {
       codes = codes_of(fp::compare(a, b, false, e));
       return a;
     }},
    {CG_HOST_X87("fxam"), [](F80 a, F80, fp::Env& e, u16& codes) {
       const auto k = static_cast<unsigned>(fp::classify(a));
       codes = static_cast<u16>((k & 4 ? kX87C3 : 0) | (k & 2 ? kX87C2 : 0) | (k & 1 ? kX87C0 : 0));
       e.rounded_up = fp::sign_of(a);
       return a;
     }},
};

void put(u8* to, F80 value) {
  std::memcpy(to, &value.significand, 8);
  std::memcpy(to + 8, &value.sign_exponent, 2);
}

bool same(const Operation& op, F80 a, F80 b, unsigned rounding, unsigned precision) {
  static constexpr u8 kBits[4] = {24, 64, 53, 64};
  Case x = {};
  put(x.a, a);
  put(x.b, b);
  x.control = static_cast<u16>(rounding << 10 | precision << 8 | 0x7F);
  op.host(x);
  fp::Env env;
  env.round = static_cast<fp::Round>(rounding);
  env.precision_bits = kBits[precision];
  env.masks = kX87Exceptions;
  u16 codes = 0;
  u8 result[10];
  put(result, op.ours(a, b, env, codes));
  u16 status;
  std::memcpy(&status, x.saved + 4, 2);
  const u16 expected = static_cast<u16>(codes | env.flags | (env.rounded_up ? kX87C1 : 0));
  return (status & kX87StatusKept) == expected && std::memcmp(result, x.saved + 28, sizeof result) == 0;
}

}  // namespace

bool probe_x87() {
  unsigned n = 0;
  for (const Operation& op : kOperations)
    for (const F80 a : kSamples)
      for (const F80 b : kSamples) {
        static constexpr u8 kPrecisions[3] = {0, 2, 3};
        if (!same(op, a, b, n & 3, kPrecisions[n % 3])) return false;
        n++;
      }
  return true;
}
#else
bool probe_x87() { return false; }
#endif

}  // namespace callgate::jit::x64
