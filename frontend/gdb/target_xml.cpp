// The target description: GDB's standard features of x86, so that every GDB knows what to do with them, and one of our own
// for the system registers.
// Ref: Debugging with GDB, appendix "Target Descriptions", i386 Features.
#include <fmt/format.h>

#include "frontend/gdb/registers.h"

namespace callgate::gdb {

namespace {

struct Bit {
  const char* name;
  unsigned first, last;
};

std::string flags(const char* id, unsigned size, std::initializer_list<Bit> bits) {
  std::string text = fmt::format("<flags id=\"{}\" size=\"{}\">", id, size);
  for (const Bit& b : bits) text += fmt::format("<field name=\"{}\" start=\"{}\" end=\"{}\"/>", b.name, b.first, b.last);
  return text + "</flags>\n";
}

std::string types(Register::Feature feature) {
  switch (feature) {
    case Register::Core:
      return flags("i386_eflags", 4,
                   {{"CF", 0, 0}, {"", 1, 1}, {"PF", 2, 2}, {"AF", 4, 4}, {"ZF", 6, 6}, {"SF", 7, 7}, {"TF", 8, 8},
                    {"IF", 9, 9}, {"DF", 10, 10}, {"OF", 11, 11}, {"NT", 14, 14}, {"RF", 16, 16}, {"VM", 17, 17},
                    {"AC", 18, 18}, {"VIF", 19, 19}, {"VIP", 20, 20}, {"ID", 21, 21}});
    case Register::Sse:
      return "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
             "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
             "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
             "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
             "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
             "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
             "<field name=\"uint128\" type=\"uint128\"/></union>\n" +
             flags("i386_mxcsr", 4,
                   {{"IE", 0, 0}, {"DE", 1, 1}, {"ZE", 2, 2}, {"OE", 3, 3}, {"UE", 4, 4}, {"PE", 5, 5}, {"DAZ", 6, 6},
                    {"IM", 7, 7}, {"DM", 8, 8}, {"ZM", 9, 9}, {"OM", 10, 10}, {"UM", 11, 11}, {"PM", 12, 12}, {"FZ", 15, 15}});
    case Register::System:
      return flags("cr0_flags", 8,
                   {{"PE", 0, 0}, {"MP", 1, 1}, {"EM", 2, 2}, {"TS", 3, 3}, {"ET", 4, 4}, {"NE", 5, 5}, {"WP", 16, 16},
                    {"AM", 18, 18}, {"NW", 29, 29}, {"CD", 30, 30}, {"PG", 31, 31}}) +
             flags("cr4_flags", 8,
                   {{"VME", 0, 0}, {"PVI", 1, 1}, {"TSD", 2, 2}, {"DE", 3, 3}, {"PSE", 4, 4}, {"PAE", 5, 5}, {"MCE", 6, 6},
                    {"PGE", 7, 7}, {"PCE", 8, 8}, {"OSFXSR", 9, 9}, {"OSXMMEXCPT", 10, 10}, {"UMIP", 11, 11},
                    {"FSGSBASE", 16, 16}, {"PCIDE", 17, 17}, {"OSXSAVE", 18, 18}, {"SMEP", 20, 20}, {"SMAP", 21, 21}}) +
             flags("efer_flags", 8, {{"SCE", 0, 0}, {"LME", 8, 8}, {"LMA", 10, 10}, {"NXE", 11, 11}}) +
             flags("segment_attr", 4,
                   {{"A", 0, 0}, {"RW", 1, 1}, {"DC", 2, 2}, {"X", 3, 3}, {"S", 4, 4}, {"P", 7, 7}, {"AVL", 12, 12},
                    {"L", 13, 13}, {"DB", 14, 14}, {"G", 15, 15}, {"null", 16, 16}});
    default: return "";
  }
}

constexpr const char* name_of(Register::Feature feature) {
  switch (feature) {
    case Register::Core: return "org.gnu.gdb.i386.core";
    case Register::Sse: return "org.gnu.gdb.i386.sse";
    case Register::Segments: return "org.gnu.gdb.i386.segments";
    case Register::Avx: return "org.gnu.gdb.i386.avx";
    case Register::System: return "org.callgate.x86.system";
  }
  return "";
}

}  // namespace

std::string RegisterFile::xml() const {
  const char* architecture = view_ == View::X86_64 ? "i386:x86-64" : view_ == View::I386 ? "i386" : "i8086";
  std::string text = fmt::format(
      "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
      "<architecture>{}</architecture>\n",
      architecture);
  for (std::size_t n = 0; n < registers_.size(); n++) {
    const Register& r = registers_[n];
    if (n == 0 || registers_[n - 1].feature != r.feature) {
      if (n != 0) text += "</feature>\n";
      text += fmt::format("<feature name=\"{}\">\n{}", name_of(r.feature), types(r.feature));
    }
    const char* group = r.feature == Register::System ? " group=\"system\"" : "";
    text += fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\" regnum=\"{}\"{}/>\n", r.name, r.bytes * 8, r.type, n, group);
  }
  return text + "</feature>\n</target>\n";
}

}  // namespace callgate::gdb
