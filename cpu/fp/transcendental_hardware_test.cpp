// The x87's transcendentals and constants against the host's: special cases exactly, computed values within one unit in
// the last place (ours are correctly rounded, the processor's nearly), flags and C2 exactly.
#include <doctest/doctest.h>

#include <cstdio>
#include <string>

#include "cpu/fp/hard_operands.h"
#include "cpu/fp/host_x87.h"

using namespace callgate;
using namespace callgate::fp;

#if defined(__x86_64__)

namespace {

using host::X87Outcome;

struct Operation {
  const char* name;
  host::X87Instruction on_host;
  void (*ours)(X87Outcome& o, Env& env);
  int min_field, max_field;  ///< biased exponents of interest of ST(0)
};

void unary(X87Outcome& o, const Env& env, F80 value) {
  if (writes_register(env)) o.st0 = value;
}
/// The result replaces ST(1), and the stack is popped; what was below is empty.
void binary(X87Outcome& o, const Env& env, F80 value) {
  if (!writes_register(env)) return;
  o.st0 = value;
  o.st1 = F80{};
}
/// The second result is pushed. ("fstp %st(1)" made room, so ST(1) is empty before.)
void push(X87Outcome& o, const Env& env, F80 below, F80 top, bool out_of_range) {
  o.st1 = F80{};
  o.c2 = out_of_range;
  if (out_of_range || !writes_register(env)) return;
  o.st0 = top;
  o.st1 = below;
}

const Operation kTranscendentals[] = {
    {"f2xm1", HOST_X87("f2xm1"), [](X87Outcome& o, Env& e) { unary(o, e, f2xm1(o.st0, e)); }, 16383 - 70, 16383},
    {"fsin", HOST_X87("fsin"),
     [](X87Outcome& o, Env& e) {
       const Trig r = fsin(o.st0, e);
       o.c2 = r.out_of_range;
       unary(o, e, r.value);
     },
     16383 - 40, 16383 + 64},
    {"fcos", HOST_X87("fcos"),
     [](X87Outcome& o, Env& e) {
       const Trig r = fcos(o.st0, e);
       o.c2 = r.out_of_range;
       unary(o, e, r.value);
     },
     16383 - 40, 16383 + 64},
    {"fsincos", HOST_X87("fstp %%st(1)\n\tfsincos"),
     [](X87Outcome& o, Env& e) {
       const SineCosine r = fsincos(o.st0, e);
       push(o, e, r.sine, r.cosine, r.out_of_range);
     },
     16383 - 40, 16383 + 64},
    {"fptan", HOST_X87("fstp %%st(1)\n\tfptan"),
     [](X87Outcome& o, Env& e) {
       const Trig r = fptan(o.st0, e);
       const bool nan = classify(r.value) == Class::NaN;
       push(o, e, r.value, nan ? r.value : constant(Constant::One, Round::Nearest), r.out_of_range);
     },
     16383 - 40, 16383 + 64},
    {"fyl2x", HOST_X87("fyl2x"), [](X87Outcome& o, Env& e) { binary(o, e, fyl2x(o.st0, o.st1, e)); }, 1, 32766},
    {"fyl2xp1", HOST_X87("fyl2xp1"), [](X87Outcome& o, Env& e) { binary(o, e, fyl2xp1(o.st0, o.st1, e)); }, 16383 - 70,
     16383 - 3},
    {"fpatan", HOST_X87("fpatan"), [](X87Outcome& o, Env& e) { binary(o, e, fpatan(o.st0, o.st1, e)); }, 16383 - 70,
     16383 + 70},
};

std::string hex(F80 a) {
  char text[40];
  std::snprintf(text, sizeof text, "%04x:%016llx", a.sign_exponent, static_cast<unsigned long long>(a.significand));
  return text;
}
std::string describe(const X87Outcome& o) {
  char part[64];
  std::snprintf(part, sizeof part, " flags %02x c1=%d c2=%d", o.flags, o.c1, o.c2);
  return hex(o.st0) + " " + hex(o.st1) + part;
}

/// Equal, or numbers of the same sign one unit in the last place apart.
bool close(F80 a, F80 b) {
  if (a == b) return true;
  if (classify(a) == Class::NaN || classify(b) == Class::NaN || sign_of(a) != sign_of(b)) return false;
  const auto ordinal = [](F80 v) {
    return static_cast<i128>(v.sign_exponent & 0x7FFF) << 63 | (v.significand << 1 >> 1);
  };
  const i128 distance = ordinal(a) - ordinal(b);
  return distance >= -1 && distance <= 1;
}

class Comparison {
 public:
  explicit Comparison(const Operation& op) : op_(op) {}
  ~Comparison() {
    INFO(std::string(op_.name), ": ", wrong_, " of ", cases_, " differ, ", not_equal_, " not exactly equal");
    CHECK(wrong_ == 0);
  }

