// Random instructions from the rows of the instruction table, with operands that are hard: boundaries, denormals, NaNs,
// page ends next to an inaccessible page. Knows the encoding column and the operands' letters; knows no semantics
// beyond what makes an instruction do something interesting (a divisor that fits, a stack that holds a return address).
#pragma once

#include <vector>

#include "cpu/fp/hard_operands.h"
#include "cpu/table/encoding.h"
#include "tests/hwfuzz/case.h"

namespace callgate::hwfuzz {

/// Why this host can't run a row, or nullptr when it can. What is privileged runs too, to see its fault.
const char* not_runnable(const Row& row);

class Generator {
 public:
  /// All rows that can run in a process, or only those whose features this host's processor has.
  Generator(u64 seed, bool on_this_host);

  /// A case with `count` instructions: the first one of the row with index `row` in rows(), the others of random rows.
  void make(Case& c, unsigned row, unsigned count);

  /// The rows that make() takes.
  const std::vector<const Row*>& rows() const { return rows_; }

 private:
  fp::TestRandom random_;
  std::vector<const Row*> rows_;
  std::vector<Encoding> encodings_;
};

}  // namespace callgate::hwfuzz
