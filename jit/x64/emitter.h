// Emits host code for a block of IR on x86-64. One pass over the ops; a value has a location from the op that makes it to its
// last use, and an op's lowering sees where its operands are: so a load is folded into the instruction that uses it, and a
// result is computed in the register that it will be written to.
//
// Host flags carry the guest's. `flags_in_host_` says that EFLAGS hold them; `flags_dirty_` that the image in memory
// (Slot::kFlagsImage) is older. What somebody may read is saved before an instruction that destroys EFLAGS, unless there is a
// recipe: a host instruction that makes the same flags again from registers that still hold its operands. Then only those
// who leave pay, out of line.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory_resource>
#include <unordered_map>
#include <vector>

#include "cpu/ir/ir.h"
#include "jit/passes/loop_streams.h"
#include "jit/x64/entry_state.h"
#include "jit/x64/flag_thunks.h"
#include "jit/x64/host.h"
#include "jit/x64/registers.h"
#include "jit/x64/segment_form.h"
#include "jit/x64/segment_thunks.h"
#include "jit/x64/special_form.h"
#include "jit/x64/system_form.h"
#include "jit/x64/thunks.h"
#include "jit/x64/vector_form.h"
#include "jit/x64/vex_form.h"
#include "jit/x64/x87_form.h"

namespace callgate::jit::x64 {

/// A jump that can be made to go to another block directly.
struct LinkPlace {
  u64 target = 0;            ///< guest RIP
  const u8* jump = nullptr;  ///< the 32-bit displacement of the host's jump; nullptr: it isn't patched
  const u8* stub = nullptr;  ///< where it goes while it isn't linked
  u16 state = 0;             ///< what the jump leaves (EntryStates)
  // If that isn't the plain state, the stub makes it plain, counts, and has a jump of its own to the plain version.
  const u8* plain_jump = nullptr;
  const u8* plain_stub = nullptr;
};

/// Code that is rewritten again and again: a block looks at its entry whether it still is what was translated.
struct CodeCheck {
  const u8* code = nullptr;  ///< the block's first byte, in RAM
  u32 size = 0;
  const std::vector<u8>& rewritten;  ///< as ir::Block's: bytes that are not compared
};

/// What a block became.
struct Emitted {
  const u8* entry = nullptr;
  std::size_t size = 0;
  std::vector<LinkPlace> links;
  std::vector<u32> starts;  ///< where the code of each instruction begins; then that of what is out of line
};

/// What the emitter works with, kept from block to block.
struct Workshop {
  explicit Workshop(CodeArena& arena) : flags(arena), segments(arena) {}
  asmjit::CodeHolder code;
  x86::Assembler assembler;
  std::array<std::byte, 64 << 10> first_memory;
  std::pmr::monotonic_buffer_resource memory{first_memory.data(), first_memory.size()};  ///< of one block's emission
  std::vector<u8> bytes;
  FlagThunks flags;
  SegmentThunks segments;
};

/// What the emitter needs of the translator.
struct EmitContext {
  CodeArena& arena;
  const Thunks& thunks;
  const Host& host;
  std::deque<Site>& sites;  ///< appended to: a site's number is its index
  std::deque<Insn>& insns;   ///< appended to: what sites point to
  std::unordered_map<const Row*, RowCounts>& counts;
  EntryStates& states;
  Workshop& workshop;
  const std::function<u32*()>& new_counter;  ///< where a link with a state counts its jumps down; called once for each
  u32 block_number = 0;
  u32 first_link = 0;   ///< the number of the block's first link
  bool chaining = true;
  u16 entry_state = 0;  ///< what the block may rely on
  const CodeCheck* check = nullptr;  ///< then the block's first link is where it goes when its code is another one
  u8 limited_segments = 0;  ///< bit i: accesses through segment i look at its limit
  u32 code_base = 0;        ///< of the code's segment
};

/// True when every op of the instruction has a lowering.
bool can_lower(const ir::Block& block, const ir::BlockInsn& insn, const Host& host);

/// VERIFY in the emitter's members: it tells the block, too.
#define VERIFY_BLOCK(condition, why) (__builtin_expect(!!(condition), 1) ? void(0) : fail(#condition, __FILE__, __LINE__, why))

/// The rounds of a block that is a loop (jit/passes/loop_streams.h).
struct Loop {
  ir::Block body;
  LoopPlan plan;
};

/// The op is an immediate that is read from the code (jit/rewritten_code.h).
bool is_code_bytes(const ir::OpInfo* info);

/// Operations without a name in the IR that have a lowering.
enum class Extension : u8 { None, ReverseBytes, Crc32, Adcx, Adox };
Extension extension_of(const ir::OpInfo* info);

class Emitter final : private asmjit::ErrorHandler {
 public:
  /// `loop`: the rounds of the block, or nullptr.
  Emitter(const EmitContext& context, const ir::Block& block, const Loop* loop = nullptr);
  /// Nothing is emitted (Emitted::entry is nullptr) where the arena is full, or where a round's end doesn't leave what its
  /// start relies on.
  Emitted emit();