  /// Cases where C1 or the last bit is another, in percent.
  u64 percent_not_equal() const { return 100 * not_equal_ / cases_; }

  void check(F80 a, F80 b, const Env& env) {
    constexpr u8 memory[10] = {};
    const X87Outcome host = host::run(op_.on_host, a, b, memory, env);
    X87Outcome ours;
    ours.st0 = a;
    ours.st1 = b;
    Env mine = env;
    op_.ours(ours, mine);
    ours.flags = mine.flags;
    ours.c1 = mine.rounded_up;
    cases_++;
    if (!(host == ours)) not_equal_++;
    if (host.flags == ours.flags && host.c2 == ours.c2 && close(host.st0, ours.st0) && close(host.st1, ours.st1))
      return;
    if (wrong_++ >= 8) return;
    char text[100];
    std::snprintf(text, sizeof text, " rc=%d pc=%d masks=%02x", static_cast<int>(env.round), env.precision_bits,
                  env.masks);
    MESSAGE(std::string(op_.name), " ", hex(a), " ", hex(b), std::string(text), "\n  host ", describe(host),
            "\n  ours ", describe(ours));
  }

 private:
  const Operation& op_;
  u64 wrong_ = 0;
  u64 cases_ = 0;
  u64 not_equal_ = 0;
};

}  // namespace

TEST_CASE("transcendentals have the host's special cases and flags") {
  if (!__builtin_cpu_is("amd")) {
    MESSAGE("skipped: operands that the manual leaves undefined are answered as AMD's processors do");
    return;
  }
  const auto boundaries = boundary_operands<F80>();
  for (const Operation& op : kTranscendentals) {
    Comparison comparison(op);
    TestRandom random(12);
    for (const F80 a : boundaries) {
      for (const F80 b : boundaries) {
        Env env;
        if (random.below(2)) env.masks = random.next() & 0x3F;
        comparison.check(a, b, env);
      }
    }
  }
}

TEST_CASE("transcendentals are within one unit in the last place of the host's, in every rounding mode") {
  for (const Operation& op : kTranscendentals) {
    Comparison comparison(op);
    TestRandom random(11);
    for (int i = 0; i < 6000; i++) {
      const auto field = static_cast<u16>(op.min_field + random.below(op.max_field - op.min_field + 1));
      const F80 a = {random_significand(random) | u64{1} << 63, static_cast<u16>(field | (random.next() & 0x8000))};
      const auto field_b = static_cast<u16>(16383 - 70 + random.below(140));
      const F80 b = {random_significand(random) | u64{1} << 63, static_cast<u16>(field_b | (random.next() & 0x8000))};
      Env env;
      env.round = static_cast<Round>(random.below(4));
      env.precision_bits = random.below(2) ? 64 : random.below(2) ? 53 : 24;
      comparison.check(a, b, env);
    }
    CHECK(comparison.percent_not_equal() < 8);
  }
}

TEST_CASE("the constants are the host's in every rounding mode") {
  const host::X87Instruction loads[] = {HOST_X87("fstp %%st\n\tfld1"),   HOST_X87("fstp %%st\n\tfldl2t"),
                                        HOST_X87("fstp %%st\n\tfldl2e"), HOST_X87("fstp %%st\n\tfldpi"),
                                        HOST_X87("fstp %%st\n\tfldlg2"), HOST_X87("fstp %%st\n\tfldln2"),
                                        HOST_X87("fstp %%st\n\tfldz")};
  for (u8 which = 0; which < 7; which++) {
    for (u8 round = 0; round < 4; round++) {
      Env env;
      env.round = static_cast<Round>(round);
      constexpr u8 memory[10] = {};
      CHECK(host::run(loads[which], F80{}, F80{}, memory, env).st0 ==
            constant(static_cast<Constant>(which), env.round));
    }
  }
}

#else

TEST_CASE("x87 transcendentals against the host's unit") {
  MESSAGE("skipped: the host is not x86-64, so there is no x87 to compare with");
}

#endif
