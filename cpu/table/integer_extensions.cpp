#include "cpu/semantics/integer_extensions.h"

#include "cpu/system/helpers.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr FlagEffect kAll = writes(kArithmetic);
constexpr FlagEffect kCount = kAll.undefines(kOF | kSF | kAF | kPF);

// MOVBE, RDRAND and RDSEED take 66 for the operand size, but neither F2 nor F3: those select other instructions, or none.
#define BY_PREFIX(KIND, ENCODING, NAME, FORM16, FORM64, FORMV, ATTRIBUTES, FLAGS, FEATURE) \
  KIND("NP " ENCODING, NAME, FORMV, ATTRIBUTES, FLAGS, FEATURE),                           \
      KIND("66 REX.W0 " ENCODING, NAME, FORM16, ATTRIBUTES, FLAGS, FEATURE),               \
      KIND("66 REX.W " ENCODING, NAME, FORM64, ATTRIBUTES, FLAGS, FEATURE)

const Row kRows[] = {
    CG_ROW("F3 0F B8 /r", popcnt, "Gv,Ev", kNoAttr, kAll, "popcnt"),
    CG_ROW("F3 0F BC /r", tzcnt, "Gv,Ev", kNoAttr, kCount, "bmi1"),
    CG_ROW("F3 0F BD /r", lzcnt, "Gv,Ev", kNoAttr, kCount, "abm"),

    CG_ROW("66 0F 38 F6 /r", adcx, "Gy,Ey", kNoAttr, writes(kCF).reads(kCF), "adx"),
    CG_ROW("F3 0F 38 F6 /r", adox, "Gy,Ey", kNoAttr, writes(kOF).reads(kOF), "adx"),

    CG_ROW("F2 0F 38 F0 /r", crc32, "Gy,Eb", kNoAttr, kNoFlags, "sse4_2"),
    CG_ROW("F2 0F 38 F1 /r", crc32, "Gy,Ev", kNoAttr, kNoFlags, "sse4_2"),

    BY_PREFIX(CG_ROW, "0F 38 F0 /r /mem", movbe, "Gw,Mw", "Gq,Mq", "Gv,Mv", kNoAttr, kNoFlags, "movbe"),
    BY_PREFIX(CG_ROW, "0F 38 F1 /r /mem", movbe, "Mw,Gw", "Mq,Gq", "Mv,Gv", kNoAttr, kNoFlags, "movbe"),

    BY_PREFIX(CG_HELPER, "0F C7 /6 /reg", rdrand, "Rw", "Rq", "Rv", kSystem, kAll, "rdrand"),
    BY_PREFIX(CG_HELPER, "0F C7 /7 /reg", rdseed, "Rw", "Rq", "Rv", kSystem, kAll, "rdseed"),
};
#undef BY_PREFIX
}  // namespace

std::span<const Row> integer_extension_rows() { return kRows; }

}  // namespace callgate
