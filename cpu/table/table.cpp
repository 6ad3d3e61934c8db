#include "cpu/table/table.h"

namespace callgate {

const std::vector<const Row*>& all_rows() {
  static const std::vector<const Row*> rows = [] {
    std::vector<const Row*> list;
    constexpr std::span<const Row> (*kGroups[])() = {
        arithmetic_rows,
        avx2_rows,
        avx_float_rows,
        avx_integer_rows,
        avx_move_rows,
        bit_rows,
        bmi_rows,
        branch_rows,
        crypto_rows,
        data_rows,
        fma_rows,
        mmx_rows,
        sse3_rows,
        sse41_rows,
        sse42_rows,
        sse_float_rows,
        sse_integer_rows,
        sse_move_rows,
        ssse3_rows,
        fpu_state_rows,
        integer_extension_rows,
        string_rows,
        system_rows,
        transfer_rows,
        x87_rows,
    };
    for (const auto group : kGroups)
      for (const Row& row : group()) list.push_back(&row);
    return list;
  }();
  return rows;
}

std::string mnemonic(const Row& row) {
  std::string name = row.name;
  while (!name.empty() && name.back() == '_') name.pop_back();
  return name;
}

}  // namespace callgate
