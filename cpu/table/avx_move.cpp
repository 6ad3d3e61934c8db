// AVX: the moves and floating-point shuffles of SSE to SSE4.1 behind VEX, and those that AVX brought.
#include "cpu/semantics/avx.h"
#include "cpu/semantics/avx_helpers.h"
#include "cpu/semantics/fpu_state.h"
#include "cpu/semantics/sse3.h"
#include "cpu/semantics/sse4.h"
#include "cpu/semantics/sse_move.h"
#include "cpu/table/table.h"
#include "cpu/vex_row.h"

namespace callgate {

namespace {
const Row kRows[] = {
    // Whole registers. The "a" operands must be aligned in memory, to 16 or to 32 bytes.
    CG_VEX("VEX.0F.WIG 10 /r", movups, "Vx,Wx", "avx"),
    CG_VEX("VEX.0F.WIG 11 /r", movups, "Wx,Vx", "avx"),
    CG_VEX("VEX.66.0F.WIG 10 /r", movupd, "Vx,Wx", "avx"),
    CG_VEX("VEX.66.0F.WIG 11 /r", movupd, "Wx,Vx", "avx"),
    CG_VEX("VEX.0F.WIG 28 /r", movaps, "Vx,Wa", "avx"),
    CG_VEX("VEX.0F.WIG 29 /r", movaps, "Wa,Vx", "avx"),
    CG_VEX("VEX.66.0F.WIG 28 /r", movapd, "Vx,Wa", "avx"),
    CG_VEX("VEX.66.0F.WIG 29 /r", movapd, "Wa,Vx", "avx"),
    CG_VEX("VEX.66.0F.WIG 6F /r", movdqa, "Vx,Wa", "avx"),
    CG_VEX("VEX.66.0F.WIG 7F /r", movdqa, "Wa,Vx", "avx"),
    CG_VEX("VEX.F3.0F.WIG 6F /r", movdqu, "Vx,Wx", "avx"),
    CG_VEX("VEX.F3.0F.WIG 7F /r", movdqu, "Wx,Vx", "avx"),
    CG_VEX("VEX.F2.0F.WIG F0 /r /mem", lddqu, "Vx,Mx", "avx"),
    CG_VEX("VEX.0F.WIG 2B /r /mem", movntps, "Ma,Vx", "avx"),
    CG_VEX("VEX.66.0F.WIG 2B /r /mem", movntpd, "Ma,Vx", "avx"),
    CG_VEX("VEX.66.0F.WIG E7 /r /mem", movntdq, "Ma,Vx", "avx"),
    CG_VEX("VEX.66.0F38.WIG 2A /r /mem", movntdqa, "Vx,Ma", "avx2"),

    // Scalars: between registers, the rest is the first source's.
    CG_VEX("VEX.LIG.F3.0F.WIG 10 /r /mem", movss, "Vdq,Md", "avx"),
    CG_VEX("VEX.LIG.F3.0F.WIG 10 /r /reg", movss, "Vd,Hd,Ud", "avx"),
    CG_VEX("VEX.LIG.F3.0F.WIG 11 /r /mem", movss, "Md,Vd", "avx"),
    CG_VEX("VEX.LIG.F3.0F.WIG 11 /r /reg", movss, "Ud,Hd,Vd", "avx"),
    CG_VEX("VEX.LIG.F2.0F.WIG 10 /r /mem", movsd, "Vdq,Mq", "avx"),
    CG_VEX("VEX.LIG.F2.0F.WIG 10 /r /reg", movsd, "Vq,Hq,Uq", "avx"),
    CG_VEX("VEX.LIG.F2.0F.WIG 11 /r /mem", movsd, "Mq,Vq", "avx"),
    CG_VEX("VEX.LIG.F2.0F.WIG 11 /r /reg", movsd, "Uq,Hq,Vq", "avx"),
    CG_VEX("VEX.128.66.0F 6E /r", movd, "Vdq,Ey", "avx"),  // and VMOVQ with VEX.W
    CG_VEX("VEX.128.66.0F 7E /r", movd, "Ey,Vy", "avx"),
    CG_VEX("VEX.128.F3.0F.WIG 7E /r", movq, "Vdq,Wq", "avx"),
    CG_VEX("VEX.128.66.0F.WIG D6 /r /mem", movq, "Mq,Vq", "avx"),
    CG_VEX("VEX.128.66.0F.WIG D6 /r /reg", movq, "Udq,Vq", "avx"),

    // Halves of xmm registers: the other one is the first source's.
    CG_VEX("VEX.128.0F.WIG 12 /r /mem", movlps, "Vq,Hq,Mq", "avx"),
    CG_VEX("VEX.128.0F.WIG 13 /r /mem", movlps, "Mq,Vq", "avx"),
    CG_VEX("VEX.128.0F.WIG 16 /r /mem", movhps, "Vx,Hx,Mq", "avx"),
    CG_VEX("VEX.128.0F.WIG 17 /r /mem", movhps, "Mq,Vx", "avx"),
    CG_VEX("VEX.128.66.0F.WIG 12 /r /mem", movlpd, "Vq,Hq,Mq", "avx"),
    CG_VEX("VEX.128.66.0F.WIG 13 /r /mem", movlpd, "Mq,Vq", "avx"),
    CG_VEX("VEX.128.66.0F.WIG 16 /r /mem", movhpd, "Vx,Hx,Mq", "avx"),
    CG_VEX("VEX.128.66.0F.WIG 17 /r /mem", movhpd, "Mq,Vx", "avx"),
    CG_VEX("VEX.128.0F.WIG 12 /r /reg", movhlps, "Vq,Hq,Udq", "avx"),
    CG_VEX("VEX.128.0F.WIG 16 /r /reg", movlhps, "Vx,Hx,Uq", "avx"),

    // Shuffles and masks.
    CG_VEX("VEX.0F.WIG 14 /r", unpcklps, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.0F.WIG 15 /r", unpckhps, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.0F.WIG C6 /r ib", shufps, "Vx,Hx,Wx,Ib", "avx"),
    CG_VEX("VEX.0F.WIG 50 /r /reg", movmskps, "Gd,Ux", "avx"),
    CG_VEX("VEX.66.0F.WIG 14 /r", unpcklpd, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.66.0F.WIG 15 /r", unpckhpd, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.66.0F.WIG C6 /r ib", shufpd, "Vx,Hx,Wx,Ib", "avx"),
    CG_VEX("VEX.66.0F.WIG 50 /r /reg", movmskpd, "Gd,Ux", "avx"),
    CG_VEX("VEX.128.F2.0F.WIG 12 /r", movddup, "Vx,Wq", "avx"),
    CG_VEX("VEX.256.F2.0F.WIG 12 /r", movddup, "Vx,Wx", "avx"),
    CG_VEX("VEX.F3.0F.WIG 12 /r", movsldup, "Vx,Wx", "avx"),
    CG_VEX("VEX.F3.0F.WIG 16 /r", movshdup, "Vx,Wx", "avx"),

    CG_VEX("VEX.66.0F3A.WIG 0C /r ib", blendps, "Vx,Hx,Wx,Ib", "avx"),
    CG_VEX("VEX.66.0F3A.WIG 0D /r ib", blendpd, "Vx,Hx,Wx,Ib", "avx"),
    CG_VEX("VEX.66.0F3A.W0 4A /r /is4", blendvps, "Vx,Hx,Wx,Lx", "avx"),
    CG_VEX("VEX.66.0F3A.W0 4B /r /is4", blendvpd, "Vx,Hx,Wx,Lx", "avx"),
    CG_VEX("VEX.128.66.0F3A.WIG 17 /r ib", extractps, "Ed,Vx,Ib", "avx"),
    CG_VEX("VEX.128.66.0F3A.WIG 21 /r /reg ib", insertps, "Vx,Hx,Ux,Ib", "avx"),
    CG_VEX("VEX.128.66.0F3A.WIG 21 /r /mem ib", insertps, "Vx,Hx,Md,Ib", "avx"),

    // AVX's own: shuffles by a register or an immediate, whole halves, broadcasts, masked moves, tests of signs.
    CG_VEX("VEX.66.0F38.W0 0C /r", permilps, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.66.0F38.W0 0D /r", permilpd, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.66.0F3A.W0 04 /r ib", permilps, "Vx,Wx,Ib", "avx"),
    CG_VEX("VEX.66.0F3A.W0 05 /r ib", permilpd, "Vx,Wx,Ib", "avx"),
    CG_VEX("VEX.256.66.0F3A.W0 06 /r ib", perm2f128, "Vx,Hx,Wx,Ib", "avx"),
    CG_VEX("VEX.256.66.0F3A.W0 18 /r ib", insertf128, "Vx,Hx,Wdq,Ib", "avx"),
    CG_VEX("VEX.256.66.0F3A.W0 19 /r ib", extractf128, "Wdq,Vx,Ib", "avx"),
    CG_VEX("VEX.66.0F38.W0 18 /r /mem", broadcastss, "Vx,Md", "avx"),
    CG_VEX("VEX.66.0F38.W0 18 /r /reg", broadcastss, "Vx,Ud", "avx2"),
    CG_VEX("VEX.256.66.0F38.W0 19 /r /mem", broadcastsd, "Vx,Mq", "avx"),
    CG_VEX("VEX.256.66.0F38.W0 19 /r /reg", broadcastsd, "Vx,Uq", "avx2"),
    CG_VEX("VEX.256.66.0F38.W0 1A /r /mem", broadcastf128, "Vx,Mdq", "avx"),
    CG_VEX("VEX.66.0F38.W0 2C /r /mem", maskmovps, "Vx,Hx,Mx", "avx"),
    CG_VEX("VEX.66.0F38.W0 2D /r /mem", maskmovpd, "Vx,Hx,Mx", "avx"),
    CG_VEX("VEX.66.0F38.W0 2E /r /mem", maskmovps, "Mx,Hx,Vx", "avx"),
    CG_VEX("VEX.66.0F38.W0 2F /r /mem", maskmovpd, "Mx,Hx,Vx", "avx"),
    CG_VEX_ROW("VEX.66.0F38.W0 0E /r", "vtestps", testps, "Vx,Wx", kAvx, writes(kArithmetic), "avx"),
    CG_VEX_ROW("VEX.66.0F38.W0 0F /r", "vtestpd", testpd, "Vx,Wx", kAvx, writes(kArithmetic), "avx"),

    // State.
    CG_HELPER("VEX.128.0F.WIG 77", vzeroupper, "", kAvx | kNoReal, kNoFlags, "avx"),
    CG_HELPER("VEX.256.0F.WIG 77", vzeroall, "", kAvx | kNoReal, kNoFlags, "avx"),
    CG_HELPER_AS("VEX.LZ.0F.WIG AE /2 /mem", "vldmxcsr", ldmxcsr, "Md", kAvx | kNoReal, kNoFlags, "avx"),
    CG_HELPER_AS("VEX.LZ.0F.WIG AE /3 /mem", "vstmxcsr", stmxcsr, "Md", kAvx | kNoReal, kNoFlags, "avx"),
};
}  // namespace

std::span<const Row> avx_move_rows() { return kRows; }

}  // namespace callgate
