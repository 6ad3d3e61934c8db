#include "jit/x64/segment_thunks.h"

#include "cpu/system/segments.h"

namespace callgate::jit::x64 {

namespace {

// SDM 3A, Segment Descriptors: the fields of the eight bytes, bits that PEXT puts side by side.
constexpr u64 kBaseBits = 0xFF0000FF'FFFF0000, kLimitBits = 0x000F0000'0000FFFF;
constexpr u32 kUpperCode = 1u << 11, kUpperGranular = 1u << 23;                                     // of the upper half
constexpr u32 kUpperUsual = 1u << 15 | 1u << 12 | 1u << 8;  // present, code or data, accessed
constexpr u32 kDplShift = 13, kRightsShift = 8, kRightsBits = 0xF0FF;
constexpr u8 kWritable = 2, kExpandDown = 4;  // of a data segment's type, in its rights

void emit_load_segment(x86::Assembler& a, SegReg seg, SegmentClass then) {
  asmjit::Label unusual = a.newLabel(), null = a.newLabel(), local = a.newLabel(), found = a.newLabel();
  constexpr std::size_t kGdtr = offsetof(CpuState, gdtr), kLdtr = offsetof(CpuState, ldtr);
  const Mem selector = slot(kTemp1), base = slot(kTemp2);
  // In 64-bit mode those of DS and ES count for nothing.
  const bool base_counts = then != SegmentClass::Any || seg == FS || seg == GS;
  const auto set_base = [&](const Gp& value) {
    a.mov(segment_field(seg, offsetof(Segment, base), 8), value);
    if (base_counts) a.mov(engine_field(offsetof(EngineSlots, fast_base) + seg * 8), value);
  };

  a.mov(selector, x86::rax);
  a.test(x86::eax, 0xFFFC);
  a.jz(null);
  a.mov(x86::ecx, x86::eax);
  a.or_(x86::ecx, 7);  // its descriptor's last byte
  a.test(x86::al, 4);
  a.jnz(local);
  a.and_(x86::eax, 0xFFF8);
  a.cmp(x86::cx, field(kGdtr + offsetof(TableRegister, limit), 2));
  a.ja(unusual);
  a.add(x86::rax, field(kGdtr + offsetof(TableRegister, base), 8));
  a.jmp(found);
  a.bind(local);
  a.and_(x86::eax, 0xFFF8);
  a.mov(x86::edx, field(kLdtr + offsetof(Segment, rights), 4));
  a.and_(x86::edx, kRightsUnusable | kRightsPresent);
  a.cmp(x86::edx, kRightsPresent);
  a.jne(unusual);
  a.cmp(x86::ecx, field(kLdtr + offsetof(Segment, limit), 4));
  a.ja(unusual);
  a.add(x86::rax, field(kLdtr + offsetof(Segment, base), 8));
  a.bind(found);

  // Tables are read as ring 0 would, whoever loads. (An address that is not canonical, or beyond 4 GiB outside long mode, has
  // no tag.)
  a.mov(x86::rdx, far_slot(kSupervisorTlb));
  a.rorx(x86::ecx, x86::eax, kPageShift - 3);
  a.and_(x86::ecx, (TlbTable::kSlots - 1) << 3);
  a.add(x86::rdx, x86::rcx);
  a.mov(x86::rcx, x86::ptr(x86::rdx, static_cast<i32>(offsetof(TlbTable, read_tag))));
  a.xor_(x86::rcx, x86::rax);
  a.cmp(x86::rcx, static_cast<i32>(kPageSize - sizeof(u64)));
  a.ja(unusual);
  a.add(x86::rax, x86::ptr(x86::rdx, static_cast<i32>(offsetof(TlbTable, addend))));
  a.mov(x86::rax, x86::ptr(x86::rax));

  a.rorx(x86::rdx, x86::rax, 32);
  a.mov(x86::ecx, x86::edx);
  a.and_(x86::ecx, kUpperUsual | kUpperCode);
  a.cmp(x86::ecx, kUpperUsual);
  a.jne(unusual);
  a.mov(x86::ecx, x86::edx);
  a.shr(x86::ecx, kDplShift);
  a.and_(x86::ecx, 3);
  a.cmp(x86::cl, field(offsetof(CpuState, cpl), 1));
  a.jb(unusual);
  a.mov(base, x86::rax);
  a.mov(x86::eax, slot(kTemp1, 4));
  a.and_(x86::eax, 3);
  a.cmp(x86::ecx, x86::eax);
  a.jb(unusual);
  a.mov(x86::rax, base);
  a.mov(x86::rcx, kBaseBits);
  a.pext(x86::rcx, x86::rax, x86::rcx);
  a.mov(base, x86::rcx);
  if (then == SegmentClass::FlatAtZero || then == SegmentClass::Flat) {
    a.test(x86::ecx, x86::ecx);
    if (then == SegmentClass::FlatAtZero) a.jnz(unusual);
    else a.jz(unusual);
  }
  a.mov(x86::rcx, kLimitBits);
  a.pext(x86::rcx, x86::rax, x86::rcx);
  asmjit::Label in_bytes = a.newLabel();
  a.test(x86::edx, kUpperGranular);
  a.jz(in_bytes);
  a.shl(x86::ecx, 12);
  a.or_(x86::ecx, 0xFFF);
  a.bind(in_bytes);
  a.shr(x86::edx, kRightsShift);
  a.and_(x86::edx, kRightsBits);
  asmjit::Label right_class = a.newLabel();
  switch (then) {
    case SegmentClass::Any: break;
    case SegmentClass::Other:
      a.test(x86::dl, kWritable);
      a.jz(right_class);
      a.test(x86::dl, kExpandDown);
      a.jz(unusual);
      break;
    default:
      a.test(x86::dl, kWritable);
      a.jz(unusual);
      a.test(x86::dl, kExpandDown);
      a.jnz(unusual);
      a.cmp(x86::ecx, -1);
      if (then == SegmentClass::Limited) a.je(unusual);
      else a.jne(unusual);
  }
  a.bind(right_class);

  a.mov(segment_field(seg, offsetof(Segment, limit), 4), x86::ecx);
  a.mov(segment_field(seg, offsetof(Segment, rights), 4), x86::edx);
  a.mov(x86::rcx, base);
  set_base(x86::rcx);
  a.mov(x86::rax, selector);
  a.mov(segment_field(seg, offsetof(Segment, selector), 2), x86::ax);
  a.clc();
  a.ret();

  a.bind(null);
  if (then == SegmentClass::Any || then == SegmentClass::Other) {
    static_assert(null_segment(1).base == 0 && null_segment(1).limit == 0 && null_segment(1).rights == kRightsUnusable);
    a.xor_(x86::ecx, x86::ecx);
    set_base(x86::rcx);
    a.mov(segment_field(seg, offsetof(Segment, limit), 4), 0);
    a.mov(segment_field(seg, offsetof(Segment, rights), 4), kRightsUnusable);
    a.mov(segment_field(seg, offsetof(Segment, selector), 2), x86::ax);
    a.clc();
    a.ret();
  }
  a.bind(unusual);
  a.stc();
  a.ret();
}

}  // namespace

const u8* SegmentThunks::routine(SegReg seg, SegmentClass then) {
  const u8*& at = routines_[seg][static_cast<unsigned>(then)];
  if (at == nullptr) {
    asmjit::CodeHolder code;
    code.init(asmjit::Environment::host());
    x86::Assembler a(&code);
    emit_load_segment(a, seg, then);
    code.flatten();
    code.resolveUnresolvedLinks();
    const asmjit::CodeBuffer& buffer = code.sectionById(0)->buffer();
    at = arena_.append_at_back(buffer.data(), buffer.size());  // it calls nothing: any place will do
  }
  return at;
}

}  // namespace callgate::jit::x64
