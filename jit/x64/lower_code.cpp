// Blocks of code that is rewritten again and again: the comparison at the entry, and immediates that are read from the code.
#include <cstring>

#include "base/verify.h"
#include "jit/rewritten_code.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

// No EFLAGS are the guest's at an entry, and the scratch registers are free. The code is compared in pieces of 8, 4, 2 and 1
// bytes: not more at once than what a guest is likely to have stored at once, so that the store's data can be forwarded.
void Emitter::emit_check(const CodeCheck& check) {
  mismatch_ = a_.newLabel();
  a_.mov(x86::rcx, reinterpret_cast<u64>(check.code));
  const auto compared = [&](u32 at) { return at < check.size && (at >= check.rewritten.size() || check.rewritten[at] == 0); };
  for (u32 at = 0; at < check.size;) {
    u32 run = 0;
    while (run < 8 && compared(at + run)) run++;
    if (run == 0) {
      at++;
      continue;
    }
    const u32 size = run >= 8 ? 8 : run >= 4 ? 4 : run >= 2 ? 2 : 1;
    u64 expected = 0;
    std::memcpy(&expected, check.code + at, size);
    const Mem place = x86::ptr(x86::rcx, static_cast<i32>(at), size);
    if (size == 8) {
      a_.mov(x86::rax, expected);
      a_.cmp(place, x86::rax);
    } else {
      a_.cmp(place, asmjit::Imm(sign_extend(expected, 8 * size)));
    }
    a_.jne(mismatch_);
    at += size;
  }
  links_.push_back({a_.newLabel(), 0, block_->rip});
}

// Out of line: the one jump that is patched.
void Emitter::emit_mismatch() {
  if (context_.check == nullptr) return;
  a_.bind(mismatch_);
  a_.long_().jmp(links_[0].stub);
  links_[0].displacement = a_.offset() - 4;
}

bool is_code_bytes(const ir::OpInfo* info) { return info == &kCode4As4 || info == &kCode4As8 || info == &kCode8As8; }

void Emitter::lower_code_bytes(const ir::Op& op, ir::ValueId id) {
  VERIFY(context_.check != nullptr, "an immediate of code that is not looked at");
  const Gp r = scratch(8);
  a_.mov(r, reinterpret_cast<u64>(context_.check->code + op.imm));
  if (op.info == &kCode4As8) a_.movsxd(r, x86::ptr(r, 0, 4));
  else a_.mov(resize(r, op.size), x86::ptr(r, 0, op.size));
  set_host(id, r);
}

}  // namespace callgate::jit::x64
