#include "cpu/ir/ops.h"

namespace callgate::ir {

const char* name_of(OpKind kind) {
  static constexpr const char* kNames[] = {
      "other",
#define CG_IR_NAME(NAME) #NAME,
      CG_IR_INTEGER_OPS(CG_IR_NAME)
#undef CG_IR_NAME
  };
  return kNames[static_cast<unsigned>(kind)];
}

}  // namespace callgate::ir
