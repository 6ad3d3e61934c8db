// FMA3 and F16C.
#include "cpu/semantics/fma.h"
#include "cpu/table/table.h"
#include "cpu/vex_row.h"

namespace callgate {

namespace {
#define PACKED_ROWS(OPCODE, NAME)                                      \
  CG_VEX("VEX.66.0F38.W0 " OPCODE " /r", NAME##ps, "Vx,Hx,Wx", "fma"), \
      CG_VEX("VEX.66.0F38.W1 " OPCODE " /r", NAME##pd, "Vx,Hx,Wx", "fma")
#define SCALAR_ROWS(OPCODE, NAME)                                           \
  CG_VEX("VEX.LIG.66.0F38.W0 " OPCODE " /r", NAME##ss, "Vdq,Hd,Wd", "fma"), \
      CG_VEX("VEX.LIG.66.0F38.W1 " OPCODE " /r", NAME##sd, "Vdq,Hq,Wq", "fma")
// The upper digit of the opcode says the order of the operands.
#define ORDER_ROWS(DIGIT, DIGITS)                \
  PACKED_ROWS(DIGIT "6", fmaddsub##DIGITS),      \
      PACKED_ROWS(DIGIT "7", fmsubadd##DIGITS),  \
      PACKED_ROWS(DIGIT "8", fmadd##DIGITS),     \
      SCALAR_ROWS(DIGIT "9", fmadd##DIGITS),     \
      PACKED_ROWS(DIGIT "A", fmsub##DIGITS),     \
      SCALAR_ROWS(DIGIT "B", fmsub##DIGITS),     \
      PACKED_ROWS(DIGIT "C", fnmadd##DIGITS),    \
      SCALAR_ROWS(DIGIT "D", fnmadd##DIGITS),    \
      PACKED_ROWS(DIGIT "E", fnmsub##DIGITS),    \
      SCALAR_ROWS(DIGIT "F", fnmsub##DIGITS)

const Row kRows[] = {
    ORDER_ROWS("9", 132),
    ORDER_ROWS("A", 213),
    ORDER_ROWS("B", 231),

    CG_VEX("VEX.66.0F38.W0 13 /r", cvtph2ps, "Vx,Wh", "f16c"),
    CG_VEX("VEX.66.0F3A.W0 1D /r ib", cvtps2ph, "Wh,Vx,Ib", "f16c"),
};
#undef PACKED_ROWS
#undef SCALAR_ROWS
#undef ORDER_ROWS
}  // namespace

std::span<const Row> fma_rows() { return kRows; }

}  // namespace callgate