 private:
  [[noreturn]] void fail(const char* condition, const char* file, int line, const char* why) const;
  /// An instruction that doesn't exist: the assembler would leave it out.
  void handleError(asmjit::Error error, const char* message, asmjit::BaseEmitter* origin) override;

  /// Where a value is.
  struct Loc {
    enum Kind : u8 {
      None,
      Imm,       ///< imm
      Guest,     ///< still in guest register reg (bits 15..8 of it if high)
      Host,      ///< in host register reg
      Memory,    ///< in the guest's memory at [rax]; used once
      Spilled,   ///< in temp slot reg
      Cond,      ///< condition cc of the guest's flags
      Pair,      ///< a struct of two: in rax and rdx
      Done,      ///< already where it will be written
    } kind = None;
    u8 reg = 0;
    bool high = false;
    u64 imm = 0;
  };
  /// The last x87 instruction, when CpuState doesn't name it yet.
  struct LastX87 {
    bool valid = false;
    u16 opcode = 0;
    u64 rip = 0;
  };
  struct ColdStub {
    asmjit::Label entry, back;
    u32 site;
    const u8* thunk;
    FlagRecipe recipe{};
    u8 group = 0;  ///< where the addend is to be kept
    Gp address{};  ///< what the thunk wants in rax, when it isn't there yet
    Gp result{};   ///< where its result is wanted, when that isn't rax
    LastX87 x87{};
  };

  /// A conditional jump out of the middle of a block.
  struct SideExit {
    asmjit::Label label;
    u64 target;
    EntryState state;
    u32 done;  ///< instructions of the block, or of the round
    bool in_rounds;
  };

  // --- emitter.cpp: the block and its exits
  void begin(const ir::Block& part);
  void emit_insn(const ir::BlockInsn& insn);
  void emit_op(const ir::Op& op, ir::ValueId id);
  void emit_handler(const ir::BlockInsn& insn);
  void emit_step(const ir::BlockInsn& insn);
  u32 add_handler_site(const ir::BlockInsn& insn);
  /// Nothing that the emitter knew of flags and units holds any longer.
  void after_handler();
  void emit_cold_stubs();
  void save_by(const FlagRecipe& recipe);
  u32 add_site(const ir::BlockInsn& insn, unsigned size);
  asmjit::Label bail_label();
  bool destroys_flags(const ir::BlockInsn& insn) const;

  // --- loop.cpp: rounds that can't leave
  bool emit_rounds();
  void probe_stream(const LoopStream& stream, unsigned number, asmjit::Label otherwise);
  void limit_rounds(const LoopStream& stream, u32 bytes, asmjit::Label otherwise);
  void stream_address(const ir::Op& op);
  void end_round(asmjit::x86::CondCode again);

