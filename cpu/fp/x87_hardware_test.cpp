// Double-extended arithmetic against the host's x87: results, flags, condition codes, and what is written or not when
// an exception is unmasked; boundary and random operands, all rounding modes and precisions.
#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "cpu/fp/hard_operands.h"
#include "cpu/fp/host_x87.h"

using namespace callgate;
using namespace callgate::fp;

#if defined(__x86_64__)

namespace {

using host::X87Outcome;

/// An operation twice: on the host, and ours. `ours` gets the operands in `o` and leaves the outcome there.
struct Operation {
  const char* name;
  host::X87Instruction on_host;
  void (*ours)(X87Outcome& o, Env& env);
};

template <class T>
T memory_as(const X87Outcome& o) {
  T value;
  std::memcpy(&value, o.memory, sizeof value);
  return value;
}
template <class T>
void to_memory(X87Outcome& o, const Env& env, T value) {
  if (writes_memory(env)) std::memcpy(o.memory, &value, sizeof value);
}
void to_st0(X87Outcome& o, const Env& env, F80 value) {
  if (writes_register(env)) o.st0 = value;
}
void load(X87Outcome& o, const Env& env, F80 value) {
  if (pushes_load(env)) o.st0 = value;
}
/// For "fld %st(0)" and a store that pops.
template <class T>
void store_and_pop(X87Outcome& o, const Env& env, T value) {
  to_memory(o, env, value);
  if (!writes_memory(env)) o.st1 = o.st0;
}
/// FCOMI-like answer in C3, C2, C0.
void to_codes(X87Outcome& o, Relation r) {
  o.c3 = r == Relation::Equal || r == Relation::Unordered;
  o.c2 = r == Relation::Unordered;
  o.c0 = r == Relation::Less || r == Relation::Unordered;
}
void to_codes(X87Outcome& o, Env& env, const Remainder& r) {
  to_st0(o, env, r.value);
  o.c2 = r.partial;
  env.rounded_up = r.quotient & 1;
  o.c3 = r.quotient >> 1 & 1;
  o.c0 = r.quotient >> 2 & 1;
}

const Operation kArithmetic[] = {
    {"fadd", HOST_X87("fadd %%st(1), %%st"), [](X87Outcome& o, Env& e) { to_st0(o, e, add(o.st0, o.st1, e)); }},
    {"fsub", HOST_X87("fsub %%st(1), %%st"), [](X87Outcome& o, Env& e) { to_st0(o, e, sub(o.st0, o.st1, e)); }},
    {"fmul", HOST_X87("fmul %%st(1), %%st"), [](X87Outcome& o, Env& e) { to_st0(o, e, mul(o.st0, o.st1, e)); }},
    {"fdiv", HOST_X87("fdiv %%st(1), %%st"), [](X87Outcome& o, Env& e) { to_st0(o, e, div(o.st0, o.st1, e)); }},
    {"fsqrt", HOST_X87("fsqrt"), [](X87Outcome& o, Env& e) { to_st0(o, e, fp::sqrt(o.st0, e)); }},
    {"frndint", HOST_X87("frndint"), [](X87Outcome& o, Env& e) { to_st0(o, e, round_to_integral(o.st0, true, e)); }},
    {"fscale", HOST_X87("fscale"), [](X87Outcome& o, Env& e) { to_st0(o, e, scale(o.st0, o.st1, e)); }},
    {"fxtract", HOST_X87("fstp %%st(1)\n\tfxtract"),
     [](X87Outcome& o, Env& e) {
       const Extracted r = extract(o.st0, e);
       o.st1 = F80{};  // an empty register
       if (!writes_register(e)) return;
       o.st0 = r.significand;
       o.st1 = r.exponent;
     }},
    {"fcom", HOST_X87("fcom %%st(1)"), [](X87Outcome& o, Env& e) { to_codes(o, compare(o.st0, o.st1, false, e)); }},
    {"fucom", HOST_X87("fucom %%st(1)"), [](X87Outcome& o, Env& e) { to_codes(o, compare(o.st0, o.st1, true, e)); }},
    {"fxam", HOST_X87("fxam"),
     [](X87Outcome& o, Env& e) {
       const auto code = static_cast<unsigned>(classify(o.st0));
       o.c3 = code >> 2 & 1;
       o.c2 = code >> 1 & 1;
       o.c0 = code & 1;
       e.rounded_up = sign_of(o.st0);
     }},
    {"fprem", HOST_X87("fprem"), [](X87Outcome& o, Env& e) { to_codes(o, e, prem(o.st0, o.st1, e)); }},
    {"fprem1", HOST_X87("fprem1"), [](X87Outcome& o, Env& e) { to_codes(o, e, prem1(o.st0, o.st1, e)); }},
};

const Operation kLoads[] = {
    {"fld m32", HOST_X87("ffree %%st(0)\n\tfincstp\n\tflds %[m]"),
     [](X87Outcome& o, Env& e) { load(o, e, f32_to_f80(memory_as<F32>(o), e)); }},
    {"fld m64", HOST_X87("ffree %%st(0)\n\tfincstp\n\tfldl %[m]"),
     [](X87Outcome& o, Env& e) { load(o, e, f64_to_f80(memory_as<F64>(o), e)); }},
    {"fild m64", HOST_X87("ffree %%st(0)\n\tfincstp\n\tfildll %[m]"),
     [](X87Outcome& o, Env& e) { to_st0(o, e, i64_to_f80(memory_as<i64>(o))); }},
    {"fbld", HOST_X87("ffree %%st(0)\n\tfincstp\n\tfbld %[m]"),
     [](X87Outcome& o, Env& e) {
       PackedBcd bcd;
       std::memcpy(&bcd.low, o.memory, 8);
       std::memcpy(&bcd.high, o.memory + 8, 2);
       to_st0(o, e, bcd_to_f80(bcd));
     }},
};

const Operation kStores[] = {
    {"fst m32", HOST_X87("fsts %[m]"), [](X87Outcome& o, Env& e) { to_memory(o, e, f80_to_f32(o.st0, e)); }},
    {"fst m64", HOST_X87("fstl %[m]"), [](X87Outcome& o, Env& e) { to_memory(o, e, f80_to_f64(o.st0, e)); }},
    {"fist m16", HOST_X87("fists %[m]"), [](X87Outcome& o, Env& e) { to_memory(o, e, f80_to_i16(o.st0, false, e)); }},
    {"fist m32", HOST_X87("fistl %[m]"), [](X87Outcome& o, Env& e) { to_memory(o, e, f80_to_i32(o.st0, false, e)); }},
    {"fistp m64", HOST_X87("fld %%st(0)\n\tfistpll %[m]"),
     [](X87Outcome& o, Env& e) { store_and_pop(o, e, f80_to_i64(o.st0, false, e)); }},
    {"fisttp m16", HOST_X87("fld %%st(0)\n\tfisttps %[m]"),
     [](X87Outcome& o, Env& e) { store_and_pop(o, e, f80_to_i16(o.st0, true, e)); }},
    {"fisttp m32", HOST_X87("fld %%st(0)\n\tfisttpl %[m]"),
     [](X87Outcome& o, Env& e) { store_and_pop(o, e, f80_to_i32(o.st0, true, e)); }},
    {"fisttp m64", HOST_X87("fld %%st(0)\n\tfisttpll %[m]"),
     [](X87Outcome& o, Env& e) { store_and_pop(o, e, f80_to_i64(o.st0, true, e)); }},
    {"fbstp", HOST_X87("fld %%st(0)\n\tfbstp %[m]"),
     [](X87Outcome& o, Env& e) {
       const PackedBcd bcd = f80_to_bcd(o.st0, e);
       store_and_pop(o, e, bcd.low);
       if (writes_memory(e)) std::memcpy(o.memory + 8, &bcd.high, 2);
     }},
};

std::string hex(F80 a) {
  char text[40];
  std::snprintf(text, sizeof text, "%04x:%016llx", a.sign_exponent, static_cast<unsigned long long>(a.significand));
  return text;
}
std::string describe(const X87Outcome& o) {
  std::string text = hex(o.st0) + " " + hex(o.st1) + " [";
  char part[64];
  for (int i = 9; i >= 0; i--) text += (std::snprintf(part, sizeof part, "%02x", o.memory[i]), part);
  std::snprintf(part, sizeof part, "] flags %02x c0=%d c1=%d c2=%d c3=%d", o.flags, o.c0, o.c1, o.c2, o.c3);
  return text + part;
}

/// Compares one case; reports the first few differences of an operation.
class Comparison {
 public:
  explicit Comparison(const Operation& op) : op_(op) {}
  ~Comparison() {
    INFO(std::string(op_.name), ": ", wrong_, " of ", cases_, " differ");
    CHECK(wrong_ == 0);
    CHECK(cases_ > 0);
  }

