// The interpreter: the reference engine. Executes decoded instructions one by one on a Cpu until a count is reached.
#pragma once

#include <vector>

#include "cpu/cpu.h"
#include "cpu/decode_cache.h"
#include "cpu/decoder.h"

namespace callgate {

class Interpreter {
 public:
  explicit Interpreter(DecodeCache& decoded) : decoded_(decoded) {}

  /// Runs `cpu` until it has retired `until` instructions, or is no longer running (halted with nothing to wake it, shut
  /// down), or `stop` is set. Faults and interrupts are delivered on the way. Whoever lowers `until` or sets `stop` while
  /// this runs (a device, from inside an instruction) calls Cpu::request_attention(). Never raises.
  void run(Cpu& cpu, const u64& until, const bool& stop);

  /// Runs a running processor until it has retired `until` instructions, or something asks for attention, or a fault was
  /// delivered. Looks at no events. When the processor is watched, it ends
  /// early before an instruction that may have a stop, and executes none when there is one. Never raises.
  void advance(Cpu& cpu, const u64& until);
  /// The same, but it ends behind an instruction after which control may go elsewhere, too.
  void advance_to_branch(Cpu& cpu, const u64& until);

 private:
  template <bool ToBranch>
  void advance_by(Cpu& c, const u64& until);
  template <bool ToBranch>
  void execute_fast(Cpu& c, const u64& until);
  void execute_one_carefully(Cpu& c);
  /// The instruction at RIP: fetched with all checks, from the cache or decoded into `scratch_`.
  const Insn& fetch(Cpu& c);
  const Insn& fetch_across_pages(Cpu& c, const u8* first, unsigned available);
  /// The same for one whose first part, `have` bytes of RAM, is known to end before it does.
  const Insn& fetch_in_two_parts(Cpu& c, const u8* first, unsigned have);
  /// The host's memory of the code at `rip`, to the end of its page; nullptr and the physical address when it isn't RAM.
  const u8* translate_code(Cpu& c, u64 rip, u64* physical);

  /// An instruction that lies in two pages, and the bytes that it was decoded from: it is that one again while they are the same.
  struct InTwoPages {
    u8 bytes[kMaxInsnLength] = {};
    u8 have = 0;  ///< of them in the first page; 0: none is kept
    CodeSize size = CodeSize::Bits16;
    Insn insn;
  };
  static constexpr unsigned kInTwoPages = 64;

  DecodeCache& decoded_;
  Insn scratch_;
  std::vector<InTwoPages> in_two_pages_ = std::vector<InTwoPages>(kInTwoPages);  ///< by a hash of the first page's address
};

/// The linear address of the instruction at `rip`.
inline u64 code_linear(const Cpu& c, u64 rip) {
  return c.bits64() ? rip : (c.s.seg[CS].base + rip) & 0xFFFFFFFF;
}

}  // namespace callgate
