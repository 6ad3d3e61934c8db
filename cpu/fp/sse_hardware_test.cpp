// binary32 and binary64 against the host's SSE unit: result bits, flags and traps, on boundary and random operands, all
// rounding modes, DAZ, FTZ, and random masks.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "cpu/fp/hard_operands.h"
#include "cpu/fp/host_sse.h"

using namespace callgate;
using namespace callgate::fp;

#if defined(__x86_64__)
#include <cpuid.h>

namespace {

constexpr u32 kHostMxcsr = 0x1F80;

template <class F>
using Native = std::conditional_t<sizeof(F) == 4, float, double>;
template <class F>
Native<F> native(u64 bits) {
  return std::bit_cast<Native<F>>(static_cast<F>(bits));
}
template <class N>
u64 bits_of(N value) {
  std::conditional_t<sizeof(N) == 4, u32, u64> bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// x OP= y, and x OP= y with a third register.
#define HOST_SSE(instruction, X, result, source, third)                                 \
  asm volatile("ldmxcsr %[csr]\n\t" instruction "\n\tstmxcsr %[csr]\n\tldmxcsr %[host]" \
               : [x] "+&" X(result), [csr] "+m"(mxcsr)                                  \
               : [y] "x"(source), [z] "x"(third), [host] "m"(kHostMxcsr)                \
               : "cc")

#define HOST_BINARY(F, instruction)                                 \
  [](u64 a, u64 b, u64 c, u32& mxcsr) -> u64 {                      \
    Native<F> x = native<F>(a), y = native<F>(b), z = native<F>(c); \
    HOST_SSE(instruction, "x", x, y, z);                            \
    return bits_of(x);                                              \
  }
// From format F to the C type To in register class X.
#define HOST_CONVERT(F, To, X, instruction) \
  [](u64 a, u64, u64, u32& mxcsr) -> u64 {  \
    Native<F> y = native<F>(a);             \
    To x{};                                 \
    HOST_SSE(instruction, X, x, y, y);      \
    return bits_of(x);                      \
  }
#define HOST_FROM_INTEGER(To, From, instruction)                                          \
  [](u64 a, u64, u64, u32& mxcsr) -> u64 {                                                \
    To x{};                                                                               \
    const From y = static_cast<From>(a);                                                  \
    asm volatile("ldmxcsr %[csr]\n\t" instruction "\n\tstmxcsr %[csr]\n\tldmxcsr %[host]" \
                 : [x] "+&x"(x), [csr] "+m"(mxcsr)                                        \
                 : [y] "r"(y), [host] "m"(kHostMxcsr)                                     \
                 : "cc");                                                                 \
    return bits_of(x);                                                                    \
  }
// COMISS tells in ZF, PF, CF.
#define HOST_COMPARE(F, instruction)                                                 \
  [](u64 a, u64 b, u64, u32& mxcsr) -> u64 {                                         \
    Native<F> x = native<F>(a), y = native<F>(b);                                    \
    bool zf, pf, cf;                                                                 \
    asm volatile("ldmxcsr %[csr]\n\t" instruction                                    \
                 " %[y], %[x]\n\tsetz %[zf]\n\tsetp %[pf]\n\tsetc %[cf]\n\t"         \
                 "stmxcsr %[csr]\n\tldmxcsr %[host]"                                 \
                 : [csr] "+m"(mxcsr), [zf] "=&q"(zf), [pf] "=&q"(pf), [cf] "=&q"(cf) \
                 : [x] "x"(x), [y] "x"(y), [host] "m"(kHostMxcsr)                    \
                 : "cc");                                                            \
    return u64{zf} << 2 | u64{pf} << 1 | u64{cf};                                    \
  }

u64 zpc(Relation r) {
  switch (r) {
    case Relation::Unordered:
      return 7;
    case Relation::Less:
      return 1;
    case Relation::Equal:
      return 4;
    case Relation::Greater:
      break;
  }
  return 0;
}

/// An operation twice: on the host, and ours.
struct Operation {
  const char* name;
  host::Instruction on_host;
  u64 (*ours)(u64 a, u64 b, u64 c, Env& env);
  int operands;
};

template <class F>
std::vector<Operation> operations();

// The rows are the same but for the suffix of the instruction: s for F32, d for F64.
#define OPERATIONS(F, s, p)                                                                                            \
  template <>                                                                                                          \
  std::vector<Operation> operations<F>() {                                                                             \
    using B = u64;                                                                                                     \
    return {                                                                                                           \
        {"add", HOST_BINARY(F, "adds" s " %[y], %[x]"), [](B a, B b, B, Env& e) -> B { return add<F>(a, b, e); }, 2},  \
        {"sub", HOST_BINARY(F, "subs" s " %[y], %[x]"), [](B a, B b, B, Env& e) -> B { return sub<F>(a, b, e); }, 2},  \
        {"mul", HOST_BINARY(F, "muls" s " %[y], %[x]"), [](B a, B b, B, Env& e) -> B { return mul<F>(a, b, e); }, 2},  \
        {"div", HOST_BINARY(F, "divs" s " %[y], %[x]"), [](B a, B b, B, Env& e) -> B { return div<F>(a, b, e); }, 2},  \
        {"min", HOST_BINARY(F, "mins" s " %[y], %[x]"), [](B a, B b, B, Env& e) -> B { return min<F>(a, b, e); }, 2},  \
        {"max", HOST_BINARY(F, "maxs" s " %[y], %[x]"), [](B a, B b, B, Env& e) -> B { return max<F>(a, b, e); }, 2},  \
        {"sqrt", HOST_CONVERT(F, Native<F>, "x", "sqrts" s " %[y], %[x]"),                                             \
         [](B a, B, B, Env& e) -> B { return fp::sqrt<F>(a, e); }, 1},                                                 \
        {"fma132", HOST_BINARY(F, "vfmadd132s" s " %[z], %[y], %[x]"),                                                 \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(a, c, b, e); }, 3},                                        \
        {"fma213", HOST_BINARY(F, "vfmadd213s" s " %[z], %[y], %[x]"),                                                 \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(b, a, c, e); }, 3},                                        \
        {"fma231", HOST_BINARY(F, "vfmadd231s" s " %[z], %[y], %[x]"),                                                 \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(b, c, a, e); }, 3},                                        \
        {"fmsub132", HOST_BINARY(F, "vfmsub132s" s " %[z], %[y], %[x]"),                                               \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(a, c, b, false, true, e); }, 3},                           \
        {"fmsub213", HOST_BINARY(F, "vfmsub213s" s " %[z], %[y], %[x]"),                                               \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(b, a, c, false, true, e); }, 3},                           \
        {"fmsub231", HOST_BINARY(F, "vfmsub231s" s " %[z], %[y], %[x]"),                                               \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(b, c, a, false, true, e); }, 3},                           \
        {"fnmadd132", HOST_BINARY(F, "vfnmadd132s" s " %[z], %[y], %[x]"),                                             \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(a, c, b, true, false, e); }, 3},                           \
        {"fnmadd213", HOST_BINARY(F, "vfnmadd213s" s " %[z], %[y], %[x]"),                                             \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(b, a, c, true, false, e); }, 3},                           \
        {"fnmadd231", HOST_BINARY(F, "vfnmadd231s" s " %[z], %[y], %[x]"),                                             \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(b, c, a, true, false, e); }, 3},                           \
        {"fnmsub132", HOST_BINARY(F, "vfnmsub132s" s " %[z], %[y], %[x]"),                                             \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(a, c, b, true, true, e); }, 3},                            \
        {"fnmsub213", HOST_BINARY(F, "vfnmsub213s" s " %[z], %[y], %[x]"),                                             \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(b, a, c, true, true, e); }, 3},                            \
        {"fnmsub231", HOST_BINARY(F, "vfnmsub231s" s " %[z], %[y], %[x]"),                                             \
         [](B a, B b, B c, Env& e) -> B { return fp::fma<F>(b, c, a, true, true, e); }, 3},                            \
        {"round", HOST_CONVERT(F, Native<F>, "x", "rounds" s " $4, %[y], %[x]"),                                       \
         [](B a, B, B, Env& e) -> B { return round_to_integral<F>(a, true, e); }, 1},                                  \
        {"round, no #P", HOST_CONVERT(F, Native<F>, "x", "rounds" s " $12, %[y], %[x]"),                               \
         [](B a, B, B, Env& e) -> B { return round_to_integral<F>(a, false, e); }, 1},                                 \
        {"to i32", HOST_CONVERT(F, i32, "r", "cvts" s "2si %[y], %k[x]"),                                              \
         [](B a, B, B, Env& e) -> B { return static_cast<u32>(to_i32<F>(a, false, e)); }, 1},                          \
        {"truncate to i32", HOST_CONVERT(F, i32, "r", "cvtts" s "2si %[y], %k[x]"),                                    \
         [](B a, B, B, Env& e) -> B { return static_cast<u32>(to_i32<F>(a, true, e)); }, 1},                           \
        {"to i64", HOST_CONVERT(F, i64, "r", "cvts" s "2si %[y], %q[x]"),                                              \
         [](B a, B, B, Env& e) -> B { return static_cast<u64>(to_i64<F>(a, false, e)); }, 1},                          \
        {"truncate to i64", HOST_CONVERT(F, i64, "r", "cvtts" s "2si %[y], %q[x]"),                                    \
         [](B a, B, B, Env& e) -> B { return static_cast<u64>(to_i64<F>(a, true, e)); }, 1},                           \
        {"from i32", HOST_FROM_INTEGER(Native<F>, i32, "cvtsi2s" s "l %[y], %[x]"),                                    \
         [](B a, B, B, Env& e) -> B { return from_i32<F>(static_cast<i32>(a), e); }, 1},                               \
        {"from i64", HOST_FROM_INTEGER(Native<F>, i64, "cvtsi2s" s "q %[y], %[x]"),                                    \
         [](B a, B, B, Env& e) -> B { return from_i64<F>(static_cast<i64>(a), e); }, 1},                               \
        {"comi", HOST_COMPARE(F, "comis" s), [](B a, B b, B, Env& e) -> B { return zpc(compare<F>(a, b, false, e)); }, \
         2},                                                                                                           \
        {"ucomi", HOST_COMPARE(F, "ucomis" s),                                                                         \
         [](B a, B b, B, Env& e) -> B { return zpc(compare<F>(a, b, true, e)); }, 2},                                  \
    };                                                                                                                 \
  }
