#include "tests/decoder/exceptions.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "cpu/table/encoding.h"

namespace callgate::decoder_test {

namespace {

bool ours_only(const Comparison& c) { return c.valid() && !c.theirs.valid; }
bool theirs_only(const Comparison& c) { return !c.valid() && c.theirs.valid; }
bool lengths_differ(const Comparison& c) { return c.valid() && c.theirs.valid; }

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}
bool named(const Comparison& c, std::initializer_list<std::string_view> names) {
  return one_of(c.theirs.mnemonic, names);
}
bool in_groups(const Comparison& c, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* n) { return c.theirs.in_group(n); });
}
bool opcode_is(const Comparison& c, u8 map, u8 first, u8 last) {
  return c.at.map == map && c.at.opcode >= first && c.at.opcode <= last;
}
bool opcode_is(const Comparison& c, u8 map, u8 opcode) { return opcode_is(c, map, opcode, opcode); }
bool prefixed(const Comparison& c) { return c.at.opsize || c.at.rep != 0; }

unsigned our_length(const CodeBytes& bytes, CodeSize size) {
  Insn insn;
  return decode(bytes, size, insn) == DecodeStatus::Ok ? insn.length : 0;
}

/// Our length when every prefix `from` is replaced by the harmless `to`; 0 if that is invalid.
unsigned length_with_prefix(const Comparison& c, u8 from, u8 to) {
  CodeBytes bytes = c.bytes;
  for (unsigned i = 0; i < c.at.prefixes; i++)
    if (bytes[i] == from) bytes[i] = to;
  return our_length(bytes, c.size);
}

/// With harmless prefixes instead of 66, F2 and F3.
CodeBytes without_prefixes(const Comparison& c) {
  CodeBytes bytes = c.bytes;
  for (unsigned i = 0; i < c.at.prefixes; i++)
    if (bytes[i] == 0x66 || bytes[i] == 0xF2 || bytes[i] == 0xF3) bytes[i] = 0x3E;
  return bytes;
}

/// Some row of this opcode says which of 66, F2, F3 must be there, or that none may be.
bool row_wants_a_prefix(const Comparison& c) {
  const auto& rows = opcode_maps()[c.at.map][c.at.opcode];
  return std::any_of(rows.begin(), rows.end(), [](const Encoding& e) { return e.prefix != MandatoryPrefix::Any; });
}

/// The instruction exists without F2 and F3, or without 66 as well, in Capstone's length.
bool valid_without_prefixes(const Comparison& c) {
  Comparison bare = c;
  for (unsigned i = 0; i < c.at.prefixes; i++)
    if (bare.bytes[i] == 0xF2 || bare.bytes[i] == 0xF3) bare.bytes[i] = 0x3E;
  return our_length(bare.bytes, c.size) == c.theirs.length || length_with_prefix(bare, 0x66, 0x3E) == c.theirs.length;
}

/// SDM 2, LOCK: the instructions that may have it, when the destination is memory.
bool may_be_locked(const Comparison& c) {
  std::string_view name = c.theirs.mnemonic;
  for (const std::string_view prefix : {"lock ", "xacquire ", "xrelease ", "repne ", "rep "})
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  const std::string_view destination = std::string_view(c.theirs.operands).substr(0, c.theirs.operands.find(','));
  return destination.ends_with(']') &&
         one_of(name, {"add", "adc", "and", "btc", "btr", "bts", "cmpxchg", "cmpxchg8b", "cmpxchg16b", "dec", "inc",
                       "neg", "not", "or", "sbb", "sub", "xor", "xadd", "xchg"});
}

/// Both decoders agree once superfluous prefixes are gone and the others stand in the usual order.
bool agree_when_tidy(const Comparison& c) {
  unsigned removed = 0;
  const CodeBytes tidy = with_tidy_prefixes(c, removed);
  const unsigned ours = our_length(tidy, c.size);
  return ours == c.capstone_length(tidy) && ours == (c.valid() ? c.ours.length - removed : 0);
}

