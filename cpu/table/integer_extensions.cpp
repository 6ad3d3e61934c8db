#include "cpu/semantics/integer_extensions.h"

#include "cpu/system/helpers.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr FlagEffect kAll = writes(kArithmetic);
constexpr FlagEffect kCount = kAll.undefines(kOF | kSF | kAF | kPF);

const Row kRows[] = {
    CG_ROW("F3 0F B8 /r", popcnt, "Gv,Ev", kNoAttr, kAll, "popcnt"),
    CG_ROW("F3 0F BC /r", tzcnt, "Gv,Ev", kNoAttr, kCount, "bmi1"),
    CG_ROW("F3 0F BD /r", lzcnt, "Gv,Ev", kNoAttr, kCount, "abm"),

    CG_ROW("66 0F 38 F6 /r", adcx, "Gy,Ey", kNoAttr, writes(kCF).reads(kCF), "adx"),
    CG_ROW("F3 0F 38 F6 /r", adox, "Gy,Ey", kNoAttr, writes(kOF).reads(kOF), "adx"),

    CG_ROW("F2 0F 38 F0 /r", crc32, "Gy,Eb", kNoAttr, kNoFlags, "sse4_2"),
    CG_ROW("F2 0F 38 F1 /r", crc32, "Gy,Ev", kNoAttr, kNoFlags, "sse4_2"),

    CG_ROW("NFx 0F 38 F0 /r /mem", movbe, "Gv,Mv", kNoAttr, kNoFlags, "movbe"),
    CG_ROW("NFx 0F 38 F1 /r /mem", movbe, "Mv,Gv", kNoAttr, kNoFlags, "movbe"),

    CG_HELPER("NFx 0F C7 /6 /reg", rdrand, "Rv", kSystem, kAll, "rdrand"),
    CG_HELPER("NFx 0F C7 /7 /reg", rdseed, "Rv", kSystem, kAll, "rdseed"),
};
}  // namespace

std::span<const Row> integer_extension_rows() { return kRows; }

}  // namespace callgate
