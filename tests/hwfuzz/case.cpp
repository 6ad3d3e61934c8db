#include "tests/hwfuzz/case.h"

#include <algorithm>
#include <cstring>

#include "cpu/fp/hard_operands.h"

namespace callgate::hwfuzz {

void Case::put(u64 at, const void* bytes, unsigned size) {
  const u8* from = static_cast<const u8*>(bytes);
  while (size > 0 && patches < kMostPatches) {
    const unsigned n = std::min<unsigned>(size, sizeof(Patch::bytes));
    // A patch that crosses an end of the data pages is cut there.
    unsigned skip = 0, keep = n;
    if (at < kData) skip = static_cast<unsigned>(std::min<u64>(n, kData - at));
    if (at >= kDataEnd)
      keep = 0;
    else if (at + n > kDataEnd)
      keep = static_cast<unsigned>(kDataEnd - at);
    if (skip < keep) {
      Patch& p = patch[patches++];
      p.offset = static_cast<u16>(at + skip - kData);
      p.size = static_cast<u16>(keep - skip);
      std::memcpy(p.bytes, from + skip, keep - skip);
    }
    at += n;
    from += n;
    size -= n;
  }
}

void fill_memory(const Case& c, u8* memory) {
  if (c.memory_seed == 0) {
    std::memset(memory, 0, kDataBytes);
  } else {
    fp::TestRandom random(c.memory_seed);
    for (unsigned i = 0; i < kDataBytes; i += 8) store_as<u64>(memory + i, random.next());
  }
  for (unsigned i = 0; i < c.patches; i++) std::memcpy(memory + c.patch[i].offset, c.patch[i].bytes, c.patch[i].size);
}

void finish_code(Case& c) {
  const unsigned at = c.start[c.instructions];
  c.code[at] = 0xE9;
  const u64 next = kCode + c.code_at + at + kExitJump;
  store_as<u32>(c.code + at + 1, static_cast<u32>(kExit - next));
  c.code_size = static_cast<u8>(at + kExitJump);
}

}  // namespace callgate::hwfuzz
