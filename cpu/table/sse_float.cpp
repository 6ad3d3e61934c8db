#include "cpu/semantics/sse_float.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr FlagEffect kAll = writes(kArithmetic);

const Row kRows[] = {
    // Arithmetic.
    CG_ROW("NP 0F 58 /r", addps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 58 /r", addpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 58 /r", addss, "Vd,Wd", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 58 /r", addsd, "Vq,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 59 /r", mulps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 59 /r", mulpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 59 /r", mulss, "Vd,Wd", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 59 /r", mulsd, "Vq,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 5C /r", subps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 5C /r", subpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 5C /r", subss, "Vd,Wd", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 5C /r", subsd, "Vq,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 5D /r", minps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 5D /r", minpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 5D /r", minss, "Vd,Wd", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 5D /r", minsd, "Vq,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 5E /r", divps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 5E /r", divpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 5E /r", divss, "Vd,Wd", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 5E /r", divsd, "Vq,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 5F /r", maxps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 5F /r", maxpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 5F /r", maxss, "Vd,Wd", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 5F /r", maxsd, "Vq,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 51 /r", sqrtps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 51 /r", sqrtpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 51 /r", sqrtss, "Vd,Wd", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 51 /r", sqrtsd, "Vq,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 52 /r", rsqrtps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("F3 0F 52 /r", rsqrtss, "Vd,Wd", kSse, kNoFlags, "sse"),
    CG_ROW("NP 0F 53 /r", rcpps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("F3 0F 53 /r", rcpss, "Vd,Wd", kSse, kNoFlags, "sse"),

    // Logic.
    CG_ROW("NP 0F 54 /r", andps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 54 /r", andpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 55 /r", andnps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 55 /r", andnpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 56 /r", orps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 56 /r", orpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 57 /r", xorps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 57 /r", xorpd, "Vx,Wa", kSse, kNoFlags, "sse2"),

    // Comparison.
    CG_ROW("NP 0F C2 /r ib", cmpps, "Vx,Wa,Ib", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F C2 /r ib", cmppd, "Vx,Wa,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F C2 /r ib", cmpss, "Vd,Wd,Ib", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F C2 /r ib", cmpsd, "Vq,Wq,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 2E /r", ucomiss, "Vd,Wd", kSse, kAll, "sse"),
    CG_ROW("66 0F 2E /r", ucomisd, "Vq,Wq", kSse, kAll, "sse2"),
    CG_ROW("NP 0F 2F /r", comiss, "Vd,Wd", kSse, kAll, "sse"),
    CG_ROW("66 0F 2F /r", comisd, "Vq,Wq", kSse, kAll, "sse2"),

    // Conversion.
    CG_ROW("NP 0F 5A /r", cvtps2pd, "Vx,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 5A /r", cvtpd2ps, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 5A /r", cvtss2sd, "Vq,Wd", kSse, kNoFlags, "sse2"),
    CG_ROW("F2 0F 5A /r", cvtsd2ss, "Vd,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 5B /r", cvtdq2ps, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 5B /r", cvtps2dq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 5B /r", cvttps2dq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F E6 /r", cvtdq2pd, "Vx,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("F2 0F E6 /r", cvtpd2dq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F E6 /r", cvttpd2dq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 2A /r", cvtsi2ss, "Vd,Ey", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 2A /r", cvtsi2sd, "Vq,Ey", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 2C /r", cvttss2si, "Gy,Wd", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 2C /r", cvttsd2si, "Gy,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 2D /r", cvtss2si, "Gy,Wd", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 2D /r", cvtsd2si, "Gy,Wq", kSse, kNoFlags, "sse2"),

    // Conversion with MMX registers. From memory, they leave the x87 unit alone.
    CG_ROW("NP 0F 2A /r /reg", cvtpi2ps, "Vq,Nq", kSse | kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F 2A /r /mem", cvtpi2ps, "Vq,Mq", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 2A /r /reg", cvtpi2pd, "Vx,Nq", kSse | kMmx, kNoFlags, "sse2"),
    CG_ROW("66 0F 2A /r /mem", cvtpi2pd, "Vx,Mq", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 2C /r", cvttps2pi, "Pq,Wq", kSse | kMmx, kNoFlags, "sse"),
    CG_ROW("66 0F 2C /r", cvttpd2pi, "Pq,Wa", kSse | kMmx, kNoFlags, "sse2"),
    CG_ROW("NP 0F 2D /r", cvtps2pi, "Pq,Wq", kSse | kMmx, kNoFlags, "sse"),
    CG_ROW("66 0F 2D /r", cvtpd2pi, "Pq,Wa", kSse | kMmx, kNoFlags, "sse2"),
};
}  // namespace

std::span<const Row> sse_float_rows() { return kRows; }

}  // namespace callgate