OPERATIONS(F32, "s", "ps")
OPERATIONS(F64, "d", "pd")

const Operation kWiden = {"f32 to f64", HOST_CONVERT(F32, double, "x", "cvtss2sd %[y], %[x]"),
                          [](u64 a, u64, u64, Env& e) -> u64 { return f32_to_f64(static_cast<F32>(a), e); }, 1};
const Operation kNarrow = {"f64 to f32", HOST_CONVERT(F64, float, "x", "cvtsd2ss %[y], %[x]"),
                           [](u64 a, u64, u64, Env& e) -> u64 { return f64_to_f32(a, e); }, 1};

const Operation kFromHalf = {"f16 to f32", HOST_CONVERT(F32, float, "x", "vcvtph2ps %[y], %[x]"),
                             [](u64 a, u64, u64, Env& e) -> u64 { return f16_to_f32(static_cast<F16>(a), e); }, 1};
// Rounding from MXCSR, and down by the instruction.
const Operation kToHalf[] = {
    {"f32 to f16", HOST_CONVERT(F32, float, "x", "vcvtps2ph $4, %[y], %[x]"),
     [](u64 a, u64, u64, Env& e) -> u64 { return f32_to_f16(static_cast<F32>(a), e.round, e); }, 1},
    {"f32 to f16, down", HOST_CONVERT(F32, float, "x", "vcvtps2ph $1, %[y], %[x]"),
     [](u64 a, u64, u64, Env& e) -> u64 { return f32_to_f16(static_cast<F32>(a), Round::Down, e); }, 1}};

