// AVX: the floating-point instructions of SSE to SSE4.1 behind VEX.
#include "cpu/semantics/sse3.h"
#include "cpu/semantics/sse4.h"
#include "cpu/semantics/sse_float.h"
#include "cpu/table/table.h"
#include "cpu/vex_row.h"

namespace callgate {

namespace {
// The four formats share an opcode.
#define FLOAT_ROWS(OPCODE, NAME)                                             \
  CG_VEX("VEX.0F.WIG " OPCODE " /r", NAME##ps, "Vx,Hx,Wx", "avx"),           \
      CG_VEX("VEX.66.0F.WIG " OPCODE " /r", NAME##pd, "Vx,Hx,Wx", "avx"),    \
      CG_VEX("VEX.LIG.F3.0F.WIG " OPCODE " /r", NAME##ss, "Vd,Hd,Wd", "avx"), \
      CG_VEX("VEX.LIG.F2.0F.WIG " OPCODE " /r", NAME##sd, "Vq,Hq,Wq", "avx")
#define PACKED_ROWS(OPCODE, NAME)                                  \
  CG_VEX("VEX.0F.WIG " OPCODE " /r", NAME##ps, "Vx,Hx,Wx", "avx"), \
      CG_VEX("VEX.66.0F.WIG " OPCODE " /r", NAME##pd, "Vx,Hx,Wx", "avx")
#define COMPARE_ROW(ENCODING, NAME, OPERANDS) \
  CG_VEX_ROW(ENCODING, "v" #NAME, NAME, OPERANDS, kAvx, writes(kArithmetic), "avx")

const Row kRows[] = {
    FLOAT_ROWS("58", add),
    FLOAT_ROWS("59", mul),
    FLOAT_ROWS("5C", sub),
    FLOAT_ROWS("5D", min),
    FLOAT_ROWS("5E", div),
    FLOAT_ROWS("5F", max),
    CG_VEX("VEX.0F.WIG 51 /r", sqrtps, "Vx,Wx", "avx"),
    CG_VEX("VEX.66.0F.WIG 51 /r", sqrtpd, "Vx,Wx", "avx"),
    CG_VEX("VEX.LIG.F3.0F.WIG 51 /r", sqrtss, "Vd,Hd,Wd", "avx"),
    CG_VEX("VEX.LIG.F2.0F.WIG 51 /r", sqrtsd, "Vq,Hq,Wq", "avx"),
    CG_VEX("VEX.0F.WIG 52 /r", rsqrtps, "Vx,Wx", "avx"),
    CG_VEX("VEX.LIG.F3.0F.WIG 52 /r", rsqrtss, "Vd,Hd,Wd", "avx"),
    CG_VEX("VEX.0F.WIG 53 /r", rcpps, "Vx,Wx", "avx"),
    CG_VEX("VEX.LIG.F3.0F.WIG 53 /r", rcpss, "Vd,Hd,Wd", "avx"),
    CG_VEX("VEX.66.0F.WIG 7C /r", haddpd, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.F2.0F.WIG 7C /r", haddps, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.66.0F.WIG 7D /r", hsubpd, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.F2.0F.WIG 7D /r", hsubps, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.66.0F.WIG D0 /r", addsubpd, "Vx,Hx,Wx", "avx"),
    CG_VEX("VEX.F2.0F.WIG D0 /r", addsubps, "Vx,Hx,Wx", "avx"),

    CG_VEX("VEX.66.0F3A.WIG 40 /r ib", dpps, "Vx,Hx,Wx,Ib", "avx"),
    CG_VEX("VEX.128.66.0F3A.WIG 41 /r ib", dppd, "Vx,Hx,Wx,Ib", "avx"),
    CG_VEX("VEX.66.0F3A.WIG 08 /r ib", roundps, "Vx,Wx,Ib", "avx"),
    CG_VEX("VEX.66.0F3A.WIG 09 /r ib", roundpd, "Vx,Wx,Ib", "avx"),
    CG_VEX("VEX.LIG.66.0F3A.WIG 0A /r ib", roundss, "Vd,Hd,Wd,Ib", "avx"),
    CG_VEX("VEX.LIG.66.0F3A.WIG 0B /r ib", roundsd, "Vq,Hq,Wq,Ib", "avx"),

    // Logic.
    PACKED_ROWS("54", and),
    PACKED_ROWS("55", andn),
    PACKED_ROWS("56", or),
    PACKED_ROWS("57", xor),

    // Comparison.
    CG_VEX("VEX.0F.WIG C2 /r ib", cmpps, "Vx,Hx,Wx,Ib", "avx"),
    CG_VEX("VEX.66.0F.WIG C2 /r ib", cmppd, "Vx,Hx,Wx,Ib", "avx"),
    CG_VEX("VEX.LIG.F3.0F.WIG C2 /r ib", cmpss, "Vd,Hd,Wd,Ib", "avx"),
    CG_VEX("VEX.LIG.F2.0F.WIG C2 /r ib", cmpsd, "Vq,Hq,Wq,Ib", "avx"),
    COMPARE_ROW("VEX.LIG.0F.WIG 2E /r", ucomiss, "Vd,Wd"),
    COMPARE_ROW("VEX.LIG.66.0F.WIG 2E /r", ucomisd, "Vq,Wq"),
    COMPARE_ROW("VEX.LIG.0F.WIG 2F /r", comiss, "Vd,Wd"),
    COMPARE_ROW("VEX.LIG.66.0F.WIG 2F /r", comisd, "Vq,Wq"),

    // Conversion. To narrower lanes, the result has half the length, and is a whole xmm register at least.
    CG_VEX("VEX.0F.WIG 5A /r", cvtps2pd, "Vx,Wh", "avx"),
    CG_VEX("VEX.66.0F.WIG 5A /r", cvtpd2ps, "Vdq,Wx", "avx"),
    CG_VEX("VEX.LIG.F3.0F.WIG 5A /r", cvtss2sd, "Vq,Hq,Wd", "avx"),
    CG_VEX("VEX.LIG.F2.0F.WIG 5A /r", cvtsd2ss, "Vd,Hd,Wq", "avx"),
    CG_VEX("VEX.0F.WIG 5B /r", cvtdq2ps, "Vx,Wx", "avx"),
    CG_VEX("VEX.66.0F.WIG 5B /r", cvtps2dq, "Vx,Wx", "avx"),
    CG_VEX("VEX.F3.0F.WIG 5B /r", cvttps2dq, "Vx,Wx", "avx"),
    CG_VEX("VEX.F3.0F.WIG E6 /r", cvtdq2pd, "Vx,Wh", "avx"),
    CG_VEX("VEX.66.0F.WIG E6 /r", cvttpd2dq, "Vdq,Wx", "avx"),
    CG_VEX("VEX.F2.0F.WIG E6 /r", cvtpd2dq, "Vdq,Wx", "avx"),
    CG_VEX("VEX.LIG.F3.0F 2A /r", cvtsi2ss, "Vd,Hd,Ey", "avx"),
    CG_VEX("VEX.LIG.F2.0F 2A /r", cvtsi2sd, "Vq,Hq,Ey", "avx"),
    CG_VEX("VEX.LIG.F3.0F 2C /r", cvttss2si, "Gy,Wd", "avx"),
    CG_VEX("VEX.LIG.F2.0F 2C /r", cvttsd2si, "Gy,Wq", "avx"),
    CG_VEX("VEX.LIG.F3.0F 2D /r", cvtss2si, "Gy,Wd", "avx"),
    CG_VEX("VEX.LIG.F2.0F 2D /r", cvtsd2si, "Gy,Wq", "avx"),
};
#undef FLOAT_ROWS
#undef PACKED_ROWS
#undef COMPARE_ROW
}  // namespace

std::span<const Row> avx_float_rows() { return kRows; }

}  // namespace callgate