  void check(F80 a, F80 b, const u8 (&memory)[10], const Env& env) {
    const X87Outcome host = host::run(op_.on_host, a, b, memory, env);
    X87Outcome ours;
    ours.st0 = a;
    ours.st1 = b;
    std::memcpy(ours.memory, memory, sizeof memory);
    Env mine = env;
    op_.ours(ours, mine);
    ours.flags = mine.flags;
    ours.c1 = mine.rounded_up;
    cases_++;
    if (host == ours) return;
    if (wrong_++ >= 6) return;
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
};

Env environment(TestRandom& random) {
  Env env;
  env.round = static_cast<Round>(random.below(4));
  constexpr u8 precisions[] = {24, 53, 64, 64};
  env.precision_bits = precisions[random.below(4)];
  if (random.below(3) == 0) env.masks = random.next() & 0x3F;
  return env;
}

void random_bytes(TestRandom& random, u8 (&memory)[10]) {
  for (u8& byte : memory) byte = static_cast<u8>(random.next());
}

void compare_with_host(const Operation& op, int random_cases) {
  Comparison comparison(op);
  TestRandom random(7);
  const auto boundaries = boundary_operands<F80>();
  u8 memory[10];
  random_bytes(random, memory);
  for (const F80 a : boundaries) {
    for (const F80 b : boundaries) comparison.check(a, b, memory, environment(random));
  }
  for (int i = 0; i < random_cases; i++) {
    const F80 a = random_operand<F80>(random);
    F80 b = random_operand<F80>(random);
    comparison.check(a, b, memory, environment(random));
    // Sums that nearly cancel, quotients close to one, remainders of short distance.
    b = negated(a);
    b.significand ^= random.below(4) << random.below(63);
    b.sign_exponent ^= random.below(16) == 0 ? random.below(256) : random.below(2);
    comparison.check(a, b, memory, environment(random));
  }
}

}  // namespace

TEST_CASE("double-extended arithmetic has the host's results, flags and condition codes") {
  for (const Operation& op : kArithmetic) compare_with_host(op, 8000);
}

TEST_CASE("the x87's stores convert as the host's do") {
  TestRandom random(8);
  for (const Operation& op : kStores) {
    compare_with_host(op, 2000);
    // Values in the destination's range, and at its limits.
    Comparison comparison(op);
    for (int i = 0; i < 20000; i++) {
      u8 memory[10];
      random_bytes(random, memory);
      F80 a = random_operand<F80>(random);
      a.significand |= u64{1} << 63;
      constexpr int centres[] = {16383,        16383 - 126, 16383 + 127, 16383 - 1022,
                                 16383 + 1023, 16383 + 31,  16383 + 15,  16383 + 63};
      a.sign_exponent = (a.sign_exponent & 0x8000) | static_cast<u16>(centres[random.below(8)] - 60 + random.below(64));
      comparison.check(a, a, memory, environment(random));
    }
  }
}

TEST_CASE("the x87's loads convert as the host's do") {
  TestRandom random(9);
  for (const Operation& op : kLoads) {
    Comparison comparison(op);
    for (int i = 0; i < 20000; i++) {
      u8 memory[10];
      random_bytes(random, memory);
      const std::string_view name = op.name;
      const u64 value = name == "fld m32" ? random_operand<F32>(random) : random_operand<F64>(random);
      if (name.starts_with("fld")) std::memcpy(memory, &value, 8);
      if (name == "fbld") {
        for (u8& byte : memory) byte = static_cast<u8>(random.below(10) << 4 | random.below(10));
        memory[9] = static_cast<u8>(random.below(2) << 7);
      }
      comparison.check(F80{}, F80{}, memory, environment(random));
    }
  }
}

#else

TEST_CASE("x87 arithmetic against the host's unit") {
  MESSAGE("skipped: the host is not x86-64, so there is no x87 to compare with");
}

#endif