std::string describe(const Operation& op, const u64 (&x)[3], const Env& env, const host::Outcome& host, u64 ours,
                     u8 flags) {
  char text[256];
  std::snprintf(text, sizeof text,
                "%s %llx %llx %llx rc=%d masks=%02x daz=%d ftz=%d: host %llx flags %02x%s, ours %llx flags %02x",
                op.name, (unsigned long long)x[0], (unsigned long long)x[1], (unsigned long long)x[2],
                static_cast<int>(env.round), env.masks, env.daz, env.ftz, (unsigned long long)host.bits, host.flags,
                host.trapped ? " trap" : "", (unsigned long long)ours, flags);
  return text;
}

/// Compares one case; reports the first few differences of an operation.
class Comparison {
 public:
  explicit Comparison(const Operation& op) : op_(op) {}
  ~Comparison() {
    INFO(op_.name, ": ", wrong_, " of ", cases_, " differ");
    CHECK(wrong_ == 0);
    CHECK(cases_ > 0);
  }

  void check(u64 a, u64 b, u64 c, const Env& env) {
    const u64 x[3] = {a, b, c};
    const host::Outcome host = host::run(op_.on_host, a, b, c, env);
    Env mine = env;
    const u64 ours = op_.ours(a, b, c, mine);
    cases_++;
    if (host.flags == mine.flags && host.trapped == unmasked(mine) && (host.trapped || host.bits == ours)) return;
    if (wrong_++ < 5) MESSAGE(describe(op_, x, env, host, ours, mine.flags));
  }

