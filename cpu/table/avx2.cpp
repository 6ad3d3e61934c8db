// What AVX2 brought besides the 256-bit integers.
#include "cpu/semantics/avx.h"
#include "cpu/semantics/avx_helpers.h"
#include "cpu/table/table.h"
#include "cpu/vex_row.h"

namespace callgate {

namespace {
#define GATHER_ROW(ENCODING, NAME) \
  CG_HELPER_AS(ENCODING " /r /mem /vsib", NAME, gather, "Vx,M,Hx", kAvx | kNoReal, kNoFlags, "avx2")

const Row kRows[] = {
    // Permutations across the halves.
    CG_VEX("VEX.256.66.0F38.W0 36 /r", permd, "Vx,Hx,Wx", "avx2"),
    CG_VEX("VEX.256.66.0F38.W0 16 /r", permps, "Vx,Hx,Wx", "avx2"),
    CG_VEX("VEX.256.66.0F3A.W1 00 /r ib", permq, "Vx,Wx,Ib", "avx2"),
    CG_VEX("VEX.256.66.0F3A.W1 01 /r ib", permpd, "Vx,Wx,Ib", "avx2"),
    CG_VEX("VEX.256.66.0F3A.W0 46 /r ib", perm2i128, "Vx,Hx,Wx,Ib", "avx2"),
    CG_VEX("VEX.256.66.0F3A.W0 38 /r ib", inserti128, "Vx,Hx,Wdq,Ib", "avx2"),
    CG_VEX("VEX.256.66.0F3A.W0 39 /r ib", extracti128, "Wdq,Vx,Ib", "avx2"),
    CG_VEX("VEX.66.0F3A.W0 02 /r ib", pblendd, "Vx,Hx,Wx,Ib", "avx2"),

    CG_VEX("VEX.66.0F38.W0 78 /r", pbroadcastb, "Vx,Wb", "avx2"),
    CG_VEX("VEX.66.0F38.W0 79 /r", pbroadcastw, "Vx,Ww", "avx2"),
    CG_VEX("VEX.66.0F38.W0 58 /r", pbroadcastd, "Vx,Wd", "avx2"),
    CG_VEX("VEX.66.0F38.W0 59 /r", pbroadcastq, "Vx,Wq", "avx2"),
    CG_VEX("VEX.256.66.0F38.W0 5A /r /mem", broadcasti128, "Vx,Mdq", "avx2"),

    // Shifts by lane.
    CG_VEX("VEX.66.0F38.W0 45 /r", psrlvd, "Vx,Hx,Wx", "avx2"),
    CG_VEX("VEX.66.0F38.W1 45 /r", psrlvq, "Vx,Hx,Wx", "avx2"),
    CG_VEX("VEX.66.0F38.W0 46 /r", psravd, "Vx,Hx,Wx", "avx2"),
    CG_VEX("VEX.66.0F38.W0 47 /r", psllvd, "Vx,Hx,Wx", "avx2"),
    CG_VEX("VEX.66.0F38.W1 47 /r", psllvq, "Vx,Hx,Wx", "avx2"),

    // Memory by masks and by indices.
    CG_VEX("VEX.66.0F38.W0 8C /r /mem", pmaskmovd, "Vx,Hx,Mx", "avx2"),
    CG_VEX("VEX.66.0F38.W1 8C /r /mem", pmaskmovq, "Vx,Hx,Mx", "avx2"),
    CG_VEX("VEX.66.0F38.W0 8E /r /mem", pmaskmovd, "Mx,Hx,Vx", "avx2"),
    CG_VEX("VEX.66.0F38.W1 8E /r /mem", pmaskmovq, "Mx,Hx,Vx", "avx2"),
    GATHER_ROW("VEX.66.0F38.W0 90", "vpgatherdd"),
    GATHER_ROW("VEX.66.0F38.W1 90", "vpgatherdq"),
    GATHER_ROW("VEX.66.0F38.W0 91", "vpgatherqd"),
    GATHER_ROW("VEX.66.0F38.W1 91", "vpgatherqq"),
    GATHER_ROW("VEX.66.0F38.W0 92", "vgatherdps"),
    GATHER_ROW("VEX.66.0F38.W1 92", "vgatherdpd"),
    GATHER_ROW("VEX.66.0F38.W0 93", "vgatherqps"),
    GATHER_ROW("VEX.66.0F38.W1 93", "vgatherqpd"),
};
#undef GATHER_ROW
}  // namespace

std::span<const Row> avx2_rows() { return kRows; }

}  // namespace callgate
