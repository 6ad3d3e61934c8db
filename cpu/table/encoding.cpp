#include "cpu/table/encoding.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string_view>

#include "base/verify.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {

bool parse_hex(std::string_view word, unsigned& value) {
  if (word.size() < 2) return false;
  const auto r = std::from_chars(word.data(), word.data() + 2, value, 16);
  return r.ec == std::errc{} && r.ptr == word.data() + 2;
}

ImmKind parse_imm(std::string_view word) {
  if (word == "ib" || word == "/is4") return ImmKind::Byte;
  if (word == "iw") return ImmKind::Word;
  if (word == "id") return ImmKind::Dword;
  if (word == "iz") return ImmKind::OperandZ;
  if (word == "iv") return ImmKind::OperandV;
  if (word == "cb") return ImmKind::RelByte;
  if (word == "cz") return ImmKind::RelZ;
  if (word == "ap") return ImmKind::FarPointer;
  if (word == "mo") return ImmKind::Moffs;
  return ImmKind::None;
}

/// "VEX.128.66.0F38.W0": any of the fields may be missing but the map.
void parse_vex(std::string_view fields, Encoding& e) {
  e.vex = true;
  e.prefix = MandatoryPrefix::None;
  while (!fields.empty()) {
    const std::size_t dot = fields.find('.');
    const std::string_view field = fields.substr(0, dot);
    fields = dot == std::string_view::npos ? std::string_view{} : fields.substr(dot + 1);
    if (field == "128" || field == "LZ" || field == "L0") e.vex_length = VexLength::Only128;
    else if (field == "256" || field == "L1") e.vex_length = VexLength::Only256;
    else if (field == "LIG") e.vex_length = VexLength::Ignored;
    else if (field == "66") e.prefix = MandatoryPrefix::P66;
    else if (field == "F3") e.prefix = MandatoryPrefix::PF3;
    else if (field == "F2") e.prefix = MandatoryPrefix::PF2;
    else if (field == "0F") e.map = kVexMaps + 1;
    else if (field == "0F38") e.map = kVexMaps + 2;
    else if (field == "0F3A") e.map = kVexMaps + 3;
    else if (field == "W0") e.rexw_never = true;
    else if (field == "W1") e.rexw_only = true;
    else VERIFY(field == "VEX" || field == "WIG", e.row->encoding);
  }
  e.width_by_w = e.row->attributes & kWidths;
  for (const char* p = e.row->operands; *p != 0; p++) {
    const bool starts = p == e.row->operands || p[-1] == ',';
    e.uses_vvvv |= starts && (*p == 'H' || *p == 'B');
    e.width_by_w |= *p == 'y';
  }
}

/// More specific rows first: by mandatory prefix, then by what ModRM must be.
unsigned specificity(const Encoding& e) {
  unsigned s = 0;
  switch (e.prefix) {
    case MandatoryPrefix::PF3:
    case MandatoryPrefix::PF2: s = 3; break;
    case MandatoryPrefix::P66: s = 2; break;
    case MandatoryPrefix::None: s = 1; break;
    case MandatoryPrefix::NoRepeat:
    case MandatoryPrefix::Any: s = 0; break;
  }
  s = s * 4 + (e.exact_modrm >= 0 ? 3 : e.extension >= 0 ? 2 : 1);
  s = s * 2 + (e.rexw_only || e.rexw_never);
  return s * 2 + !(e.register_in_opcode || e.condition_in_opcode);
}

}  // namespace

Encoding parse_encoding(const Row& row) {
  Encoding e;
  e.row = &row;
  std::vector<u8> opcode;
  std::string_view rest = row.encoding;
  while (!rest.empty()) {
    const std::size_t space = rest.find(' ');
    std::string_view word = rest.substr(0, space);
    rest = space == std::string_view::npos ? std::string_view{} : rest.substr(space + 1);
    if (word.empty()) continue;
    unsigned value = 0;
    const bool first = opcode.empty() && !e.vex;
    if (word == "NP") e.prefix = MandatoryPrefix::None;
    else if (word == "NFx") e.prefix = MandatoryPrefix::NoRepeat;
    else if (word == "66" && first) e.prefix = MandatoryPrefix::P66;
    else if (word == "F3" && first) e.prefix = MandatoryPrefix::PF3;
    else if (word == "F2" && first) e.prefix = MandatoryPrefix::PF2;
    else if (word.starts_with("VEX.")) parse_vex(word, e);
    else if (word == "REX.W") e.rexw_only = true;
    else if (word == "REX.W0") e.rexw_never = true;
    else if (word == "+r") e.register_in_opcode = true;
    else if (word == "+cc") e.condition_in_opcode = true;
    else if (word == "/r") e.has_modrm = true;
    else if (word == "/vsib") e.vsib = true;
    else if (word == "/mem") { e.has_modrm = true; e.register_ok = false; }
    else if (word == "/reg") { e.has_modrm = true; e.memory_ok = false; }
    else if (word.size() == 2 && word[0] == '/' && word[1] >= '0' && word[1] <= '7') {
      e.has_modrm = true;
      e.extension = static_cast<i8>(word[1] - '0');
    } else if (word[0] == '=' && parse_hex(word.substr(1), value)) {
      e.has_modrm = true;
      e.exact_modrm = static_cast<i16>(value);
    } else if (const ImmKind imm = parse_imm(word); imm != ImmKind::None) {
      (e.imm == ImmKind::None ? e.imm : e.imm2) = imm;
      e.register_in_immediate = word == "/is4";
    } else if (parse_hex(word, value)) {
      opcode.push_back(static_cast<u8>(value));
      if (word.substr(2) == "+r") e.register_in_opcode = true;
      if (word.substr(2) == "+cc") e.condition_in_opcode = true;
    } else {
      VERIFY(false, row.encoding);
    }
  }
  // A row that is one prefix-like byte alone ("66" as an opcode does not exist; "F3 90" is PAUSE).
  VERIFY(!opcode.empty(), row.encoding);
  if (e.vex) VERIFY(opcode.size() == 1 && e.map > kVexMaps, row.encoding);
  else if (opcode.size() == 3 && opcode[0] == 0x0F && opcode[1] == 0x38) e.map = 2;
  else if (opcode.size() == 3 && opcode[0] == 0x0F && opcode[1] == 0x3A) e.map = 3;
  else if (opcode.size() == 2 && opcode[0] == 0x0F) e.map = 1;
  else VERIFY(opcode.size() == 1, row.encoding);
  e.opcode = opcode.back();
  for (const char* p = row.operands; *p != 0; p++)
    if ((p == row.operands || p[-1] == ',') && (*p == 'C' || *p == 'D') && (p[1] == 'd' || p[1] == 'q' || p[1] == 'y' || p[1] == 'v'))
      e.mod_ignored = true;
  return e;
}

const OpcodeMaps& opcode_maps() {
  static const OpcodeMaps maps = [] {
    OpcodeMaps m;
    for (const Row* row : all_rows()) {
      const Encoding e = parse_encoding(*row);
      const unsigned span = e.register_in_opcode ? 8 : e.condition_in_opcode ? 16 : 1;
      for (unsigned k = 0; k < span; k++) m[e.map][static_cast<u8>(e.opcode + k)].push_back(e);
    }
    for (auto& map : m)
      for (auto& list : map)
        std::stable_sort(list.begin(), list.end(), [](const Encoding& a, const Encoding& b) { return specificity(a) > specificity(b); });
    return m;
  }();
  return maps;
}

}  // namespace callgate
