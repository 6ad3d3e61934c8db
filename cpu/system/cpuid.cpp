// CPUID. Claims what works and nothing else; the choices that make a guest fast are said beside the numbers.
// Ref: SDM 2A, CPUID; AMD64 APM 3, Appendix E for 8000_0021h.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>

#include "cpu/model.h"
#include "cpu/models.h"
#include "cpu/semantics/fpu_state.h"
#include "cpu/system/msr.h"
#include "mmu/page_walk.h"

namespace callgate {

namespace {

enum Register : u8 { kEax, kEbx, kEcx, kEdx };

/// A feature flag and where CPUID shows it.
struct Feature {
  const char* name;  ///< Linux's name
  u32 leaf;
  Register reg;
  u8 bit;
  u32 subleaf = 0;
};

constexpr Feature kFeatures[] = {
    {"fpu", 1, kEdx, 0},
    {"vme", 1, kEdx, 1},
    {"de", 1, kEdx, 2},
    {"pse", 1, kEdx, 3},
    {"tsc", 1, kEdx, 4},
    {"msr", 1, kEdx, 5},
    {"pae", 1, kEdx, 6},
    {"mce", 1, kEdx, 7},
    {"cx8", 1, kEdx, 8},
    {"apic", 1, kEdx, 9},
    {"sep", 1, kEdx, 11},
    {"mtrr", 1, kEdx, 12},
    {"pge", 1, kEdx, 13},
    {"mca", 1, kEdx, 14},
    {"cmov", 1, kEdx, 15},
    {"pat", 1, kEdx, 16},
    {"pse36", 1, kEdx, 17},
    {"clflush", 1, kEdx, 19},
    {"mmx", 1, kEdx, 23},
    {"fxsr", 1, kEdx, 24},
    {"sse", 1, kEdx, 25},
    {"sse2", 1, kEdx, 26},
    {"pni", 1, kEcx, 0},  // SSE3: Prescott's new instructions
    {"pclmulqdq", 1, kEcx, 1},
    {"ssse3", 1, kEcx, 9},
    {"fma", 1, kEcx, 12},
    {"cx16", 1, kEcx, 13},
    {"pcid", 1, kEcx, 17},
    {"sse4_1", 1, kEcx, 19},
    {"sse4_2", 1, kEcx, 20},
    {"x2apic", 1, kEcx, 21},
    {"movbe", 1, kEcx, 22},
    {"popcnt", 1, kEcx, 23},
    {"tsc_deadline_timer", 1, kEcx, 24},
    {"aes", 1, kEcx, 25},
    {"xsave", 1, kEcx, 26},
    {"avx", 1, kEcx, 28},
    {"f16c", 1, kEcx, 29},
    {"rdrand", 1, kEcx, 30},
    {"arat", 6, kEax, 2},
    {"fsgsbase", 7, kEbx, 0},
    {"tsc_adjust", 7, kEbx, 1},
    {"bmi1", 7, kEbx, 3},
    {"avx2", 7, kEbx, 5},
    {"smep", 7, kEbx, 7},
    {"bmi2", 7, kEbx, 8},
    {"erms", 7, kEbx, 9},
    {"invpcid", 7, kEbx, 10},
    {"zero_fcs_fds", 7, kEbx, 13},
    {"rdseed", 7, kEbx, 18},
    {"adx", 7, kEbx, 19},
    {"smap", 7, kEbx, 20},
    {"sha_ni", 7, kEbx, 29},
    {"umip", 7, kEcx, 2},
    {"vaes", 7, kEcx, 9},
    {"vpclmulqdq", 7, kEcx, 10},
    {"fsrm", 7, kEdx, 4},
    {"arch_capabilities", 7, kEdx, 29},
    {"xsaveopt", 0xD, kEax, 0, 1},
    {"xsavec", 0xD, kEax, 1, 1},
    {"xgetbv1", 0xD, kEax, 2, 1},
    {"syscall", 0x80000001, kEdx, 11},
    {"nx", 0x80000001, kEdx, 20},
    {"pdpe1gb", 0x80000001, kEdx, 26},
    {"rdtscp", 0x80000001, kEdx, 27},
    {"lm", 0x80000001, kEdx, 29},
    {"lahf_lm", 0x80000001, kEcx, 0},
    {"abm", 0x80000001, kEcx, 5},  // LZCNT; POPCNT has a bit of its own
    {"constant_tsc", 0x80000007, kEdx, 8},  // Linux shows nonstop_tsc for the same bit
    {"null_sel_clr_base", 0x80000021, kEax, 6},
};

/// What the plain model keeps quiet about: what buys a guest speed and no instruction that its programs need.
constexpr std::string_view kNotPlain[] = {"erms", "fsrm", "arat", "tsc_deadline_timer", "constant_tsc", "tsc_adjust",
                                          "x2apic", "pcid", "invpcid", "arch_capabilities", "pdpe1gb"};
/// Nehalem: Linux takes it for a processor with Meltdown and Spectre.
constexpr u32 kPlainSignature = 0x000106A5;
constexpr u32 kPlainLastBasicLeaf = 0xD;  // no frequencies

bool plain(const CpuModel& model) { return model.name == kCpuModels[1]; }
bool shows(const CpuModel& model, const Feature& f) {
  return !plain(model) || std::find(std::begin(kNotPlain), std::end(kNotPlain), f.name) == std::end(kNotPlain);
}

constexpr u32 kLastBasicLeaf = 0x16;
constexpr u32 kLastExtendedLeaf = 0x80000021;
constexpr const char* kBrand = "Callgate virtual CPU";

constexpr u32 kCacheLine = 64;
constexpr u32 kTscMhz = 1000;  // the TSC counts guest nanoseconds

void add_features(const CpuModel& model, u32 leaf, u32 subleaf, CpuidLeaf& r) {
  u32* const words[4] = {&r.eax, &r.ebx, &r.ecx, &r.edx};
  if (leaf != 7 && leaf != 0xD) subleaf = 0;  // those that answer by sub-leaf
  for (const Feature& f : kFeatures)
    if (f.leaf == leaf && f.subleaf == subleaf && shows(model, f)) *words[f.reg] |= 1u << f.bit;
}

/// Bits of an APIC ID that number the processors in the package.
u32 core_bits(const CpuModel& model) {
  u32 n = 0;
  while ((1u << n) < model.cpu_count) n++;
  return n;
}

/// Four characters as a register.
u32 text_word(std::string_view text, unsigned at) {
  char word[4] = {};
  for (unsigned n = 0; n < 4 && at + n < text.size(); n++) word[n] = text[at + n];
  u32 v;
  std::memcpy(&v, word, sizeof v);
  return v;
}

CpuidLeaf signature(const CpuModel& model, unsigned index, bool osxsave) {
  CpuidLeaf r;
  r.eax = plain(model) ? kPlainSignature : kCpuidSignature;
  const u32 ids = 1u << core_bits(model);
  r.ebx = kCacheLine / 8 << 8 | (ids > 255 ? 255 : ids) << 16 | (index & 0xFF) << 24;
  if (osxsave) r.ecx |= kCpuid1EcxOsxsave;
  if (model.cpu_count > 1) r.edx |= 1u << 28;  // HTT: EBX[23:16] counts
  return r;
}

/// Deterministic cache parameters. Not what is emulated (there is no cache), but what software draws conclusions from:
/// a big last level keeps the C library's memcpy at REP MOVSB instead of loops of non-temporal stores.
CpuidLeaf cache(const CpuModel& model, u32 subleaf) {
  struct Cache {
    u32 type, level, ways, sets;
    bool shared;
  };
  constexpr Cache kCaches[] = {
      {1, 1, 8, 64, false},     // 32 KiB of data
      {2, 1, 8, 64, false},     // 32 KiB of instructions
      {3, 2, 16, 1024, false},  // 1 MiB
      {3, 3, 16, 32768, true},  // 32 MiB
  };
  if (subleaf >= std::size(kCaches)) return {};
  const Cache& k = kCaches[subleaf];
  const u32 others = (1u << core_bits(model)) - 1;
  CpuidLeaf r;
  r.eax = k.type | k.level << 5 | 1u << 8 | (k.shared ? others & 0xFFF : 0) << 14 | (others & 0x3F) << 26;
  r.ebx = (kCacheLine - 1) | (k.ways - 1) << 22;
  r.ecx = k.sets - 1;
  return r;
}

CpuidLeaf topology(const CpuModel& model, unsigned index, u32 subleaf) {
  CpuidLeaf r;
  r.ecx = subleaf & 0xFF;
  r.edx = index;
  if (subleaf == 0) {  // one thread a core
    r.ebx = 1;
    r.ecx |= 1u << 8;
  } else if (subleaf == 1) {
    r.eax = core_bits(model);
    r.ebx = model.cpu_count;
    r.ecx |= 2u << 8;
  }
  return r;
}

/// x87 and SSE live in the legacy region; the upper halves of the YMM registers come after the header, in both formats.
CpuidLeaf extended_state(const CpuModel& model, u32 subleaf, u64 xcr0) {
  const auto size = [](u64 components) { return kXsaveAvxOffset + (components & kXcr0Avx ? kXsaveAvxSize : 0); };
  CpuidLeaf r;
  if (subleaf == 0) {
    r.eax = static_cast<u32>(supported_xcr0(model));
    r.ebx = size(xcr0);
    r.ecx = size(supported_xcr0(model));
  } else if (subleaf == 1) {
    r.ebx = size(xcr0);  // what XSAVEC writes
  } else if (subleaf == 2) {
    r.eax = kXsaveAvxSize;
    r.ebx = kXsaveAvxOffset;
  }
  return r;
}

}  // namespace

u64 supported_xcr0(const CpuModel&) { return kXcr0X87 | kXcr0Sse | kXcr0Avx; }

CpuidLeaf cpuid(const CpuModel& model, unsigned index, u32 leaf, u32 subleaf, bool osxsave, u64 xcr0) {
  // Intel: beyond the last leaf, the data of the last basic one.
  const u32 last = plain(model) ? kPlainLastBasicLeaf : kLastBasicLeaf;
  const bool basic = leaf <= last;
  if (!basic && (leaf < 0x80000000 || leaf > kLastExtendedLeaf)) leaf = last;

  CpuidLeaf r;
  switch (leaf) {
    case 0:
      r = {last, text_word("GenuineIntel", 0), text_word("GenuineIntel", 8), text_word("GenuineIntel", 4)};
      break;
    case 1:
      r = signature(model, index, osxsave);
      break;
    case 2:
      r.eax = 0xFF01;
      break;  // "see leaf 4"
    case 4:
      r = cache(model, subleaf);
      break;
    case 5:
      r.eax = r.ebx = kCacheLine;
      break;  // the monitored line, for who enables MONITOR
    case 0xB:
      r = topology(model, index, subleaf);
      break;
    case 0xD:
      r = extended_state(model, subleaf, xcr0);
      break;
    case 0x15:
      r = {1, 1, kTscMhz * 1000000, 0};
      break;  // TSC = crystal; the local APIC's timer counts the crystal too
    case 0x16:
      r = {kTscMhz, kTscMhz, 100, 0};
      break;
    case 0x80000000:
      r.eax = kLastExtendedLeaf;
      break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const unsigned at = (leaf - 0x80000002) * 16;
      r = {text_word(kBrand, at), text_word(kBrand, at + 4), text_word(kBrand, at + 8), text_word(kBrand, at + 12)};
      break;
    }
    case 0x80000006:
      r.ecx = 1024u << 16 | 8u << 12 | kCacheLine;
      break;  // the second level again: 1 MiB, 16 ways
    case 0x80000008:
      r.eax = kPhysicalBits | kLinearBits << 8;
      break;
    default:
      break;
  }
  add_features(model, leaf, subleaf, r);
  return r;
}

std::vector<std::string> feature_names(const CpuModel& model) {
  std::vector<std::string> names;
  for (const Feature& f : kFeatures)
    if (shows(model, f)) names.emplace_back(f.name);
  return names;
}

bool has_feature(const CpuModel& model, const char* name) {
  if (*name == 0) return true;
  for (const Feature& f : kFeatures)
    if (std::string_view(f.name) == name) return shows(model, f);
  return false;
}

}  // namespace callgate
