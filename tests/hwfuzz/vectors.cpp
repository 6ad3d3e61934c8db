#include "tests/hwfuzz/vectors.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <memory>

#include "cpu/flags.h"

namespace callgate::hwfuzz {

namespace {

const char* const kNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr u32 kShownFlags = kArithmetic | kTF | kDF | kNT | kAC | kID;
constexpr u16 kX87Summary = 0x80;
/// Bytes of one instruction in a line: some are longer than a processor takes.
constexpr std::size_t kLongestCode = 32;

std::string hex(const u8* p, std::size_t n) {
  std::string s;
  for (std::size_t i = 0; i < n; i++) s += fmt::format("{:02x}", p[i]);
  return s;
}

bool parse(std::string_view text, u64& value) {
  const auto r = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return r.ec == std::errc{} && r.ptr == text.data() + text.size();
}

bool parse_bytes(std::string_view text, u8* out, std::size_t room, std::size_t& size) {
  size = text.size() / 2;
  if (text.size() % 2 != 0 || size > room) return false;
  for (std::size_t i = 0; i < size; i++) {
    u64 v = 0;
    if (!parse(text.substr(2 * i, 2), v)) return false;
    out[i] = static_cast<u8>(v);
  }
  return true;
}

/// " key=value" for everything in `now` that `before` has otherwise.
std::string changes(const Registers& before, const Registers& now) {
  std::string s;
  const auto field = [&](const char* key, u64 was, u64 is) {
    if (was != is) s += fmt::format(" {}={:x}", key, is);
  };
  for (unsigned i = 0; i < 16; i++) field(kNames[i], before.gpr[i], now.gpr[i]);
  field("fl", before.rflags & kShownFlags, now.rflags & kShownFlags);
  const FxImage &a = before.fx, &b = now.fx;
  field("cw", a.control, b.control);
  field("sw", a.status, b.status);
  field("tw", a.not_empty, b.not_empty);
  if (b.status & kX87Summary) {
    field("fop", a.opcode, b.opcode);
    field("fip", a.instruction_pointer, b.instruction_pointer);
    field("fdp", a.data_pointer, b.data_pointer);
  }
  for (unsigned i = 0; i < 8; i++)
    if (a.st[i].significand != b.st[i].significand || a.st[i].sign_exponent != b.st[i].sign_exponent)
      s += fmt::format(" st{}={:04x}:{:016x}", i, b.st[i].sign_exponent, b.st[i].significand);
  field("mxcsr", a.mxcsr, b.mxcsr);
  for (unsigned i = 0; i < 16; i++)
    if (std::memcmp(a.xmm[i], b.xmm[i], 16) != 0)
      s += fmt::format(" xmm{}={:016x}{:016x}", i, b.xmm[i][1], b.xmm[i][0]);
  for (unsigned i = 0; i < 16; i++)
    if (std::memcmp(before.upper[i], now.upper[i], 16) != 0)
      s += fmt::format(" ymm{}={:016x}{:016x}", i, now.upper[i][1], now.upper[i][0]);
  return s;
}

/// " m<offset>=<bytes>" for every stretch that differs.
std::string memory_changes(const u8* before, const u8* now) {
  std::string s;
  for (unsigned i = 0; i < kDataBytes;) {
    if (before[i] == now[i]) {
      i++;
      continue;
    }
    unsigned end = i + 1;
    for (unsigned k = end; k < kDataBytes && k < end + 4; k++)
      if (before[k] != now[k]) end = k + 1;
    s += fmt::format(" m{:x}={}", i, hex(now + i, end - i));
    i = end;
  }
  return s;
}

bool set_register(std::string_view key, std::string_view text, Registers& r) {
  FxImage& fx = r.fx;
  u64 v = 0;
  if (key.starts_with("st") && key.size() == 3) {
    auto& st = fx.st[(key[2] - '0') & 7];
    u64 exponent = 0;
    if (text.size() != 21 || !parse(text.substr(0, 4), exponent) || !parse(text.substr(5), st.significand))
      return false;
    st.sign_exponent = static_cast<u16>(exponent);
    return true;
  }
  if (key.starts_with("xmm") || key.starts_with("ymm")) {
    const unsigned n = static_cast<unsigned>(std::atoi(std::string(key.substr(3)).c_str())) & 15;
    u64* half = key[0] == 'x' ? fx.xmm[n] : r.upper[n];
    return text.size() == 32 && parse(text.substr(0, 16), half[1]) && parse(text.substr(16), half[0]);
  }
  if (!parse(text, v)) return false;
  for (unsigned i = 0; i < 16; i++)
    if (key == kNames[i]) return r.gpr[i] = v, true;
  if (key == "fl")
    r.rflags = (r.rflags & ~u64{kShownFlags}) | v;
  else if (key == "cw")
    fx.control = static_cast<u16>(v);
  else if (key == "sw")
    fx.status = static_cast<u16>(v);
  else if (key == "tw")
    fx.not_empty = static_cast<u8>(v);
  else if (key == "fop")
    fx.opcode = static_cast<u16>(v);
  else if (key == "fip")
    fx.instruction_pointer = v;
  else if (key == "fdp")
    fx.data_pointer = v;
  else if (key == "mxcsr")
    fx.mxcsr = static_cast<u32>(v);
  else if (key == "rip")
    r.rip = v;
  else
    return false;
  return true;
}

/// The state of which lines write the changes.
Registers plain_state() {
  Registers r;
  r.rflags = 0x202;
  return r;
}

}  // namespace

std::string outcome_text(const Case& c, const Outcome& o) {
  std::string s;
  if (o.ending == Ending::Faulted) {
    s += fmt::format(" v={}", o.vector);
    if (o.error_code != 0) s += fmt::format(" e={:x}", o.error_code);
    if (o.cr2 != 0) s += fmt::format(" cr2={:x}", o.cr2);
    if (o.out.rip != c.in.rip) s += fmt::format(" rip={:x}", o.out.rip);
  } else if (o.ending != Ending::Finished) {
    s += " unknown";
  }
  s += changes(c.in, o.out);
  u8 before[kDataBytes];
  fill_memory(c, before);
  return s + memory_changes(before, o.memory);
}

std::string to_line(const Case& c, const Outcome& o) {
  std::string s;
  for (unsigned i = 0; i < c.instructions; i++)
    s += fmt::format("{}{}", i == 0 ? "" : ".",
                     hex(c.code + c.start[i], static_cast<std::size_t>(c.start[i + 1] - c.start[i])));
  if (c.code_at != kUsualCodeAt) s += fmt::format(" at={:x}", c.code_at);
  if (c.memory_seed != 0) s += fmt::format(" seed={:x}", c.memory_seed);
  s += changes(plain_state(), c.in);
  for (unsigned i = 0; i < c.patches; i++)
    s += fmt::format(" m{:x}={}", c.patch[i].offset, hex(c.patch[i].bytes, c.patch[i].size));
  return s + " >" + outcome_text(c, o);
}

bool from_line(std::string_view line, Case& c, Outcome& o) {
  c = Case{};
  o = Outcome{};
  c.in = plain_state();
  c.code_at = kUsualCodeAt;
  bool after = false;
  bool first = true;
  while (!line.empty()) {
    const std::size_t space = line.find(' ');
    const std::string_view word = line.substr(0, space);
    line = space == std::string_view::npos ? std::string_view{} : line.substr(space + 1);
    if (word.empty()) continue;
    if (first) {
      first = false;
      std::string_view rest = word;
      while (!rest.empty()) {
        const std::size_t dot = rest.find('.');
        std::size_t size = 0;
        if (c.instructions == kMostInstructions ||
            !parse_bytes(rest.substr(0, dot), c.code + c.start[c.instructions], kLongestCode, size) || size == 0)
          return false;
        c.start[c.instructions + 1u] = static_cast<u8>(c.start[c.instructions] + size);
        c.instructions++;
        rest = dot == std::string_view::npos ? std::string_view{} : rest.substr(dot + 1);
      }
      continue;
    }
    if (word == ">") {
      after = true;
      finish_code(c);
      c.in.rip = c.address_of(0);
      o.ending = Ending::Finished;
      o.out = c.in;
      o.out.rip = kExit;
      fill_memory(c, o.memory);
      continue;
    }
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view key = word.substr(0, equals), text = word.substr(equals + 1);
    u64 v = 0;
    if (key[0] == 'm' && key != "mxcsr") {
      u8 bytes[kDataBytes];
      std::size_t size = 0;
      if (!parse(key.substr(1), v) || v >= kDataBytes || !parse_bytes(text, bytes, kDataBytes - v, size)) return false;
      if (after)
        std::memcpy(o.memory + v, bytes, size);
      else
        c.put(kData + v, bytes, static_cast<unsigned>(size));
    } else if (!after && key == "at") {
      if (!parse(text, v) || v >= kCodeBytes) return false;
      c.code_at = static_cast<u16>(v);
    } else if (!after && key == "seed") {
      if (!parse(text, c.memory_seed)) return false;
    } else if (after && (key == "v" || key == "e" || key == "cr2")) {
      if (key == "v") {
        o.ending = Ending::Faulted;
        o.vector = static_cast<u8>(std::atoi(std::string(text).c_str()));
        o.out.rip = c.in.rip;
      } else if (!parse(text, v)) {
        return false;
      } else if (key == "e") {
        o.error_code = static_cast<u32>(v);
      } else {
        o.cr2 = v;
      }
    } else if (!set_register(key, text, after ? o.out : c.in)) {
      return false;
    }
  }
  return after;
}

}  // namespace callgate::hwfuzz