// The first exception that covers a disagreement counts it, so special ones stand before general ones.
const Exception kExceptions[] = {
    // What Capstone 4.0.2 gets wrong. Judged by the SDM, and by objdump of binutils 2.40.
    {"lock-forbidden", "LOCK is #UD here (SDM 2, LOCK); Capstone shows it with many instructions that can't have it",
     [](const Comparison& c) { return theirs_only(c) && c.at.lock && !may_be_locked(c); }},
    {"near-branch-66", "in 64-bit mode near branches ignore 66 (Intel); Capstone takes AMD's displacement of 16 bits",
     [](const Comparison& c) {
       const bool branch = opcode_is(c, 0, 0xE8, 0xE9) || opcode_is(c, 1, 0x80, 0x8F);
       return c.size == CodeSize::Bits64 && c.at.opsize && branch && c.theirs.valid &&
              (c.valid() ? c.ours.length == c.theirs.length + 2 : c.status == DecodeStatus::TooLong || c.at.lock);
     }},
    {"call-rex-67", "67 with REX.W makes Capstone read CALL's displacement as 16 bits",
     [](const Comparison& c) {
       return opcode_is(c, 0, 0xE8) && c.at.asize && (c.at.rex & 8) && c.theirs.valid &&
              (c.valid() ? c.theirs.length + 2 == c.ours.length : c.status == DecodeStatus::TooLong);
     }},
    {"ret-rex-67", "66 or 67 with REX.W makes Capstone read RET's 16-bit immediate as 32 bits",
     [](const Comparison& c) {
       return opcode_is(c, 0, 0xC2) && (c.at.asize || c.at.opsize) && (c.at.rex & 8) &&
              (lengths_differ(c) ? c.theirs.length == c.ours.length + 2u : ours_only(c));
     }},
    {"66-with-repeat",
     "Capstone forgets 66 in front of PUSH, CALL and MOV to or from an address when F2 or F3 stands there too",
     [](const Comparison& c) {
       const bool affected = opcode_is(c, 0, 0x68) || opcode_is(c, 0, 0xA0, 0xA3) || opcode_is(c, 0, 0xE8);
       return affected && c.at.opsize && c.at.rep != 0 &&
              (!c.theirs.valid || c.theirs.length == length_with_prefix(c, 0x66, 0x3E));
     }},
    {"ud-modrm", "UD0 and UD1 have a ModRM byte (SDM 2, UD); Capstone reads none, and knows no UD0 with prefixes",
     [](const Comparison& c) { return opcode_is(c, 1, 0xB9) || opcode_is(c, 1, 0xFF); }},
    {"hint-nops", "0F 0D and 0F 18 to 0F 1F are hints in all their forms (SDM 2, Appendix A); Capstone knows some",
     [](const Comparison& c) { return ours_only(c) && (opcode_is(c, 1, 0x0D) || opcode_is(c, 1, 0x18, 0x1F)); }},
    {"vex-w", "Capstone does not look at VEX.W where the manual wants it 0 (or 1)",
     [](const Comparison& c) {
       CodeBytes bytes = without_prefixes(c);
       bytes[c.at.prefixes + 2] ^= 0x80;
       return theirs_only(c) && c.at.vex && bytes[c.at.prefixes] == 0xC4 && our_length(bytes, c.size) == c.theirs.length;
     }},
    {"vaes", "Capstone 4 is older than the 256-bit forms of AES and PCLMULQDQ",
     [](const Comparison& c) {
       return ours_only(c) && c.at.vex_l && (opcode_is(c, kVexMaps + 2, 0xDC, 0xDF) || opcode_is(c, kVexMaps + 3, 0x44));
     }},
    {"broadcasti128", "Capstone does not know VBROADCASTI128",
     [](const Comparison& c) { return ours_only(c) && c.is_row("vbroadcasti128"); }},
    {"vsib-form", "gathers need a SIB byte (SDM 2, VSIB Memory Addressing), which 16-bit addresses don't have; Capstone takes any address",
     [](const Comparison& c) {
       const bool sib = !c.at.register_form() && (c.at.modrm & 7) == 4 && (c.size == CodeSize::Bits16) == c.at.asize;
       return theirs_only(c) && opcode_is(c, kVexMaps + 2, 0x90, 0x93) && !sib;
     }},
    {"fence-rm", "the r/m field of the fences is ignored (SDM 2, LFENCE); Capstone wants 0",
     [](const Comparison& c) {
       return ours_only(c) && opcode_is(c, 1, 0xAE) && c.at.register_form() && c.at.reg() >= 5 && (c.at.modrm & 7) != 0;
     }},
    {"segment-rex-r",
     "REX.R is ignored for segment registers (SDM 2, REX Prefix Fields); Capstone finds no such register",
     [](const Comparison& c) {
       return ours_only(c) && (opcode_is(c, 0, 0x8C) || opcode_is(c, 0, 0x8E)) && (c.at.rex & 4) && c.at.reg() < 6;
     }},
    {"no-cache-control", "not in the model: later cache control",
     [](const Comparison& c) {
       return theirs_only(c) && named(c, {"clflushopt", "clwb", "pcommit"});
     }},
    {"prefix-selects-nothing",
     "66, F2 and F3 select another (invalid) instruction here (SDM 2: NP); Capstone ignores them",
     [](const Comparison& c) {
       return theirs_only(c) && prefixed(c) && c.at.map != 0 && row_wants_a_prefix(c) && valid_without_prefixes(c);
     }},
    {"16-bit-mandatory", "in 16-bit mode Capstone does not find some instructions with a mandatory 66, F2 or F3",
     [](const Comparison& c) {
       return ours_only(c) && c.size == CodeSize::Bits16 && prefixed(c) && c.at.map != 0 && row_wants_a_prefix(c);
     }},
    {"67-as-66", "in 64-bit mode Capstone takes 67 for a mandatory 66 with a few instructions",
     [](const Comparison& c) {
       return theirs_only(c) && c.size == CodeSize::Bits64 && c.at.asize && c.at.map != 0 && row_wants_a_prefix(c) &&
              length_with_prefix(c, 0x67, 0x66) == c.theirs.length;
     }},
    {"swapgs-mode", "SWAPGS exists in 64-bit mode only; Capstone shows it in all",
     [](const Comparison& c) { return theirs_only(c) && c.size != CodeSize::Bits64 && named(c, {"swapgs"}); }},
    {"prefix-order",
     "Capstone wants a mandatory prefix right before the opcode, and once; the processor takes any place",
     [](const Comparison& c) { return agree_when_tidy(c); }},

    // Checked when our instruction executes, not when it is decoded.
    {"segment-register", "MOV with a segment register that doesn't exist: #UD comes from our instruction itself",
     [](const Comparison& c) {
       return ours_only(c) && (opcode_is(c, 0, 0x8C) || opcode_is(c, 0, 0x8E)) && c.at.reg() >= 6;
     }},

    // Not in the model (cpu/model.h).
    {"no-vex", "not in the model: VEX instructions of FMA4, TBM and AVX-512 (the mask registers)",
     [](const Comparison& c) {
       return theirs_only(c) && c.at.vex && opcode_maps()[c.at.map][c.at.opcode].empty();
     }},
    {"no-evex", "not in the model: EVEX and XOP",
     [](const Comparison& c) {
       return theirs_only(c) && (opcode_is(c, 0, 0x62) || opcode_is(c, 0, 0x8F));
     }},
    {"no-amd-vectors", "not in the model: SSE4a and 3DNow!",
     [](const Comparison& c) { return theirs_only(c) && in_groups(c, {"sse4a", "3dnow"}); }},
    {"no-transactions", "not in the model: RTM",
     [](const Comparison& c) { return theirs_only(c) && (in_groups(c, {"rtm"}) || named(c, {"xtest"})); }},
    {"no-xsaves", "not in the model: XSAVES",
     [](const Comparison& c) {
       return theirs_only(c) && named(c, {"xsaves", "xsaves64", "xrstors", "xrstors64"});
     }},
    {"no-virtualisation", "not in the model: VMX and SVM",
     [](const Comparison& c) {
       return theirs_only(c) && (c.theirs.in_group("vm") || named(c, {"vmread", "vmwrite", "vmfunc"}));
     }},
    {"no-enclaves", "not in the model: SGX and SMX",
     [](const Comparison& c) {
       return theirs_only(c) && named(c, {"encls", "enclu", "getsec"});
     }},
    {"no-smm", "RSM outside system-management mode is #UD, and the model has no such mode",
     [](const Comparison& c) { return theirs_only(c) && named(c, {"rsm"}); }},
    {"no-padlock", "not in the model: VIA's PadLock",
     [](const Comparison& c) { return theirs_only(c) && opcode_is(c, 1, 0xA6, 0xA7); }},
};

}  // namespace

std::span<const Exception> exceptions() { return kExceptions; }

}  // namespace callgate::decoder_test
