#include "jit/x64/thunks.h"

#include <algorithm>

#include "base/verify.h"
#include "cpu/ir/ir.h"
#include "jit/x64/registers.h"
#include "jit/x64/x87_thunks.h"

namespace callgate::jit::x64 {

namespace {

constexpr unsigned kSavedByCallee[] = {3, 5, 12, 13, 14, 15};  // rbx, rbp, r12 to r15

/// The frame of emitted code: the addends of probe groups, the rounds of a loop (loop.cpp), and an image of the x87's registers while C++ runs. With the return address and the registers above it the stack
/// is aligned to 16.
constexpr i32 kX87Image = 8 * (ir::kMostGroups + 2);
constexpr i32 kFrame = kX87Image + static_cast<i32>(kX87ImageBytes) + 8;
static_assert((kFrame + 8 * (std::size(kSavedByCallee) + 1)) % 16 == 0);

class ThunkEmitter {
 public:
  ThunkEmitter(CodeArena& arena) : arena_(arena) {
    code_.init(asmjit::Environment::host(), reinterpret_cast<u64>(arena.next()));
    code_.attach(&a);
  }

  x86::Assembler a;

  void load_pinned(bool caller_saved_only = false) { move_pinned(caller_saved_only, true); }
  void store_pinned(bool caller_saved_only = false) { move_pinned(caller_saved_only, false); }

  const u8* finish() {
    code_.flatten();
    code_.resolveUnresolvedLinks();
    std::vector<u8> bytes(code_.codeSize());
    VERIFY(code_.relocateToBase(reinterpret_cast<u64>(arena_.next())) == asmjit::kErrorOk, "relocation failed");
    code_.copyFlattenedData(bytes.data(), bytes.size());
    const u8* at = arena_.next();
    arena_.append(bytes.data(), bytes.size());
    return at;
  }
  /// Address in the finished code.
  const u8* here() const { return arena_.next() + a.offset(); }

 private:
  void move_pinned(bool caller_saved_only, bool load) {
    for (unsigned g = 0; g < 16; g++) {
      if (!is_pinned(g) || (caller_saved_only && !is_caller_saved(kHostOf[g]))) continue;
      if (load) a.mov(gp(kHostOf[g], 8), home(g));
      else a.mov(home(g), gp(kHostOf[g], 8));
    }
  }

