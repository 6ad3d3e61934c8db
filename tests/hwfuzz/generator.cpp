#include "tests/hwfuzz/generator.h"

#include "cpu/semantics/host_features.h"
#include "tests/hwfuzz/draft.h"

namespace callgate::hwfuzz {

bool wants_to_be_first(const Row& row) {
  if (row.attributes & kSystem) return true;
  return one_of(mnemonic(row), {"ret", "popf", "leave", "enter", "fxrstor", "fxrstor64", "xrstor", "xrstor64", "xsave",
                                "xsave64", "xsaveopt", "xsaveopt64", "xsavec", "xsavec64", "maskmovq", "maskmovdqu", "vmaskmovdqu",
                                "xlat", "ldmxcsr", "vldmxcsr", "div", "idiv"}) ||
         mnemonic(row).find("gather") != std::string::npos || (row.attributes & kRep) || (one_of(mnemonic(row), {"jmp", "call"}) && row.operands[0] == 'E');
}

const char* not_runnable(const Row& row) {
  if (row.attributes & kNo64) return "exists outside 64-bit mode only, and a case runs in 64-bit mode";
  if (!(row.attributes & kSystem)) return nullptr;
  const std::string name = mnemonic(row);
  if (one_of(name, {"syscall", "sysenter"})) return "would call the child's kernel";
  if (one_of(name, {"cpuid", "rdtsc", "rdtscp", "xgetbv"})) return "tells about the machine itself";
  if (one_of(name, {"vmcall", "vmmcall"})) return "would call the hypervisor that the host may have";
  if (one_of(name, {"rdrand", "rdseed"})) return "gives another number every time";
  if (one_of(name, {"sgdt", "sidt", "sldt", "str", "smsw"})) return "is emulated by Linux when UMIP is on";
  if (one_of(name, {"rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase", "lfs", "lgs", "lss"}) ||
      (name == "pop" && row.operands[0] == 0))
    return "would change the segments that the child lives on";
  return nullptr;
}

Generator::Generator(u64 seed, bool on_this_host) : random_(seed) {
  for (const Row* row : all_rows()) {
    if (not_runnable(*row) != nullptr || (on_this_host && !test::host_has(row->feature))) continue;
    rows_.push_back(row);
    encodings_.push_back(parse_encoding(*row));
  }
}

void Generator::make(Case& c, unsigned row, unsigned count) {
  Draft draft(c, random_, count == 1);
  draft.add(encodings_[row]);
  while (c.instructions < count) {
    const std::size_t n = random_.below(rows_.size());
    if (wants_to_be_first(*rows_[n]) || !draft.flags_fit(*rows_[n])) continue;
    draft.add(encodings_[n]);
  }
  draft.finish();
}

}  // namespace callgate::hwfuzz
