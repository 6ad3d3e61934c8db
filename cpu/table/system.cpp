#include "cpu/system/helpers.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr u32 kRing0 = kSystem | kCpl0;

const Row kRows[] = {
    // Control and debug registers. CPL is checked by the helpers: #UD for a register that does not exist comes first.
    CG_HELPER_AS("0F 20 /r", "mov", mov_from_cr, "Ry,Cy", kSystem | kForce32, kNoFlags, ""),
    CG_HELPER_AS("0F 22 /r", "mov", mov_to_cr, "Cy,Ry", kSystem | kForce32 | kBranch, kNoFlags, ""),
    CG_HELPER_AS("0F 21 /r", "mov", mov_from_dr, "Ry,Dy", kSystem | kForce32, kNoFlags, ""),
    CG_HELPER_AS("0F 23 /r", "mov", mov_to_dr, "Dy,Ry", kSystem | kForce32 | kBranch, kNoFlags, ""),
    CG_HELPER("0F 01 /6", lmsw, "Ew", kRing0 | kBranch, kNoFlags, ""),
    CG_HELPER("0F 01 /4", smsw, "Ev", kSystem, kNoFlags, ""),
    CG_HELPER("0F 06", clts, "", kRing0 | kBranch, kNoFlags, ""),
    CG_HELPER("NP 0F 01 =CA", clac, "", kSystem | kBranch, kNoFlags, "smap"),
    CG_HELPER("NP 0F 01 =CB", stac, "", kSystem | kBranch, kNoFlags, "smap"),

    // Descriptor tables and caches of translations.
    CG_HELPER("0F 01 /0 /mem", sgdt, "M", kSystem, kNoFlags, ""),
    CG_HELPER("0F 01 /1 /mem", sidt, "M", kSystem, kNoFlags, ""),
    CG_HELPER("0F 01 /2 /mem", lgdt, "M", kRing0, kNoFlags, ""),
    CG_HELPER("0F 01 /3 /mem", lidt, "M", kRing0, kNoFlags, ""),
    CG_HELPER("0F 01 /7 /mem", invlpg, "Mb", kRing0, kNoFlags, ""),
    CG_HELPER("66 0F 38 82 /r", invpcid, "Gy,Mx", kSystem, kNoFlags, "invpcid"),
    CG_HELPER("0F 08", invd, "", kRing0, kNoFlags, ""),
    CG_HELPER("0F 09", wbinvd, "", kRing0, kNoFlags, ""),

    // Identity, time, MSRs.
    CG_HELPER("0F A2", cpuid, "", kSystem, kNoFlags, ""),
    CG_HELPER("0F 31", rdtsc, "", kSystem, kNoFlags, "tsc"),
    CG_HELPER("0F 01 =F9", rdtscp, "", kSystem, kNoFlags, "rdtscp"),
    CG_HELPER("0F 33", rdpmc, "", kSystem, kNoFlags, ""),
    CG_HELPER("0F 32", rdmsr, "", kRing0, kNoFlags, "msr"),
    CG_HELPER("0F 30", wrmsr, "", kRing0 | kBranch, kNoFlags, "msr"),
    CG_HELPER("NP 0F 01 =D0", xgetbv, "", kSystem, kNoFlags, "xsave"),
    CG_HELPER("NP 0F 01 =D1", xsetbv, "", kSystem | kBranch, kNoFlags, "xsave"),

    // Calls of a hypervisor: Intel's and AMD's.
    CG_HELPER("NP 0F 01 =C1", vmcall, "", kSystem | kBranch, kNoFlags, ""),
    CG_HELPER_AS("0F 01 =D9", "vmmcall", vmcall, "", kSystem | kBranch, kNoFlags, ""),

    // Idling.
    CG_HELPER("F4", hlt, "", kRing0 | kBranch, kNoFlags, ""),
    CG_HELPER("NP 0F 01 =C8", monitor, "", kSystem, kNoFlags, ""),
    CG_HELPER("NP 0F 01 =C9", mwait, "", kSystem | kBranch, kNoFlags, ""),

    // Ports.
    CG_HELPER("E4 ib", in, "AL,Ib", kSystem, kNoFlags, ""),
    CG_HELPER("E5 ib", in, "eAX,Ib", kSystem, kNoFlags, ""),
    CG_HELPER("E6 ib", out, "Ib,AL", kSystem, kNoFlags, ""),
    CG_HELPER("E7 ib", out, "Ib,eAX", kSystem, kNoFlags, ""),
    CG_HELPER("EC", in, "AL,DX", kSystem, kNoFlags, ""),
    CG_HELPER("ED", in, "eAX,DX", kSystem, kNoFlags, ""),
    CG_HELPER("EE", out, "DX,AL", kSystem, kNoFlags, ""),
    CG_HELPER("EF", out, "DX,eAX", kSystem, kNoFlags, ""),
};
}  // namespace

std::span<const Row> system_rows() { return kRows; }

}  // namespace callgate
