// A small encoder of AML, ACPI's byte code: each function returns the bytes of one term, and terms nest by
// concatenation. Knows the encoding and nothing of any machine. Ref: ACPI Specification 6.5, 20 ACPI Machine Language,
// and 6.4 Resource Data Types for Device Resource Descriptors.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace callgate::aml {

using Bytes = std::vector<u8>;

/// All of `terms`, one after the other.
Bytes join(std::initializer_list<Bytes> terms);
void append(Bytes& to, const Bytes& term);

// --- Data objects. Integers take the shortest form.
Bytes integer(u64 value);
Bytes string(std::string_view text);
/// A compressed EISA id such as "PNP0A03".
Bytes eisa_id(std::string_view id);
Bytes buffer(const Bytes& data);
/// At most 255 elements.
Bytes package(const std::vector<Bytes>& elements);

// --- Names: segments of up to four characters, divided by dots, with an optional leading backslash.
Bytes path(std::string_view name);

// --- Named objects.
Bytes name(std::string_view name, const Bytes& value);
Bytes scope(std::string_view name, const Bytes& terms);
Bytes device(std::string_view name, const Bytes& terms);
/// Not serialized; `arguments` is 0 to 7.
Bytes method(std::string_view name, unsigned arguments, const Bytes& terms);

// --- Statements and operands.
Bytes argument(unsigned n);
Bytes store(const Bytes& value, const Bytes& target);
Bytes give_back(const Bytes& value);
Bytes if_else(const Bytes& condition, const Bytes& then_terms, const Bytes& else_terms);

// --- Resource descriptors, to be given to resource_template().
Bytes irq(u16 mask);
/// 16-bit decoded ports at a fixed place.
Bytes io_ports(u16 first, u8 count);
Bytes memory32(u32 first, u32 size);
/// What a bridge passes on (a producer). All limits are inclusive.
Bytes bus_window(u16 first, u16 last);
Bytes io_window(u16 first, u16 last);
Bytes memory_window32(u32 first, u32 last);
Bytes memory_window64(u64 first, u64 last);
/// A buffer of descriptors with the end tag.
Bytes resource_template(std::initializer_list<Bytes> descriptors);
Bytes resource_template(const Bytes& descriptors);

}  // namespace callgate::aml
