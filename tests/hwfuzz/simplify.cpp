#include "tests/hwfuzz/simplify.h"

#include <cstring>
#include <memory>

namespace callgate::hwfuzz {

namespace {

/// Tries one change and keeps it if the case stays good.
template <class Change>
bool attempt(Case& c, const std::function<bool(const Case&)>& still_good, Change change) {
  Case tried = c;
  change(tried);
  if (std::memcmp(&tried, &c, sizeof c) == 0 || !still_good(tried)) return false;
  c = tried;
  return true;
}

template <class T>
void attempt_fx(Case& c, const std::function<bool(const Case&)>& still_good, T FxImage::*member) {
  attempt(c, still_good, [&](Case& t) { t.in.fx.*member = FxImage{}.*member; });
}

}  // namespace

void simplify(Case& c, const std::function<bool(const Case&)>& still_good) {
  attempt(c, still_good, [](Case& t) { t.memory_seed = 0; });
  attempt(c, still_good, [](Case& t) { t.in.fx = FxImage{}; });
  attempt(c, still_good, [](Case& t) { std::memset(t.in.fx.xmm, 0, sizeof t.in.fx.xmm); });
  attempt(c, still_good, [](Case& t) { std::memset(t.in.upper, 0, sizeof t.in.upper); });
  for (unsigned i = 0; i < 16; i++) {
    attempt(c, still_good, [i](Case& t) { t.in.gpr[i] = 0; });
    attempt(c, still_good, [i](Case& t) { t.in.gpr[i] &= 0xFFFFFFFF; });
    attempt(c, still_good, [i](Case& t) { t.in.fx.xmm[i][0] = t.in.fx.xmm[i][1] = 0; });
    attempt(c, still_good, [i](Case& t) { t.in.fx.xmm[i][1] = 0; });
    attempt(c, still_good, [i](Case& t) { t.in.upper[i][0] = t.in.upper[i][1] = 0; });
  }
  for (u64 bit = 1; bit < u64{1} << 22; bit <<= 1)
    if (bit != 2 && bit != 0x200) attempt(c, still_good, [bit](Case& t) { t.in.rflags &= ~bit; });
  attempt_fx(c, still_good, &FxImage::control);
  attempt_fx(c, still_good, &FxImage::status);
  attempt_fx(c, still_good, &FxImage::not_empty);
  attempt_fx(c, still_good, &FxImage::opcode);
  attempt_fx(c, still_good, &FxImage::instruction_pointer);
  attempt_fx(c, still_good, &FxImage::data_pointer);
  attempt_fx(c, still_good, &FxImage::mxcsr);
  for (unsigned i = 0; i < 8; i++) attempt(c, still_good, [i](Case& t) { t.in.fx.st[i] = {}; });
  for (unsigned i = 0; i < c.patches;) {
    const bool gone = attempt(c, still_good, [i](Case& t) {
      for (unsigned k = i; k + 1 < t.patches; k++) t.patch[k] = t.patch[k + 1];
      t.patch[--t.patches] = Patch{};
    });
    if (!gone) i++;
  }
}

Case truncated(const Case& c, unsigned count) {
  Case t = c;
  t.instructions = static_cast<u8>(count);
  std::memset(t.code + t.start[count], 0, sizeof t.code - t.start[count]);
  finish_code(t);
  return t;
}

bool single_instruction(const Case& c, unsigned n, const Outcome& before, Case& out) {
  if (before.ending != Ending::Finished) return false;
  out = Case{};
  out.in = before.out;
  out.code_at = static_cast<u16>(c.code_at + c.start[n]);
  out.instructions = 1;
  out.start[1] = static_cast<u8>(c.start[n + 1] - c.start[n]);
  std::memcpy(out.code, c.code + c.start[n], out.start[1]);
  finish_code(out);
  out.in.rip = out.address_of(0);
  out.memory_seed = c.memory_seed;
  auto memory = std::make_unique<u8[]>(kDataBytes);
  fill_memory(out, memory.get());
  for (unsigned i = 0; i < kDataBytes; i += sizeof(Patch::bytes)) {
    if (std::memcmp(memory.get() + i, before.memory + i, sizeof(Patch::bytes)) == 0) continue;
    if (out.patches == kMostPatches) return false;
    out.put(kData + i, before.memory + i, sizeof(Patch::bytes));
  }
  return true;
}

}  // namespace callgate::hwfuzz