  // --- values (values.cpp)
  const ir::Op& op_of(ir::ValueId v) const { return block_->ops[v]; }
  bool is_imm(ir::ValueId v) const { return loc_[v].kind == Loc::Imm; }
  /// One use of `v` is over. During a lowering the op's own uses are still counted.
  void used(ir::ValueId v);
  bool live(ir::ValueId v) const { return uses_[v] != 0; }
  bool last_use(ir::ValueId v) const { return uses_[v] == 1; }
  /// A scratch register, the lowering's own until it ends; values that were there move to temp slots.
  Gp scratch(unsigned size);
  /// The scratch register `host`, likewise.
  Gp claim(unsigned host, unsigned size);
  void free_scratch(unsigned host, ir::ValueId v);
  /// Moves values out of scratch registers in `mask` (bit per host register) to temp slots.
  void spill(u32 mask);
  /// `v` in a register of `size` bytes; may be the guest's own: don't change it.
  Gp reg(ir::ValueId v, unsigned size);
  /// Emits a move of `v` to the scratch register `r`.
  void load_into(const Gp& into, ir::ValueId v);
  /// `v` in a scratch register that the lowering may change.
  Gp own(ir::ValueId v, unsigned size);
  /// `v` as a register, memory, or (if it fits in 32 bits, sign-extended) immediate operand.
  asmjit::Operand rmi(ir::ValueId v, unsigned size);
  /// `v` as a register or memory operand.
  asmjit::Operand rm(ir::ValueId v, unsigned size);
  void set_host(ir::ValueId v, const Gp& r);
  void set_imm(ir::ValueId v, u64 imm);
  /// Values still in guest register `guest` go elsewhere, because it is about to be written.
  void rescue(unsigned guest, ir::ValueId except = ir::kNoValue);
  /// The guest register that result `v` goes to next as a whole (size 4 or 8) and only, if pinned; else -1.
  int target_of(ir::ValueId v) const;

  // --- flags (flags.cpp)
  template <class Body>
  void with_rax(Body body);
  void save_flags();
  void restore_flags();
  /// EFLAGS are about to be destroyed.
  void destroy_flags();
  /// EFLAGS now hold the flags that `op` defines (and, if partial, the others too).
  void flags_defined(const ir::Op& op) { flags_defined(op, FlagRecipe{}); }
  void flags_defined(const ir::Op& op, const FlagRecipe& recipe);
  /// The recipe of CMP or TEST of two values that stay where they are; none if they don't.
  FlagRecipe compare_recipe(u32 inst, ir::ValueId a, ir::ValueId b, unsigned size) const;
  /// The recipe of ADD, SUB and logic, whose result is in guest register `a`.
  FlagRecipe result_recipe(ir::OpKind kind, unsigned a, ir::ValueId b, unsigned size) const;
  bool writes_inputs_of(const FlagRecipe& recipe, const ir::BlockInsn& insn) const;
  bool read_when_gone(u32 flags) const;
  bool survives_to_plain_end(u32 flags) const;
  void follow(const FlagRecipe& recipe);
  /// EFLAGS hold all of the guest's flags that are read after this instruction and not written by `op`.
  void need_others(const ir::Op& op);
  /// EFLAGS.CF is the guest's.
  void need_carry();
  asmjit::x86::CondCode need_condition(unsigned cc);
  void store_image(const Gp& image16);

  // --- lower_memory.cpp
  void effective_address(const ir::Mem& mem, const Gp& into, bool with_segment);
  /// The host address of a memory op's operand to rax.
  void probe(const ir::Op& op, unsigned alignment = 1);
  void probed_address(const ir::Op& op);
  bool is_single_access() const;
  void check_limit(unsigned seg, unsigned size);
  Mem group_addend(unsigned group) const;
  /// The bytes of the last memory op that was probed for.
  Mem operand(unsigned size) const {
    Mem m = operand_;
    m.setSize(size);
    return m;
  }
  void lower_load(const ir::Op& op, ir::ValueId id, bool write);
  void lower_store(const ir::Op& op);
  void lower_update(const ir::Op& op);
  void lower_address(const ir::Op& op, ir::ValueId id);

