#include "jit/x64/host.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <initializer_list>

#include "cpu/alu.h"
#include "cpu/alu_bit.h"
#include "cpu/alu_bmi.h"
#include "cpu/alu_shift.h"

namespace callgate::jit::x64 {

#if defined(__x86_64__)
namespace {

constexpr u64 kSamples[] = {0, 1, 2, 0x80000000, 0x7FFFFFFF, 0xFFFFFFFF, 0x12345678, 0xDEADBEEF, 0x8000000000000000,
                            0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0x0123456789ABCDEF, 0xFEDCBA9876543210};

// Executes one instruction on %[a] (with %[b]) with all arithmetic flags set, or clear, before it.
#define CG_HOST_FLAGS(TEXT)                                                                                          \
  [](u64 a, u64 b, u64 before) {                                                                                     \
    u64 after;                                                                                                       \
    asm volatile("pushq %[f]\n popfq\n" TEXT "\n pushfq\n popq %[f]"                                                 \
                 : [a] "+r"(a), [f] "=r"(after)                                                                      \
                 : [b] "c"(b), "[f]"(before)                                                                         \
                 : "cc", "memory", "r11");                                                                           \
    return static_cast<u32>(after & kArithmetic);                                                                    \
  }

template <class Op>
u32 canonical(const Op& op, u64 before) {
  Flags f;
  f.set_arithmetic(static_cast<u32>(before) & kArithmetic);
  op(f);
  return f.arithmetic();
}

template <class HostFn, class Op>
bool same(HostFn host, const Op& op, u64 first_b, u64 last_b) {
  for (const u64 a : kSamples)
    for (u64 b = first_b; b <= last_b; b++)
      for (const u64 before : {u64{0x202}, u64{0x202 | kArithmetic}})
        if (host(a, b, before) != canonical([&](Flags& f) { op(a, b, f); }, before)) return false;
  return true;
}

}  // namespace

// Red zone: the pushes above must not meet it; this file is compiled with -mno-red-zone (jit/CMakeLists.txt).
Host probe_host() {
  Host h;
  u64 zeros = 0;
  asm("lzcntq %1, %0" : "=r"(zeros) : "r"(u64{1}) : "cc");
  h.lzcnt = zeros == 63;
  h.logic_flags = same(CG_HOST_FLAGS("andq %[b], %[a]"), [](u64 a, u64 b, Flags& f) { alu::and_(a, b, f); }, 0, 40) &&
                  same(CG_HOST_FLAGS("xorq %[b], %[a]"), [](u64 a, u64 b, Flags& f) { alu::xor_(a, b, f); }, 0, 40);
  h.shift_flags =
      same(CG_HOST_FLAGS("shlq %%cl, %[a]"), [](u64 a, u64 b, Flags& f) { alu::shl(a, static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("shrq %%cl, %[a]"), [](u64 a, u64 b, Flags& f) { alu::shr(a, static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("sarl %%cl, %k[a]"), [](u64 a, u64 b, Flags& f) { alu::sar(static_cast<u32>(a), static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("shll %%cl, %k[a]"), [](u64 a, u64 b, Flags& f) { alu::shl(static_cast<u32>(a), static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("shlb %%cl, %b[a]"), [](u64 a, u64 b, Flags& f) { alu::shl(static_cast<u8>(a), static_cast<u8>(b), f); }, 0, 40) &&
      same(CG_HOST_FLAGS("shrw %%cl, %w[a]"), [](u64 a, u64 b, Flags& f) { alu::shr(static_cast<u16>(a), static_cast<u8>(b), f); }, 0, 40) &&
      same(CG_HOST_FLAGS("shldq %%cl, %%rcx, %[a]"), [](u64 a, u64 b, Flags& f) { alu::shld(a, b, static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("shrdl %%cl, %%ecx, %k[a]"), [](u64 a, u64 b, Flags& f) { alu::shrd(static_cast<u32>(a), static_cast<u32>(b), static_cast<u8>(b), f); }, 0, 70);
  h.rotate_flags =
      same(CG_HOST_FLAGS("rolq %%cl, %[a]"), [](u64 a, u64 b, Flags& f) { alu::rol(a, static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("rorl %%cl, %k[a]"), [](u64 a, u64 b, Flags& f) { alu::ror(static_cast<u32>(a), static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("rolb %%cl, %b[a]"), [](u64 a, u64 b, Flags& f) { alu::rol(static_cast<u8>(a), static_cast<u8>(b), f); }, 0, 40) &&
      same(CG_HOST_FLAGS("rcll $1, %k[a]"), [](u64 a, u64, Flags& f) { alu::rcl(static_cast<u32>(a), u8{1}, f); }, 0, 1) &&
      same(CG_HOST_FLAGS("rcrq $1, %[a]"), [](u64 a, u64, Flags& f) { alu::rcr(a, u8{1}, f); }, 0, 1);
  h.carry_rotate_flags =
      same(CG_HOST_FLAGS("rclq %%cl, %[a]"), [](u64 a, u64 b, Flags& f) { alu::rcl(a, static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("rcll %%cl, %k[a]"), [](u64 a, u64 b, Flags& f) { alu::rcl(static_cast<u32>(a), static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("rclw %%cl, %w[a]"), [](u64 a, u64 b, Flags& f) { alu::rcl(static_cast<u16>(a), static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("rclb %%cl, %b[a]"), [](u64 a, u64 b, Flags& f) { alu::rcl(static_cast<u8>(a), static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("rcrq %%cl, %[a]"), [](u64 a, u64 b, Flags& f) { alu::rcr(a, static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("rcrl %%cl, %k[a]"), [](u64 a, u64 b, Flags& f) { alu::rcr(static_cast<u32>(a), static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("rcrw %%cl, %w[a]"), [](u64 a, u64 b, Flags& f) { alu::rcr(static_cast<u16>(a), static_cast<u8>(b), f); }, 0, 70) &&
      same(CG_HOST_FLAGS("rcrb %%cl, %b[a]"), [](u64 a, u64 b, Flags& f) { alu::rcr(static_cast<u8>(a), static_cast<u8>(b), f); }, 0, 70);
  h.bit_test_flags =
      same(CG_HOST_FLAGS("btq %[b], %[a]"), [](u64 a, u64 b, Flags& f) { alu::bt(a, b, f); }, 0, 70) &&
      same(CG_HOST_FLAGS("btsl %k[b], %k[a]"), [](u64 a, u64 b, Flags& f) { alu::bts(static_cast<u32>(a), static_cast<u32>(b), f); }, 0, 70);
  h.bit_scan_flags = same(CG_HOST_FLAGS("bsfq %[a], %[a]"), [](u64 a, u64, Flags& f) { alu::bsf(a, f); }, 0, 1) &&
                     same(CG_HOST_FLAGS("bsrl %k[a], %k[a]"), [](u64 a, u64, Flags& f) { alu::bsr(static_cast<u32>(a), f); }, 0, 1);
  h.x87 = probe_x87();
  const auto feature = [&](unsigned n, bool there) { h.features |= unsigned{there} << n; };
  // Not every compiler's __builtin_cpu_supports knows all names. SDM 2A, CPUID.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx >> 29 & 1);
  const bool vaes = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ecx >> 9 & 1);
  feature(0, __builtin_cpu_supports("avx"));
  feature(1, __builtin_cpu_supports("avx2"));
  feature(2, __builtin_cpu_supports("fma"));
  feature(3, f16c && __builtin_cpu_supports("avx"));
  feature(4, __builtin_cpu_supports("aes") && __builtin_cpu_supports("avx"));
  feature(5, vaes && __builtin_cpu_supports("avx"));
  feature(6, __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("avx"));
  feature(7, __builtin_cpu_supports("vpclmulqdq"));
  const bool bmi = __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  feature(8, bmi);
  feature(9, bmi);
  feature(10, __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx >> 19 & 1));
  feature(11, __builtin_cpu_supports("sse4.2"));
  h.bmi_flags =
      bmi && same(CG_HOST_FLAGS("andnq %[a], %[b], %[a]"), [](u64 a, u64 b, Flags& f) { alu::andn(b, a, f); }, 0, 40) &&
      same(CG_HOST_FLAGS("andnl %k[a], %k[b], %k[a]"), [](u64 a, u64 b, Flags& f) { alu::andn(static_cast<u32>(b), static_cast<u32>(a), f); }, 0, 40) &&
      same(CG_HOST_FLAGS("rorxq $58, %[b], %%r11\n bextrq %%r11, %[a], %[a]"), [](u64 a, u64 b, Flags& f) { alu::bextr(a, b << 6, f); }, 0, 200) &&
      same(CG_HOST_FLAGS("blsrq %[a], %[a]"), [](u64 a, u64, Flags& f) { alu::blsr(a, f); }, 0, 0) &&
      same(CG_HOST_FLAGS("blsmskl %k[a], %k[a]"), [](u64 a, u64, Flags& f) { alu::blsmsk(static_cast<u32>(a), f); }, 0, 0) &&
      same(CG_HOST_FLAGS("blsiq %[a], %[a]"), [](u64 a, u64, Flags& f) { alu::blsi(a, f); }, 0, 0) &&
      same(CG_HOST_FLAGS("bzhiq %[b], %[a], %[a]"), [](u64 a, u64 b, Flags& f) { alu::bzhi(a, b, f); }, 0, 70);
  return h;
}
#else
Host probe_host() { return {}; }
#endif

}  // namespace callgate::jit::x64
