#include "jit/x64/segment_form.h"

#include <string_view>

#include "cpu/table/row.h"

namespace callgate::jit::x64 {

SegmentForm segment_form(const ir::Mode& mode, u8 limited, const Insn& i) {
  if (i.row == nullptr || mode.real) return {};
  const auto flat = [&](unsigned seg) { return mode.long64 || (mode.flat_segments & ~limited) >> seg & 1; };
  const auto at_zero = [&](unsigned seg) { return mode.long64 || (flat(seg) && mode.zero_bases >> seg & 1); };
  const std::string_view name = i.row->name, encoding = i.row->encoding;
  SegmentForm form;
  if (name == "mov" && encoding == "8E /r") {
    form.seg = static_cast<SegReg>(i.reg & 7);
    if (!i.is_memory) form.kind = SegmentForm::FromRegister;
    else if (flat(i.seg)) form.kind = SegmentForm::FromMemory;
  } else if (name == "pop" && mode.stack_size >= 4 && i.width == mode.stack_size && at_zero(SS)) {
    form.kind = SegmentForm::Pop;
    if (encoding == "07") form.seg = ES;
    else if (encoding == "1F") form.seg = DS;
    else if (encoding == "0F A1") form.seg = FS;
    else if (encoding == "0F A9") form.seg = GS;
    else return {};
  }
  if (form.seg == CS || form.seg == SS || form.seg >= kSegCount) return {};
  if (mode.long64) form.then = SegmentClass::Any;
  else if (limited >> form.seg & 1) form.then = SegmentClass::Limited;
  else if (at_zero(form.seg)) form.then = SegmentClass::FlatAtZero;
  else if (flat(form.seg)) form.then = SegmentClass::Flat;
  else form.then = SegmentClass::Other;
  return form;
}

}  // namespace callgate::jit::x64
