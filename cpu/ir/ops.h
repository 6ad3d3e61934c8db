// The operations of semantics as the translator's IR names them: an OpKind for each function object that backends may have
// a native lowering for, and an OpInfo, which also carries the portable reference: the function object's own call.
// Knows nothing of registers, memory or hosts.
#pragma once

#include <cstring>
#include <type_traits>
#include <utility>

#include "cpu/alu.h"
#include "cpu/alu_bit.h"
#include "cpu/alu_bmi.h"
#include "cpu/alu_extension.h"
#include "cpu/alu_multiply.h"
#include "cpu/alu_shift.h"
#include "cpu/fp/fp.h"

namespace callgate::ir {

// clang-format off
/// NAME, and the function object's place. An operation that isn't here has no native lowering: the translator executes its
/// instruction by the interpreter's handler.
#define CG_IR_INTEGER_OPS(X)                                                                                          \
  X(add) X(adc) X(sub) X(sbb) X(and_) X(or_) X(xor_) X(inc) X(dec) X(neg) X(not_)                                     \
  X(equal) X(non_zero) X(is_zero) X(logical_not) X(sign_fill)                                                         \
  X(shl) X(shr) X(sar) X(rol) X(ror) X(rcl) X(rcr) X(shld) X(shrd)                                                    \
  X(bt) X(bts) X(btr) X(btc) X(bit_string_offset) X(bsf) X(bsr) X(bswap)                                              \
  X(set_carry) X(complement_carry) X(low_flags) X(set_low_flags)                                                      \
  X(mul) X(imul) X(imul_low) X(div) X(idiv) X(clear_flags)                                                            \
  X(popcnt) X(tzcnt) X(lzcnt) X(shlx) X(shrx) X(sarx) X(rorx)
// clang-format on

enum class OpKind : u8 {
  other,  ///< no lowering anywhere
#define CG_IR_KIND(NAME) NAME,
  CG_IR_INTEGER_OPS(CG_IR_KIND)
#undef CG_IR_KIND
      count
};

/// The kind of a function object's type; specialised for each operation of the list.
template <class Op>
struct KindOf {
  static constexpr OpKind value = OpKind::other;
};
#define CG_IR_KIND_OF(NAME)                                 \
  template <>                                               \
  struct KindOf<std::remove_const_t<decltype(alu::NAME)>> { \
    static constexpr OpKind value = OpKind::NAME;           \
  };
CG_IR_INTEGER_OPS(CG_IR_KIND_OF)
#undef CG_IR_KIND_OF

const char* name_of(OpKind kind);

/// Room for any operand or result of an operation, in its own type's layout.
struct alignas(16) OpValue {
  u8 bytes[64] = {};
};

constexpr unsigned kMaxOpArgs = 6;

/// One operation on certain types. Each combination has one OpInfo in the program.
struct OpInfo {
  OpKind kind;
  u8 args;                   ///< how many operands
  u8 arg_size[kMaxOpArgs];   ///< in bytes
  u8 result_size;            ///< in bytes; 0: none
  bool flags;                ///< reads or writes the arithmetic flags
  bool environment;          ///< floating point: depends on MXCSR and sets its flags
  /// The portable reference. `env` and `flags` may be null when the operation doesn't use them.
  void (*reference)(const OpValue* args, OpValue* result, Flags* flags, fp::Env* env);
};

template <class Op, class... A>
struct OpInfoFor {
  static constexpr bool kEnvironment = std::is_invocable_v<Op, A..., fp::Env&>;
  static constexpr bool kFlags = !kEnvironment && std::is_invocable_v<Op, A..., Flags&>;
  static auto call(const Op& op, A... a, [[maybe_unused]] Flags* flags, [[maybe_unused]] fp::Env* env) {
    if constexpr (kEnvironment) return op(a..., *env);
    else if constexpr (kFlags) return op(a..., *flags);
    else return op(a...);
  }
  using Result = decltype(call(std::declval<const Op&>(), std::declval<A>()..., nullptr, nullptr));

  template <std::size_t... I>
  static void run(std::index_sequence<I...>, const OpValue* args, OpValue* result, Flags* flags, fp::Env* env) {
    (void)args;
    (void)result;
    if constexpr (std::is_void_v<Result>) {
      call(Op{}, load_as<A>(args[I].bytes)..., flags, env);
    } else {
      const Result r = call(Op{}, load_as<A>(args[I].bytes)..., flags, env);
      static_assert(sizeof(Result) <= sizeof(OpValue));
      std::memcpy(result->bytes, &r, sizeof r);
    }
  }
  static void reference(const OpValue* args, OpValue* result, Flags* flags, fp::Env* env) {
    run(std::index_sequence_for<A...>{}, args, result, flags, env);
  }
  static constexpr unsigned result_size() {
    if constexpr (std::is_void_v<Result>) return 0;
    else return sizeof(Result);
  }
  static constexpr OpInfo make() {
    OpInfo info{KindOf<Op>::value, sizeof...(A), {}, static_cast<u8>(result_size()), kFlags, kEnvironment, reference};
    unsigned n = 0;
    ((info.arg_size[n++] = sizeof(A)), ...);
    return info;
  }
};

/// The OpInfo of `Op` on operands of types A.
template <class Op, class... A>
inline constexpr OpInfo op_info = OpInfoFor<Op, A...>::make();

}  // namespace callgate::ir
