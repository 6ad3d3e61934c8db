#include "cpu/system/transfer_helpers.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {

/// A row whose mnemonic is shared by several helpers.
#define CG_TRANSFER(ENCODING, MNEMONIC, FUNCTION, OPERANDS, ATTRIBUTES, FLAGS, FEATURE)                        \
  Row {                                                                                                        \
    ENCODING, MNEMONIC, OPERANDS, (ATTRIBUTES) | kSystem, FLAGS, FEATURE,                                      \
        helper_handlers<OPERANDS, static_cast<u32>((ATTRIBUTES) | kSystem), helpers::FUNCTION>()               \
  }

constexpr FlagEffect kZfOnly = writes(kZF);
constexpr FlagEffect kWritesAll = writes(kArithmetic);
/// May switch tasks: EFLAGS is saved and loaded.
constexpr FlagEffect kReplaced = writes(kArithmetic).reads(kArithmetic);

const Row kRows[] = {
    // Far transfers.
    CG_TRANSFER("EA ap", "ljmp", far_jump_direct, "Ap", kNo64 | kBranch, kReplaced, ""),
    CG_TRANSFER("FF /5", "ljmp", far_jump_indirect, "Mp", kBranch, kReplaced, ""),
    CG_TRANSFER("9A ap", "lcall", far_call_direct, "Ap", kNo64 | kBranch, kReplaced, ""),
    CG_TRANSFER("FF /3", "lcall", far_call_indirect, "Mp", kBranch, kReplaced, ""),
    CG_TRANSFER("CB", "retf", far_return, "", kBranch, kNoFlags, ""),
    CG_TRANSFER("CA iw", "retf", far_return, "Iw", kBranch, kNoFlags, ""),
    CG_TRANSFER("CF", "iret", iret, "", kBranch, kReplaced, ""),
    // Software interrupts.
    CG_TRANSFER("CC", "int3", int3, "", kBranch, kReplaced, ""),
    CG_TRANSFER("CD ib", "int", int_n, "Ib", kBranch, kReplaced, ""),
    CG_TRANSFER("CE", "into", into, "", kNo64 | kBranch, kReplaced, ""),
    CG_TRANSFER("F1", "int1", int1, "", kBranch, kReplaced, ""),
    // Segment registers.
    CG_TRANSFER("8C /r", "mov", mov_from_segment, "Ev,Sw", kNoAttr, kNoFlags, ""),
    CG_TRANSFER("8E /r", "mov", mov_to_segment, "Sw,Ew", kBranch, kNoFlags, ""),
    CG_TRANSFER("06", "push", push_segment<ES>, "", kNo64, kNoFlags, ""),
    CG_TRANSFER("0E", "push", push_segment<CS>, "", kNo64, kNoFlags, ""),
    CG_TRANSFER("16", "push", push_segment<SS>, "", kNo64, kNoFlags, ""),
    CG_TRANSFER("1E", "push", push_segment<DS>, "", kNo64, kNoFlags, ""),
    CG_TRANSFER("0F A0", "push", push_segment<FS>, "", kDef64, kNoFlags, ""),
    CG_TRANSFER("0F A8", "push", push_segment<GS>, "", kDef64, kNoFlags, ""),
    CG_TRANSFER("07", "pop", pop_segment<ES>, "", kNo64 | kBranch, kNoFlags, ""),
    CG_TRANSFER("17", "pop", pop_segment<SS>, "", kNo64 | kBranch, kNoFlags, ""),
    CG_TRANSFER("1F", "pop", pop_segment<DS>, "", kNo64 | kBranch, kNoFlags, ""),
    CG_TRANSFER("0F A1", "pop", pop_segment<FS>, "", kDef64 | kBranch, kNoFlags, ""),
    CG_TRANSFER("0F A9", "pop", pop_segment<GS>, "", kDef64 | kBranch, kNoFlags, ""),
    CG_TRANSFER("C4 /r", "les", load_far_pointer<ES>, "Gv,Mp", kNo64 | kBranch, kNoFlags, ""),
    CG_TRANSFER("C5 /r", "lds", load_far_pointer<DS>, "Gv,Mp", kNo64 | kBranch, kNoFlags, ""),
    CG_TRANSFER("0F B2 /r", "lss", load_far_pointer<SS>, "Gv,Mp", kBranch, kNoFlags, ""),
    CG_TRANSFER("0F B4 /r", "lfs", load_far_pointer<FS>, "Gv,Mp", kBranch, kNoFlags, ""),
    CG_TRANSFER("0F B5 /r", "lgs", load_far_pointer<GS>, "Gv,Mp", kBranch, kNoFlags, ""),
    // Descriptors.
    CG_TRANSFER("0F 00 /0", "sldt", sldt, "Ev", kNoReal, kNoFlags, ""),
    CG_TRANSFER("0F 00 /1", "str", str, "Ev", kNoReal, kNoFlags, ""),
    CG_TRANSFER("0F 00 /2", "lldt", lldt, "Ew", kNoReal | kCpl0 | kBranch, kNoFlags, ""),
    CG_TRANSFER("0F 00 /3", "ltr", ltr, "Ew", kNoReal | kCpl0 | kBranch, kNoFlags, ""),
    CG_TRANSFER("0F 00 /4", "verr", verr, "Ew", kNoReal, kZfOnly, ""),
    CG_TRANSFER("0F 00 /5", "verw", verw, "Ew", kNoReal, kZfOnly, ""),
    CG_TRANSFER("0F 02 /r", "lar", lar, "Gv,Ew", kNoReal, kZfOnly, ""),
    CG_TRANSFER("0F 03 /r", "lsl", lsl, "Gv,Ew", kNoReal, kZfOnly, ""),
    CG_TRANSFER("63 /r", "arpl", arpl, "Ew,Gw", kNoReal | kNo64, kZfOnly, ""),
    // Fast system calls, and the bases of FS and GS.
    CG_TRANSFER("0F 05", "syscall", syscall, "", kBranch, kReplaced, "syscall"),
    CG_TRANSFER("0F 07", "sysret", sysret, "", kBranch, kWritesAll, "syscall"),
    CG_TRANSFER("0F 34", "sysenter", sysenter, "", kBranch, kNoFlags, "sep"),
    CG_TRANSFER("0F 35", "sysexit", sysexit, "", kBranch, kNoFlags, "sep"),
    CG_TRANSFER("0F 01 =F8", "swapgs", swapgs, "", kOnly64 | kCpl0, kNoFlags, ""),
    CG_TRANSFER("F3 0F AE /0 /reg", "rdfsbase", rdfsbase, "Ry", kOnly64, kNoFlags, "fsgsbase"),
    CG_TRANSFER("F3 0F AE /1 /reg", "rdgsbase", rdgsbase, "Ry", kOnly64, kNoFlags, "fsgsbase"),
    CG_TRANSFER("F3 0F AE /2 /reg", "wrfsbase", wrfsbase, "Ry", kOnly64 | kBranch, kNoFlags, "fsgsbase"),
    CG_TRANSFER("F3 0F AE /3 /reg", "wrgsbase", wrgsbase, "Ry", kOnly64 | kBranch, kNoFlags, "fsgsbase"),
};

#undef CG_TRANSFER

}  // namespace

std::span<const Row> transfer_rows() { return kRows; }

}  // namespace callgate