 private:
  const Operation& op_;
  u64 wrong_ = 0;
  u64 cases_ = 0;
};

Env environment(u64 n) {
  Env env;
  env.round = static_cast<Round>(n & 3);
  env.daz = n >> 2 & 1;
  env.ftz = n >> 3 & 1;
  return env;
}

template <class F>
void compare_with_host(const Operation& op, int random_cases, int trapping_cases) {
  if (op.operands == 3 && !__builtin_cpu_supports("fma")) {
    MESSAGE(std::string(op.name), " skipped: the host has no FMA");
    return;
  }
  Comparison comparison(op);
  TestRandom random(op.name[0] + sizeof(F));
  const auto boundaries = boundary_operands<F>();
  u64 n = 0;
  for (const F a : boundaries) {
    if (op.operands == 1) {
      for (int mode = 0; mode < 16; mode++) comparison.check(a, a, a, environment(mode));
      continue;
    }
    for (const F b : boundaries) {
      const F c = op.operands == 3 ? boundaries[random.below(boundaries.size())] : b;
      for (int mode = 0; mode < 2; mode++) comparison.check(a, b, c, environment(n++ * 5));
    }
  }
  for (int i = 0; i < random_cases + trapping_cases; i++) {
    u64 a = random_operand<F>(random);
    const u64 b = random_operand<F>(random), c = random_operand<F>(random);
    if (std::strncmp(op.name, "from", 4) == 0) a = random.next() >> random.below(64);
    Env env = environment(random.next());
    if (i >= random_cases) env.masks = random.next() & 0x3F;
    comparison.check(a, b, c, env);
    // Sums that nearly cancel.
    if (op.operands >= 2 && i < random_cases)
      comparison.check(a, a ^ (u64{1} << (sizeof(F) * 8 - 1)) ^ random.below(4), c, env);
  }
}

/// Clang 14's __builtin_cpu_supports does not know F16C. (With AVX, for what the kernel must have enabled.)
bool host_has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __builtin_cpu_supports("avx") && __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

}  // namespace

TEST_CASE("binary32 arithmetic has the host's results, flags and traps") {
  for (const Operation& op : operations<F32>()) compare_with_host<F32>(op, 15000, 4000);
  compare_with_host<F32>(kWiden, 15000, 4000);
}

TEST_CASE("binary64 arithmetic has the host's results, flags and traps") {
  for (const Operation& op : operations<F64>()) compare_with_host<F64>(op, 15000, 4000);
  compare_with_host<F64>(kNarrow, 15000, 4000);
}

