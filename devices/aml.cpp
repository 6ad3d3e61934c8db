#include "devices/aml.h"

#include "base/verify.h"

namespace callgate::aml {
namespace {

// ACPI 6.5, 20.3 AML Byte Stream Byte Values.
constexpr u8 kZero = 0x00, kOne = 0x01, kName = 0x08, kByte = 0x0A, kWord = 0x0B, kDword = 0x0C, kString = 0x0D,
             kQword = 0x0E, kScope = 0x10, kBuffer = 0x11, kPackage = 0x12, kMethod = 0x14, kDualName = 0x2E,
             kMultiName = 0x2F, kExtended = 0x5B, kArg0 = 0x68, kStore = 0x70, kDevice = 0x82, kIf = 0xA0, kElse = 0xA1,
             kReturn = 0xA4;

void little_endian(Bytes& to, u64 value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) to.push_back(static_cast<u8>(value >> (8 * i)));
}

/// PkgLength counts its own bytes too (ACPI 6.5, 20.2.4 Package Length Encoding).
Bytes with_length(std::initializer_list<u8> opcode, const Bytes& body) {
  Bytes out(opcode);
  u64 length = body.size() + 1;
  if (length < 64) {
    out.push_back(static_cast<u8>(length));
  } else {
    unsigned more = 1;
    while (body.size() + 1 + more >= u64{1} << (4 + 8 * more)) ++more;
    VERIFY(more <= 3, "an AML package holds less than 2^28 bytes");
    length = body.size() + 1 + more;
    out.push_back(static_cast<u8>(more << 6 | (length & 0xF)));
    little_endian(out, length >> 4, more);
  }
  append(out, body);
  return out;
}

/// An address space descriptor of `width` bytes a field (ACPI 6.5, 6.4.3.5 Address Space Resource Descriptors).
Bytes window(u8 tag, unsigned width, u8 type, u8 type_flags, u64 first, u64 last) {
  Bytes out{tag};
  little_endian(out, 3 + 5 * width, 2);
  out.push_back(type);
  out.push_back(0x0C);  // producer, positive decode, minimum and maximum fixed
  out.push_back(type_flags);
  for (u64 field : {u64{0}, first, last, u64{0}, last - first + 1}) little_endian(out, field, width);
  return out;
}

constexpr u8 kMemory = 0, kIo = 1, kBus = 2;
constexpr u8 kEntireIoRange = 3, kReadWrite = 1;

}  // namespace

void append(Bytes& to, const Bytes& term) { to.insert(to.end(), term.begin(), term.end()); }

Bytes join(std::initializer_list<Bytes> terms) {
  Bytes out;
  for (const Bytes& term : terms) append(out, term);
  return out;
}

Bytes integer(u64 value) {
  if (value <= 1) return {value ? kOne : kZero};
  const unsigned size = value <= 0xFF ? 1 : value <= 0xFFFF ? 2 : value <= 0xFFFF'FFFF ? 4 : 8;
  Bytes out{size == 1 ? kByte : size == 2 ? kWord : size == 4 ? kDword : kQword};
  little_endian(out, value, size);
  return out;
}

Bytes string(std::string_view text) {
  Bytes out{kString};
  for (char c : text) out.push_back(static_cast<u8>(c));
  out.push_back(0);
  return out;
}

Bytes eisa_id(std::string_view id) {
  VERIFY(id.size() == 7, "an EISA id has three letters and four hexadecimal digits");
  const auto letter = [&](unsigned i) { return static_cast<u32>(id[i] - '@') & 0x1F; };
  const auto digit = [&](unsigned i) { return static_cast<u32>(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10); };
  const u32 vendor = letter(0) << 10 | letter(1) << 5 | letter(2);
  const u32 product = digit(3) << 12 | digit(4) << 8 | digit(5) << 4 | digit(6);
  const u32 big_endian = vendor << 16 | product;
  return integer(__builtin_bswap32(big_endian));
}

Bytes buffer(const Bytes& data) { return with_length({kBuffer}, join({integer(data.size()), data})); }

Bytes package(const std::vector<Bytes>& elements) {
  VERIFY(elements.size() <= 255, "an AML package has at most 255 elements");
  Bytes body{static_cast<u8>(elements.size())};
  for (const Bytes& element : elements) append(body, element);
  return with_length({kPackage}, body);
}

Bytes path(std::string_view name) {
  Bytes prefix, segments;
  if (name.starts_with('\\')) {
    prefix.push_back('\\');
    name.remove_prefix(1);
  }
  unsigned count = 0;
  while (!name.empty()) {
    const std::string_view segment = name.substr(0, name.find('.'));
    VERIFY(!segment.empty() && segment.size() <= 4, "an AML name segment has one to four characters");
    for (unsigned i = 0; i < 4; ++i) segments.push_back(static_cast<u8>(i < segment.size() ? segment[i] : '_'));
    name.remove_prefix(segment.size());
    if (name.starts_with('.')) name.remove_prefix(1);
    ++count;
  }
  if (count == 0) prefix.push_back(0);  // The null name: the root itself.
  if (count == 2) prefix.push_back(kDualName);
  if (count > 2) {
    prefix.push_back(kMultiName);
    prefix.push_back(static_cast<u8>(count));
  }
  return join({prefix, segments});
}

Bytes name(std::string_view name, const Bytes& value) { return join({{kName}, path(name), value}); }
Bytes scope(std::string_view name, const Bytes& terms) { return with_length({kScope}, join({path(name), terms})); }
Bytes device(std::string_view name, const Bytes& terms) {
  return with_length({kExtended, kDevice}, join({path(name), terms}));
}
Bytes method(std::string_view name, unsigned arguments, const Bytes& terms) {
  return with_length({kMethod}, join({path(name), {static_cast<u8>(arguments)}, terms}));
}

Bytes argument(unsigned n) { return {static_cast<u8>(kArg0 + n)}; }
Bytes store(const Bytes& value, const Bytes& target) { return join({{kStore}, value, target}); }
Bytes give_back(const Bytes& value) { return join({{kReturn}, value}); }
Bytes if_else(const Bytes& condition, const Bytes& then_terms, const Bytes& else_terms) {
  return join({with_length({kIf}, join({condition, then_terms})), with_length({kElse}, else_terms)});
}

// ACPI 6.5, 6.4.2 Small and 6.4.3 Large Resource Data Type.
Bytes irq(u16 mask) { return {0x22, static_cast<u8>(mask), static_cast<u8>(mask >> 8)}; }

Bytes io_ports(u16 first, u8 count) {
  Bytes out{0x47, 0x01};
  little_endian(out, first, 2);
  little_endian(out, first, 2);
  out.push_back(1);
  out.push_back(count);
  return out;
}

Bytes memory32(u32 first, u32 size) {
  Bytes out{0x86, 0x09, 0x00, kReadWrite};
  little_endian(out, first, 4);
  little_endian(out, size, 4);
  return out;
}

Bytes bus_window(u16 first, u16 last) { return window(0x88, 2, kBus, 0, first, last); }
Bytes io_window(u16 first, u16 last) { return window(0x88, 2, kIo, kEntireIoRange, first, last); }
Bytes memory_window32(u32 first, u32 last) { return window(0x87, 4, kMemory, kReadWrite, first, last); }
Bytes memory_window64(u64 first, u64 last) { return window(0x8A, 8, kMemory, kReadWrite, first, last); }

Bytes resource_template(const Bytes& descriptors) { return buffer(join({descriptors, {0x79, 0x00}})); }
Bytes resource_template(std::initializer_list<Bytes> descriptors) { return resource_template(join(descriptors)); }

}  // namespace callgate::aml
