// Integer operations that came late: ADX, CRC32, MOVBE. They have no names in the IR.
#include <array>

#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

namespace Inst = x86::Inst;

namespace {
template <class Op, class... T>
constexpr const ir::OpInfo* info_of() {
  return &ir::op_info<Op, T...>;
}
}  // namespace

Extension extension_of(const ir::OpInfo* info) {
  static constexpr struct {
    const ir::OpInfo* info;
    Extension extension;
  } kAll[] = {
      {info_of<alu::ReverseBytes, u16>(), Extension::ReverseBytes}, {info_of<alu::ReverseBytes, u32>(), Extension::ReverseBytes},
      {info_of<alu::ReverseBytes, u64>(), Extension::ReverseBytes}, {info_of<alu::Crc32, u32, u8>(), Extension::Crc32},
      {info_of<alu::Crc32, u32, u16>(), Extension::Crc32},          {info_of<alu::Crc32, u32, u32>(), Extension::Crc32},
      {info_of<alu::Crc32, u32, u64>(), Extension::Crc32},          {info_of<alu::Adcx, u32, u32>(), Extension::Adcx},
      {info_of<alu::Adcx, u64, u64>(), Extension::Adcx},            {info_of<alu::Adox, u32, u32>(), Extension::Adox},
      {info_of<alu::Adox, u64, u64>(), Extension::Adox},
  };
  for (const auto& e : kAll)
    if (e.info == info) return e.extension;
  return Extension::None;
}

void Emitter::lower_extension(const ir::Op& op, ir::ValueId id) {
  const ir::ValueId a = op.args[0];
  const unsigned size = op.info->arg_size[0];
  const Extension what = extension_of(op.info);
  if (what == Extension::ReverseBytes) {  // without a change of EFLAGS
    const Gp r = own(a, size);
    a_.bswap(resize(r, size == 8 ? 8 : 4));
    if (size == 2) a_.rorx(resize(r, 4), resize(r, 4), 16);
    return set_host(id, r);
  }
  const ir::ValueId b = op.args[1];
  if (what == Extension::Crc32) {
    const unsigned bytes = op.info->arg_size[1];
    const asmjit::Operand data = rm(b, bytes);
    const Gp r = own(a, bytes == 8 ? 8 : 4);
    a_.emit(Inst::kIdCrc32, r, data);
    return set_host(id, r);
  }
  VERIFY_BLOCK(what != Extension::None, "an operation that can_lower() should have refused");
  // Only their carry changes; the other flags are in EFLAGS if anybody wants them.
  need_others(op);
  if (what == Extension::Adcx) need_carry();
  else restore_flags();
  const asmjit::Operand right = rm(b, size);
  const Gp r = own(a, size);
  a_.emit(what == Extension::Adcx ? Inst::kIdAdcx : Inst::kIdAdox, r, right);
  set_host(id, r);
  flags_defined(op);
}

}  // namespace callgate::jit::x64
