#include "cpu/semantics/fpu_state.h"

#include "cpu/table/table.h"
#include "cpu/value_builder.h"

namespace callgate {

namespace {
// FXSAVE and FXRSTOR ask for the x87 (#NM for CR0.EM or CR0.TS) and work with CR4.OSFXSR clear, as they must: an operating
// system learns from them what to set it for. XSAVE and XRSTOR make their own checks.
const Row kRows[] = {
    CG_HELPER("NP REX.W0 0F AE /0 /mem", fxsave, "M", kX87, kNoFlags, "fxsr"),
    CG_HELPER("NP REX.W 0F AE /0 /mem", fxsave64, "M", kX87, kNoFlags, "fxsr"),
    CG_HELPER("NP REX.W0 0F AE /1 /mem", fxrstor, "M", kX87, kNoFlags, "fxsr"),
    CG_HELPER("NP REX.W 0F AE /1 /mem", fxrstor64, "M", kX87, kNoFlags, "fxsr"),
    CG_HELPER("NP 0F AE /2 /mem", ldmxcsr, "Md", kSse, kNoFlags, "sse"),
    CG_HELPER("NP 0F AE /3 /mem", stmxcsr, "Md", kSse, kNoFlags, "sse"),
    CG_HELPER("NP REX.W0 0F AE /4 /mem", xsave, "M", kNoAttr, kNoFlags, "xsave"),
    CG_HELPER("NP REX.W 0F AE /4 /mem", xsave64, "M", kNoAttr, kNoFlags, "xsave"),
    CG_HELPER("NP REX.W0 0F AE /6 /mem", xsaveopt, "M", kNoAttr, kNoFlags, "xsaveopt"),
    CG_HELPER("NP REX.W 0F AE /6 /mem", xsaveopt64, "M", kNoAttr, kNoFlags, "xsaveopt"),
    CG_HELPER("NP REX.W0 0F C7 /4 /mem", xsavec, "M", kNoAttr, kNoFlags, "xsavec"),
    CG_HELPER("NP REX.W 0F C7 /4 /mem", xsavec64, "M", kNoAttr, kNoFlags, "xsavec"),
    CG_HELPER("NP REX.W0 0F AE /5 /mem", xrstor, "M", kNoAttr, kNoFlags, "xsave"),
    CG_HELPER("NP REX.W 0F AE /5 /mem", xrstor64, "M", kNoAttr, kNoFlags, "xsave"),
};
}  // namespace

std::span<const Row> fpu_state_rows() { return kRows; }

}  // namespace callgate
