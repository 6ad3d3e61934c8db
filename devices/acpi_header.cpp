#include "devices/acpi_header.h"

#include "base/bits.h"

namespace callgate {

u8 acpi_checksum(std::span<const u8> data) {
  u8 sum = 0;
  for (u8 byte : data) sum = static_cast<u8>(sum + byte);
  return static_cast<u8>(-sum);
}

AcpiTable::AcpiTable(std::string_view signature, u8 revision) {
  const auto text = [this](std::string_view s) { data_.insert(data_.end(), s.begin(), s.end()); };
  text(signature);
  u32_(0);  // length
  u8_(revision);
  u8_(0);  // checksum
  text("CALLGT");
  text("CALLGATE");
  u32_(1);
  text("CLGT");
  u32_(1);
}

AcpiTable& AcpiTable::number(u64 value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) data_.push_back(static_cast<u8>(value >> (8 * i)));
  return *this;
}

AcpiTable& AcpiTable::zeros(std::size_t n) {
  data_.insert(data_.end(), n, 0);
  return *this;
}

AcpiTable& AcpiTable::bytes(std::span<const u8> data) {
  data_.insert(data_.end(), data.begin(), data.end());
  return *this;
}

AcpiTable& AcpiTable::address(bool ports, u64 where, u8 width, u8 access) {
  return u8_(ports ? 1 : 0).u8_(width).u8_(0).u8_(access).u64_(where);
}

std::vector<u8> AcpiTable::finish() {
  store_as<u32>(&data_[4], static_cast<u32>(data_.size()));
  data_[9] = 0;
  data_[9] = acpi_checksum(data_);
  return data_;
}

}  // namespace callgate
