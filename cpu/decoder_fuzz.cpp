// The decoder against libFuzzer: any bytes in any mode, with the promises that its callers rely on.
#include <cstdlib>

#include "cpu/decoder.h"

using namespace callgate;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (size == 0) return 0;
  const CodeSize mode = static_cast<CodeSize>(data[0] % 3);
  const std::span<const u8> bytes(data + 1, size - 1);
  Insn insn;
  const DecodeStatus status = decode(bytes, mode, insn);
  if (status == DecodeStatus::Truncated) return bytes.size() > kMaxInsnLength ? (std::abort(), 0) : 0;
  if (insn.exec == nullptr) std::abort();
  if (insn.length == 0 || insn.length > kMaxInsnLength) std::abort();
  if (insn.base >= kGprSlots || insn.index > kGprZero || insn.scale > 3 || insn.seg >= kSegCount) std::abort();
  if (insn.reg > 15 || insn.rm > 15 || insn.reg_byte >= 128 || insn.rm_byte >= 128) std::abort();
  if (status != DecodeStatus::Ok) return 0;
  // Bytes behind the instruction change nothing; a byte less is not enough.
  Insn again;
  if (decode(bytes.first(insn.length), mode, again) != DecodeStatus::Ok || again.length != insn.length) std::abort();
  if (decode(bytes.first(insn.length - 1u), mode, again) != DecodeStatus::Truncated) std::abort();
  return 0;
}