  CodeArena& arena_;
  asmjit::CodeHolder code_;
};

}  // namespace

std::vector<NamedThunk> names_of(const Thunks& t) {
  std::vector<NamedThunk> names = {
      {"enter", reinterpret_cast<const u8*>(t.enter)}, {"load_vectors", t.load_vectors}, {"load_wide_vectors", t.load_wide_vectors},
      {"load_x87", t.load_x87},
      {"exit_budget", t.exit_budget}, {"exit_link", t.exit_link}, {"exit_bail", t.exit_bail},
      {"slow_read", t.slow_read}, {"slow_write", t.slow_write}, {"slow_resolve", t.slow_resolve}, {"transfer", t.transfer}, {"step", t.step},
      {"execute", t.execute}, {"port_call", t.port_call}, {"hook", t.hook},
  };
  std::sort(names.begin(), names.end(), [](const NamedThunk& a, const NamedThunk& b) { return a.at < b.at; });
  return names;
}

Thunks emit_thunks(CodeArena& arena, const Callbacks& callbacks) {
  Thunks t;
  ThunkEmitter e(arena);
  auto& a = e.a;

  // enter(rdi: slots, rsi: code). Behind it the stack is aligned to 16 in emitted code.
  t.enter = reinterpret_cast<Exit (*)(EngineSlots*, const void*)>(const_cast<u8*>(e.here()));
  for (const unsigned r : kSavedByCallee) a.push(x86::gpq(r));
  a.sub(x86::rsp, kFrame);
  a.lea(kState, x86::ptr(x86::rdi, sizeof(EngineSlots)));
  a.mov(x86::rax, x86::rsi);
  a.mov(kTlb, slot(kTlbView));
  e.load_pinned();
  a.jmp(x86::rax);

  // The guest's vector registers and MXCSR to and from the host's: their low halves, and all of them once somebody wants
  // that (kWideVectors).
  const Mem vector_mxcsr = field(offsetof(CpuState, mxcsr), 4);
  static_assert(sizeof(VectorRegister) == 32 && offsetof(VectorRegister, hi) == 16);
  const auto vector = [](unsigned n, unsigned size = 16, unsigned byte = 0) {
    return field(offsetof(CpuState, vec) + n * sizeof(VectorRegister) + byte, size);
  };
  asmjit::Label vectors_in = a.newLabel(), vectors_out = a.newLabel(), store_vectors = a.newLabel();
  asmjit::Label narrow_in = a.newLabel(), narrow_out = a.newLabel(), wide_out = a.newLabel();
  t.load_vectors = e.here();
  a.ldmxcsr(vector_mxcsr);
  a.mov(slot(kVectors, 1), kVectorsLoaded);
  a.bind(narrow_in);
  for (unsigned n = 0; n < 16; n++) a.movups(x86::xmm(n), vector(n));
  a.ret();
  t.load_wide_vectors = e.here();
  {
    asmjit::Label upper = a.newLabel();
    a.cmp(slot(kVectors, 1), 0);
    a.jne(upper);
    a.call(reinterpret_cast<u64>(t.load_vectors));
    a.bind(upper);
    a.mov(slot(kVectors, 1), kVectorsLoaded | kWideVectors);
    for (unsigned n = 0; n < 16; n++) a.vinsertf128(x86::ymm(n), x86::ymm(n), vector(n, 16, 16), 1);
    a.ret();
  }
  a.bind(vectors_in);
  a.test(slot(kVectors, 1), kWideVectors);
  a.jz(narrow_in);
  for (unsigned n = 0; n < 16; n++) a.vmovups(x86::ymm(n), vector(n, 32));
  a.ret();
  a.bind(vectors_out);
  a.test(slot(kVectors, 1), kWideVectors);
  a.jnz(wide_out);
  a.bind(narrow_out);
  for (unsigned n = 0; n < 16; n++) a.movups(vector(n), x86::xmm(n));
  a.ret();
  // C++ that works with SSE would pay for upper halves that are in use.
  a.bind(wide_out);
  for (unsigned n = 0; n < 16; n++) a.vmovups(vector(n, 32), x86::ymm(n));
  a.vzeroupper();
  a.ret();
  a.bind(store_vectors);
  a.stmxcsr(vector_mxcsr);
  a.ldmxcsr(slot(kVectors, 4, 4));
  a.test(slot(kVectors, 1), kWideVectors);
  a.mov(slot(kVectors, 1), 0);
  a.jnz(wide_out);
  a.jmp(narrow_out);
  const auto if_vectors = [&](const asmjit::Label& routine) {
    asmjit::Label none = a.newLabel();
    a.cmp(slot(kVectors, 1), 0);
    a.je(none);
    a.call(routine);
    a.bind(none);
  };

  t.load_x87 = e.here();
  emit_load_x87(a, kX87Image);
  asmjit::Label store_x87 = a.newLabel();
  a.bind(store_x87);
  emit_store_x87(a);
  // `depth`: bytes of the stack below the frame.
  const auto store_x87_to_state = [&](i32 depth) {
    a.lea(x86::rdi, x86::ptr(x86::rsp, depth + kX87Image));
    a.call(store_x87);
  };
  const auto if_x87 = [&](const auto& body) {
    asmjit::Label none = a.newLabel();
    a.cmp(x87_is_here(), 0);
    a.je(none);
    body();
    a.bind(none);
  };

  asmjit::Label leave = a.newLabel();
  const auto exit = [&](Exit why) {
    const u8* at = e.here();
    a.mov(slot(kExit), x86::rcx);
    a.mov(x86::eax, static_cast<u32>(why));
    e.store_pinned();
    a.jmp(leave);
    return at;
  };
  t.exit_budget = exit(Exit::Budget);
  if (callbacks.follow == nullptr) {
    t.exit_link = exit(Exit::Link);
  } else {
    t.exit_link = e.here();
    a.mov(slot(kExit), x86::rcx);
    e.store_pinned(true);
    if_vectors(vectors_out);
    if_x87([&] { a.fnsave(x86::ptr(x86::rsp, kX87Image)); });
    a.lea(x86::rdi, x86::ptr(kState, -static_cast<i32>(sizeof(EngineSlots))));
    a.mov(x86::esi, x86::ecx);
    a.mov(x86::rax, reinterpret_cast<u64>(callbacks.follow));
    a.call(x86::rax);
    if_vectors(vectors_in);
    if_x87([&] { a.frstor(x86::ptr(x86::rsp, kX87Image)); });
    asmjit::Label unknown = a.newLabel();
    a.test(x86::rax, x86::rax);
    e.load_pinned(true);
    a.jz(unknown);
    a.jmp(x86::rax);
    a.bind(unknown);
    a.mov(x86::eax, static_cast<u32>(Exit::Link));
    e.store_pinned();
    a.jmp(leave);
  }
  t.exit_bail = exit(Exit::Bail);

  // The slow paths keep all guest registers; a nullptr doesn't return to the block but leaves.
  const auto slow = [&](const void* callback) {
    const u8* at = e.here();
    a.mov(slot(kExit), x86::rcx);
    e.store_pinned(true);
    if_vectors(vectors_out);
    // C++ may use the x87 (long double), and wants it empty.
    if_x87([&] { a.fnsave(x86::ptr(x86::rsp, 8 + kX87Image)); });
    a.lea(x86::rdi, x86::ptr(kState, -static_cast<i32>(sizeof(EngineSlots))));
    a.mov(x86::rsi, x86::rax);
    a.mov(x86::edx, x86::ecx);
    a.sub(x86::rsp, 8);
    a.mov(x86::rax, reinterpret_cast<u64>(callback));
    a.call(x86::rax);
    a.add(x86::rsp, 8);
    if_vectors(vectors_in);
    if_x87([&] { a.frstor(x86::ptr(x86::rsp, 8 + kX87Image)); });
    asmjit::Label bail = a.newLabel();
    a.test(x86::rax, x86::rax);
    e.load_pinned(true);
    a.jz(bail);
    a.ret();
    a.bind(bail);
    a.add(x86::rsp, 8);
    asmjit::Label leaves = a.newLabel();
    a.mov(x86::rax, slot(kDetour));
    a.test(x86::rax, x86::rax);
    a.jz(leaves);
    a.mov(slot(kDetour), 0);
    a.jmp(x86::rax);
    a.bind(leaves);
    a.mov(x86::eax, static_cast<u32>(Exit::Bail));
    e.store_pinned();
    a.jmp(leave);
    return at;
  };
  t.slow_read = slow(reinterpret_cast<const void*>(callbacks.read));
  t.slow_write = slow(reinterpret_cast<const void*>(callbacks.write));
  t.slow_resolve = slow(reinterpret_cast<const void*>(callbacks.resolve));

  // Everything of the block is done; what is not here is looked for with the state as it will be there.
  t.transfer = e.here();
  asmjit::Label unknown_target = a.newLabel();
  static_assert(sizeof(JumpCache::Entry) == 16 && JumpCache::kOffsetShift < 4);
  a.lea(x86::ecx, x86::ptr(0, x86::rax, 4 - JumpCache::kOffsetShift));
  a.and_(x86::ecx, (JumpCache::kEntries - 1) << 4);
  a.add(x86::rcx, slot(kJumpCache));
  a.cmp(x86::ptr(x86::rcx, offsetof(JumpCache::Entry, rip), 8), x86::rax);
  a.jne(unknown_target);
  a.jmp(x86::ptr(x86::rcx, offsetof(JumpCache::Entry, code), 8));
  a.bind(unknown_target);
  // Nothing of the block is wanted any more: what comes next is wherever the engine says.
  const auto ask = [&](const void* callback, const Gp& argument) {
    e.store_pinned();
    a.mov(slot(kTemp0), argument);
    if_vectors(store_vectors);
    if_x87([&] { store_x87_to_state(0); });
    a.lea(x86::rdi, x86::ptr(kState, -static_cast<i32>(sizeof(EngineSlots))));
    a.mov(x86::rsi, slot(kTemp0));
    a.mov(x86::rax, reinterpret_cast<u64>(callback));
    a.call(x86::rax);
    asmjit::Label nowhere = a.newLabel();
    a.test(x86::rax, x86::rax);
    a.jz(nowhere);
    a.mov(kTlb, slot(kTlbView));
    e.load_pinned();
    a.jmp(x86::rax);
    a.bind(nowhere);
    a.mov(x86::eax, static_cast<u32>(Exit::Done));
    a.jmp(leave);
  };
  ask(reinterpret_cast<const void*>(callbacks.transfer), x86::rax);
  t.step = e.here();
  a.mov(x86::rax, slot(kExit));
  ask(reinterpret_cast<const void*>(callbacks.step), x86::rax);

  // A handler: behind it the block goes on, or something else.
  const auto call_handler = [&](const void* callback) {
    e.store_pinned();
    if_vectors(store_vectors);
    if_x87([&] { store_x87_to_state(8); });
    a.lea(x86::rdi, x86::ptr(kState, -static_cast<i32>(sizeof(EngineSlots))));
    a.mov(x86::esi, x86::ecx);
    a.sub(x86::rsp, 8);
    a.mov(x86::rax, reinterpret_cast<u64>(callback));
    a.call(x86::rax);
    a.add(x86::rsp, 8);
    asmjit::Label elsewhere = a.newLabel(), done = a.newLabel();
    a.mov(kTlb, slot(kTlbView));
    e.load_pinned();
    a.cmp(x86::rax, kLeave);
    a.jae(elsewhere);
    a.ret();
    a.bind(elsewhere);
    a.lea(x86::rsp, x86::ptr(x86::rsp, 8));
    a.je(done);
    a.jmp(x86::rax);
    a.bind(done);
    a.mov(x86::eax, static_cast<u32>(Exit::Done));
  };
  t.port_call = e.here();
  call_handler(reinterpret_cast<const void*>(callbacks.port_call));
  a.jmp(leave);
  t.hook = e.here();
  call_handler(reinterpret_cast<const void*>(callbacks.hook));
  a.jmp(leave);
  t.execute = e.here();
  call_handler(reinterpret_cast<const void*>(callbacks.execute));
  a.bind(leave);
  if_vectors(store_vectors);
  if_x87([&] { store_x87_to_state(0); });
  a.add(x86::rsp, kFrame);
  for (unsigned n = std::size(kSavedByCallee); n-- > 0;) a.pop(x86::gpq(kSavedByCallee[n]));
  a.ret();
  e.finish();
  return t;
}

}  // namespace callgate::jit::x64