  // --- lower_integer.cpp
  struct Place {
    asmjit::Operand where;
    bool memory = false;
  };
  Place place_of(const ir::Op& op, ir::ValueId id);
  /// `v` as a register or immediate operand.
  asmjit::Operand ri(ir::ValueId v, unsigned size);
  void lower_compute(const ir::Op& op, ir::ValueId id);
  void lower_binary(const ir::Op& op, ir::ValueId id);
  void lower_unary(const ir::Op& op, ir::ValueId id);
  void lower_shift(const ir::Op& op, ir::ValueId id);
  void lower_double_shift(const ir::Op& op, ir::ValueId id);
  void lower_bit(const ir::Op& op, ir::ValueId id);
  void lower_bit_scan(const ir::Op& op, ir::ValueId id);
  void lower_bit_count(const ir::Op& op, ir::ValueId id);
  void lower_flagless_shift(const ir::Op& op, ir::ValueId id);
  void lower_multiply(const ir::Op& op, ir::ValueId id);
  void lower_divide(const ir::Op& op, ir::ValueId id);
  void lower_flag_op(const ir::Op& op, ir::ValueId id);
  void lower_predicate(const ir::Op& op, ir::ValueId id);

  // --- lower_wide.cpp
  void product_flags(const ir::Op& op, const Gp& low, const Gp& helper);
  Gp operand_in_rcx(ir::ValueId v, unsigned size);
  void set_pair(ir::ValueId id);

  // --- lower_vector.cpp
  void need_vectors();
  void emit_vector(const VectorForm& form);
  void emit_vector_move(const VectorForm& form);
  asmjit::Operand vector_operand(const VectorOperand& operand, const VectorForm& form);

  // --- lower_extension.cpp
  void lower_extension(const ir::Op& op, ir::ValueId id);

  // --- lower_vex.cpp
  void need_wide_vectors();
  void emit_vex(const VexForm& form);
  void emit_vex_vector(const VexForm& form);
  void emit_vex_integer(const VexForm& form);
  /// The access to memory of an instruction with one at most.
  const ir::Op* access_of_insn() const;

  // --- lower_x87.cpp
  void need_x87();
  void emit_x87(const X87Form& form);
  void embed_x87(const X87Form& form);
  void store_last_x87(const LastX87& last);
  /// CpuState names the last x87 instruction.
  void settle_x87();

  // --- lower_system.cpp
  void emit_system(const ir::BlockInsn& insn, SystemForm form);
  void emit_syscall(u64 return_rip, const asmjit::Label& slow);
  void emit_sysret(const asmjit::Label& slow);
  void emit_read_time(const ir::BlockInsn& insn, bool processor_too, const asmjit::Label& slow);
  void require_ring0(const asmjit::Label& slow);
  void load_flat_segments(unsigned dpl);
  void write_flags_from_eax();
  void enter_context(AccessContext context);

  // --- lower_iret.cpp
  void emit_iretq(const asmjit::Label& slow);
  void return_by_frame(unsigned dpl, const asmjit::Label& slow);
  void require_flat(i32 offset, unsigned dpl, bool code, const asmjit::Label& slow);
  void look_up_read(unsigned size, const asmjit::Label& otherwise);

  // --- lower_segment.cpp
  void emit_segment_load(const ir::BlockInsn& insn, const SegmentForm& form);

  // --- lower_special.cpp
  void emit_special(SpecialForm form);
  void emit_push_flags();
  void emit_compare_swap();

  // --- lower_code.cpp
  void emit_check(const CodeCheck& check);
  void emit_mismatch();
  void lower_code_bytes(const ir::Op& op, ir::ValueId id);

