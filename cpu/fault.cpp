#include "cpu/fault.h"

#include <fmt/format.h>

#include <string_view>

namespace callgate {
namespace {

/// An argument of a reason, with the presentations that fault.h adds to fmt's.
struct Argument {
  u64 value;
};

std::string_view segment_register_name(u64 number) {
  constexpr std::string_view kNames[] = {"ES", "CS", "SS", "DS", "FS", "GS"};
  return number < std::size(kNames) ? kNames[number] : "?";
}

}  // namespace
}  // namespace callgate

template <>
struct fmt::formatter<callgate::Argument> : fmt::formatter<callgate::u64> {
  char name_of_what = 0;
  constexpr auto parse(fmt::format_parse_context& context) {
    const auto at = context.begin();
    if (at != context.end() && (*at == 'v' || *at == 'r' || *at == 't')) {
      name_of_what = *at;
      return at + 1;
    }
    return fmt::formatter<callgate::u64>::parse(context);
  }
  template <class Context>
  auto format(callgate::Argument a, Context& context) const {
    using namespace callgate;
    std::string_view name;
    switch (name_of_what) {
      case 0: return fmt::formatter<u64>::format(a.value, context);
      case 'v': name = name_of(static_cast<Vector>(a.value)); break;
      case 'r': name = segment_register_name(a.value); break;
      default: name = reinterpret_cast<const char*>(static_cast<std::uintptr_t>(a.value));
    }
    return fmt::format_to(context.out(), "{}", name);
  }
};

namespace callgate {

std::string Reason::text() const {
  try {
    return fmt::format(fmt::runtime(format), Argument{args[0]}, Argument{args[1]}, Argument{args[2]});
  } catch (const fmt::format_error&) {
    return format;
  }
}

std::string Fault::sentence() const {
  std::string text = reason.text();
  if (vector == Vector::PF) text += fmt::format(" (level {} entry {:#x})", reason.args[1], reason.args[0]);
  return text;
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
