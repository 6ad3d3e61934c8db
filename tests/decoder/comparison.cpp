#include "tests/decoder/comparison.h"

#include <fmt/format.h>

#include <string_view>

#include "cpu/table/encoding.h"
#include "cpu/table/table.h"

namespace callgate::decoder_test {

Outline outline(const CodeBytes& bytes, CodeSize size) {
  Outline o;
  unsigned i = 0;
  const auto next = [&] { return i < bytes.size() ? bytes[i++] : u8{0}; };
  for (;; o.prefixes++) {
    const u8 b = next();
    const bool rex = size == CodeSize::Bits64 && (b & 0xF0) == 0x40;
    const bool segment = b == 0x26 || b == 0x2E || b == 0x36 || b == 0x3E || b == 0x64 || b == 0x65;
    const bool legacy = segment || b == 0x66 || b == 0x67 || b == 0xF0 || b == 0xF2 || b == 0xF3;
    if ((!rex && !legacy) || i == bytes.size()) {
      o.opcode = b;
      break;
    }
    o.rex = rex ? b : u8{0};
    o.opsize |= b == 0x66;
    o.asize |= b == 0x67;
    o.lock |= b == 0xF0;
    if (b == 0xF2 || b == 0xF3) o.rep = b;
  }
  const bool c4 = o.opcode == 0xC4;
  if ((c4 || o.opcode == 0xC5) && i < bytes.size() && (size == CodeSize::Bits64 || bytes[i] >= 0xC0)) {
    o.vex = true;
    const u8 map = c4 ? next() & 31 : u8{1};
    const u8 fields = next();
    o.map = static_cast<u8>(map <= 3 ? kVexMaps + map : kVexMaps);
    o.vex_w = c4 && (fields & 0x80);
    o.vex_l = fields & 4;
    o.vvvv = ~fields >> 3 & (size == CodeSize::Bits64 ? 15 : 7);
    o.opcode = next();
  } else if (o.opcode == 0x0F) {
    o.map = 1;
    o.opcode = next();
    if (o.opcode == 0x38 || o.opcode == 0x3A) {
      o.map = o.opcode == 0x38 ? 2 : 3;
      o.opcode = next();
    }
  }
  o.modrm = next();
  return o;
}

CodeBytes with_tidy_prefixes(const Comparison& c, unsigned& removed) {
  u8 segment = 0;
  for (unsigned i = 0; i < c.at.prefixes; i++) {
    const u8 b = c.bytes[i];
    // In 64-bit mode FS and GS count even when an ignored override follows.
    if (b == 0x64 || b == 0x65) segment = b;
    if ((b & 0xE7) == 0x26 && c.size != CodeSize::Bits64) segment = b;
  }
  CodeBytes out{};
  unsigned n = 0;
  const auto put = [&](bool there, u8 b) {
    if (there) out[n++] = b;
  };
  put(segment != 0, segment);
  put(c.at.asize, 0x67);
  put(c.at.lock, 0xF0);
  put(c.at.opsize, 0x66);
  put(c.at.rep != 0, c.at.rep);
  put(c.at.rex != 0, c.at.rex);
  removed = c.at.prefixes - n;
  for (unsigned i = c.at.prefixes; i < c.bytes.size(); i++) out[n++] = c.bytes[i];
  return out;
}

bool Comparison::is_row(const char* name) const { return ours.row != nullptr && mnemonic(*ours.row) == name; }

const char* size_name(CodeSize size) {
  return size == CodeSize::Bits64 ? "64-bit" : size == CodeSize::Bits32 ? "32-bit" : "16-bit";
}

std::string describe(const Comparison& c) {
  std::string text = fmt::format("{}:", size_name(c.size));
  for (const u8 b : c.bytes) text += fmt::format(" {:02x}", b);
  text += " | ours: ";
  switch (c.status) {
    case DecodeStatus::Ok:
      text += fmt::format("{} bytes, {} ({})", c.ours.length, mnemonic(*c.ours.row), c.ours.row->encoding);
      break;
    case DecodeStatus::Truncated: text += "truncated"; break;
    case DecodeStatus::TooLong: text += "too long"; break;
    case DecodeStatus::Invalid: text += "invalid"; break;
  }
  text += " | Capstone: ";
  if (c.theirs.valid)
    text += fmt::format("{} bytes, {} {} [{}]", c.theirs.length, c.theirs.mnemonic, c.theirs.operands, c.theirs.groups);
  else
    text += "invalid";
  return text;
}

}  // namespace callgate::decoder_test