TEST_CASE("binary16 conversions have the host's results, flags and traps") {
  if (!host_has_f16c()) {
    MESSAGE("skipped: the host has no F16C");
    return;
  }
  {
    Comparison comparison(kFromHalf);
    TestRandom random(4);
    for (u64 a = 0; a < 0x10000; a++) comparison.check(a, 0, 0, environment(random.next()));
  }
  for (const Operation& op : kToHalf) {
    Comparison comparison(op);
    TestRandom random(5);
    for (int i = 0; i < 40000; i++) {
      F32 a = random_operand<F32>(random);
      if (i & 1) a = static_cast<F32>((a & 0x807FFFFF) | (127 - 30 + random.below(50)) << 23);
      Env env = environment(random.next());
      if (random.below(8) == 0) env.masks = random.next() & 0x3F;
      comparison.check(a, 0, 0, env);
    }
  }
}

TEST_CASE("reciprocal estimates are the host's within the manual's error, with the same special cases") {
  const host::Instruction rcp = HOST_CONVERT(F32, float, "x", "rcpss %[y], %[x]");
  const host::Instruction rsqrt = HOST_CONVERT(F32, float, "x", "rsqrtss %[y], %[x]");
  TestRandom random(6);
  u64 wrong = 0;
  const auto check = [&](host::Instruction instruction, F32 a, F32 ours) {
    const auto host = host::run(instruction, a, 0, 0, environment(random.next()));
    const auto theirs = static_cast<F32>(host.bits);
    // 1.5 * 2^-12 each way is 2 * 1.5 * 2^(24 - 12) units in the last place at most.
    const bool close = (ours >> 31) == (theirs >> 31) && (ours - theirs + 12288) <= 2 * 12288 &&
                       (ours >> 23 & 0xFF) != 0xFF && (ours >> 23 & 0xFF) != 0 && (theirs >> 23 & 0xFF) != 0xFF;
    // Where the result is nearly tiny, the manual leaves the flush to zero open.
    const bool open =
        (ours & 0x7F800000) <= 0x01000000 && (theirs & 0x7F800000) <= 0x01000000 && (a & 0x7F000000) >= 0x7E000000;
    if (ours == theirs || close || open) return;
    if (wrong++ < 5) MESSAGE(a, " host ", theirs, " ours ", ours);
  };
  for (int i = 0; i < 40000; i++) {
    const F32 a = random_operand<F32>(random);
    check(rcp, a, reciprocal_estimate(a));
    check(rsqrt, a, reciprocal_sqrt_estimate(a));
  }
  CHECK(wrong == 0);
  CHECK(reciprocal_estimate(0x3F800000) == 0x3F800000);
  CHECK(reciprocal_sqrt_estimate(0x40800000) == 0x3F000000);
}

TEST_CASE("a packed instruction with an unmasked #I, #D or #Z hides the other elements' later flags") {
  // Two different elements, each twice.
  const host::Instruction packed = [](u64 a, u64 b, u64, u32& mxcsr) -> u64 {
    double x = native<F64>(a);
    const double y = native<F64>(b);
    asm volatile(
        "movddup %[x], %[x]\n\tmovddup %[y], %%xmm15\n\tldmxcsr %[csr]\n\tdivps %%xmm15, %[x]\n\t"
        "stmxcsr %[csr]\n\tldmxcsr %[host]"
        : [x] "+&x"(x), [csr] "+m"(mxcsr)
        : [y] "x"(y), [host] "m"(kHostMxcsr)
        : "xmm15");
    return bits_of(x);
  };
  TestRandom random(3);
  u64 differ = 0, before = 0;
  for (int i = 0; i < 20000; i++) {
    const F32 a[2] = {random_operand<F32>(random), random_operand<F32>(random)};
    const F32 b[2] = {random_operand<F32>(random), random_operand<F32>(random)};
    Env env = environment(random.next());
    env.masks = random.next() & 0x3F;
    const auto host = host::run(packed, a[0] | u64{a[1]} << 32, b[0] | u64{b[1]} << 32, 0, env);
    fp::div(a[0], b[0], env);
    fp::div(a[1], b[1], env);
    before += env.flags != reported_flags(env);
    if (host.flags != reported_flags(env)) differ++;
  }
  CHECK(before > 100);
  CHECK(differ == 0);
}

#else

TEST_CASE("SSE arithmetic against the host's unit") {
  MESSAGE("skipped: the host is not x86-64, so there is no SSE unit to compare with");
}

#endif
