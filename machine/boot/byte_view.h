// Little-endian fields out of a hostile file. Reading past the end is our bug, so ask has() first.
#pragma once

#include <span>

#include "base/bits.h"
#include "base/verify.h"
#include "machine/boot/file_bytes.h"

namespace callgate::boot {

class ByteView {
 public:
  ByteView(std::span<const u8> bytes) : bytes_(bytes) {}
  ByteView(const FileBytes& bytes) : bytes_(bytes) {}

  u64 size() const { return bytes_.size(); }
  /// True when [offset, offset + size) lies within the file, without overflow for any values.
  bool has(u64 offset, u64 size) const { return offset <= bytes_.size() && size <= bytes_.size() - offset; }

  template <class T>
  T at(u64 offset) const {
    VERIFY(has(offset, sizeof(T)), "a loader read past the end of a file");
    return load_as<T>(bytes_.data() + offset);
  }
  std::span<const u8> slice(u64 offset, u64 size) const {
    VERIFY(has(offset, size), "a loader read past the end of a file");
    return bytes_.subspan(offset, size);
  }

 private:
  std::span<const u8> bytes_;
};

/// Appends fields to a structure that the guest will read.
class ByteWriter {
 public:
  explicit ByteWriter(u64 size = 0) : bytes_(size) {}

  template <class T>
  void put(u64 offset, T value) {
    VERIFY(offset <= bytes_.size() && sizeof(T) <= bytes_.size() - offset, "a loader wrote past a structure's end");
    store_as<T>(bytes_.data() + offset, value);
  }
  template <class T>
  void append(T value) {
    bytes_.resize(bytes_.size() + sizeof(T));
    store_as<T>(bytes_.data() + bytes_.size() - sizeof(T), value);
  }
  FileBytes take() { return std::move(bytes_); }

 private:
  FileBytes bytes_;
};

}  // namespace callgate::boot