  // --- lower_data.cpp
  void lower_write_gpr(const ir::Op& op);
  void lower_extend(const ir::Op& op, ir::ValueId id, bool sign);
  void lower_truncate(const ir::Op& op, ir::ValueId id);
  void lower_select(const ir::Op& op, ir::ValueId id);
  void lower_member(const ir::Op& op, ir::ValueId id);

  // --- lower_control.cpp
  void lower_when(const ir::Op& op);
  void lower_end_when();
  void lower_leave_if(const ir::Op& op);
  void lower_resolve(const ir::Op& op);
  void lower_jump(const ir::Op& op);
  void jump_to(u64 rip);
  void jump_through_cache(u64 rip);
  /// Emits the test of a bool and gives the condition under which it holds.
  asmjit::x86::CondCode test_bool(ir::ValueId v);
  void add_link(u64 target, asmjit::x86::CondCode cc, bool conditional);
  bool can_link(u64 target) const;
  EntryState state_here() const;
  void emit_link_stubs();
  void emit_side_exits();

  const EmitContext& context_;
  const ir::Block* block_;  ///< the part that is being emitted: the block, or its rounds (loop)
  const Loop* loop_;
  asmjit::CodeHolder& code_;
  x86::Assembler& a_;
  RowCounts* counts_of_insn_ = nullptr;
  std::pmr::vector<Loc> loc_{&context_.workshop.memory};
  std::pmr::vector<u16> uses_{&context_.workshop.memory};
  ir::ValueId in_scratch_[16];  ///< by host register: the value that is in it
  u32 busy_ = 0;    ///< bit per host register: scratch registers with values
  u32 locked_ = 0;  ///< those that the current lowering works with
  u32 temp_busy_ = 0;

  const ir::BlockInsn* insn_ = nullptr;
  u32 insn_index_ = 0;
  u32 op_index_ = 0;
  bool flags_in_host_ = false, flags_dirty_ = false;
  u32 flag_definitions_ = 0;  ///< how many there were
  FlagRecipe recipe_;  ///< makes the guest's flags; the image in memory is older
  bool vectors_ready_ = false;  ///< the host's vector registers hold the guest's here
  bool x87_ready_ = false;  ///< the host's x87 is the guest's here
  bool wide_vectors_ready_ = false;  ///< upper halves included
  bool uses_vectors_ = false, uses_wide_vectors_ = false, uses_x87_ = false;  ///< instructions of this block do
  LastX87 last_x87_;
  bool ends_plain_ = false;  ///< the block's last jump can't take anything over: flags must be in memory there
  bool in_rounds_ = false;   ///< the loop's body is being emitted
  bool rounds_failed_ = false;
  asmjit::Label round_, rounds_over_;
  Mem operand_ = x86::ptr(kAddress);  ///< where the current memory op's bytes are
  bool ended_ = false;  ///< an unconditional jump was emitted
  asmjit::Label when_end_;
  bool when_open_ = false;
  u32 skip_to_ = 0;  ///< ops before this one are done
  bool modifying_ = false;  ///< rax holds the address of the last Modify
  u32 site_of_insn_ = ~u32{0};
  asmjit::Label bail_of_insn_;
  bool bail_used_ = false;
  asmjit::Label mismatch_;  ///< the code is another one
  std::pmr::vector<ColdStub> cold_{&context_.workshop.memory};
  struct PendingLink {
    asmjit::Label stub;
    std::size_t displacement;  ///< offset of the jump's 32-bit displacement
    u64 target;
    EntryState state{};
    std::size_t plain_displacement = 0, plain_stub = 0;  ///< offsets; 0: the state is plain
  };
  std::pmr::vector<PendingLink> links_{&context_.workshop.memory};
  std::vector<u32> starts_;
  struct PendingBail {
    asmjit::Label label;
    u32 site;
    FlagRecipe recipe;
    LastX87 x87;
  };
  std::pmr::vector<PendingBail> bails_{&context_.workshop.memory};
  std::pmr::vector<SideExit> side_exits_{&context_.workshop.memory};
};

}  // namespace callgate::jit::x64
