#include "cpu/fault.h"

#include <fmt/format.h>

namespace callgate {

std::string Reason::text() const {
  try {
    return fmt::format(fmt::runtime(format), args[0], args[1], args[2]);
  } catch (const fmt::format_error&) {
    return format;
  }
}

const char* name_of(Vector vector) {
  switch (vector) {
    case Vector::DE: return "#DE";
    case Vector::DB: return "#DB";
    case Vector::NMI: return "NMI";
    case Vector::BP: return "#BP";
    case Vector::OF: return "#OF";
    case Vector::BR: return "#BR";
    case Vector::UD: return "#UD";
    case Vector::NM: return "#NM";
    case Vector::DF: return "#DF";
    case Vector::TS: return "#TS";
    case Vector::NP: return "#NP";
    case Vector::SS: return "#SS";
    case Vector::GP: return "#GP";
    case Vector::PF: return "#PF";
    case Vector::MF: return "#MF";
    case Vector::AC: return "#AC";
    case Vector::MC: return "#MC";
    case Vector::XM: return "#XM";
  }
  return "#??";
}

void raise(const Fault& fault) { throw fault; }

}  // namespace callgate
