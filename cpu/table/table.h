// All rows, by group. Each group is one file: cpu/table/<group>.cpp.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cpu/table/row.h"

namespace callgate {

// One function a file of this folder. Keep them in alphabetical order.
std::span<const Row> arithmetic_rows();    // add, adc, sub, sbb, cmp, and, or, xor, test, inc, dec, neg, not, mul, div, BCD
std::span<const Row> avx2_rows();          // what AVX2 brought besides 256-bit integers
std::span<const Row> avx_float_rows();     // AVX floating point
std::span<const Row> avx_integer_rows();   // AVX and AVX2 integers
std::span<const Row> avx_move_rows();      // AVX moves, shuffles and broadcasts
std::span<const Row> bit_rows();           // shifts, rotates, bt*, bsf/bsr, bswap, setcc
std::span<const Row> bmi_rows();           // BMI1 and BMI2
std::span<const Row> branch_rows();        // near jumps, calls, returns, loops
std::span<const Row> crypto_rows();        // AES, PCLMULQDQ, SHA
std::span<const Row> data_rows();          // mov, movzx, xchg, cmov, push, pop, lea, flags, cbw, cmpxchg, xadd, nop
std::span<const Row> integer_extension_rows();  // popcnt, lzcnt, tzcnt, adx, crc32, movbe, rdrand, rdseed
std::span<const Row> fma_rows();           // FMA3 and F16C
std::span<const Row> mmx_rows();
std::span<const Row> sse3_rows();          // SSE3 but for FISTTP (x87)
std::span<const Row> sse41_rows();
std::span<const Row> sse42_rows();         // SSE4.2 but for CRC32 (integer extensions)
std::span<const Row> sse_float_rows();     // SSE and SSE2 floating point
std::span<const Row> sse_integer_rows();   // SSE and SSE2 integer
std::span<const Row> sse_move_rows();      // SSE and SSE2 moves, shuffles, conversions between files, cache control
std::span<const Row> ssse3_rows();
std::span<const Row> fpu_state_rows();     // fxsave, fxrstor, xsave, ldmxcsr, emms...
std::span<const Row> string_rows();        // movs, stos, lods, scas, cmps, ins, outs
std::span<const Row> system_rows();        // control registers, tables, MSRs, CPUID, I/O, hlt, sysenter...
std::span<const Row> transfer_rows();      // far transfers, int, iret, segment loads, lar/lsl/verr
std::span<const Row> x87_rows();

/// The groups above, in one list.
const std::vector<const Row*>& all_rows();

/// The mnemonic as shown: without the trailing underscore that C++ keywords need.
std::string mnemonic(const Row& row);

}  // namespace callgate
