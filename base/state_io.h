// One archive for hash, save and restore: a device or processor lists its fields once, in `sync`.
// Little-endian, no padding, sections by name. A restored value is hostile: check ranges with `limit`.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/types.h"

namespace callgate {

/// Visits fields: writes them, or reads them back.
class StateIo {
 public:
  virtual ~StateIo() = default;
  /// True while restoring: fields are overwritten.
  virtual bool loading() const = 0;
  /// Moves `size` bytes from or to `data`.
  virtual void bytes(void* data, std::size_t size) = 0;
  /// Marks the start of a named section; on restore, a different name is an error.
  virtual void section(std::string_view name) = 0;
  /// On restore: reports damaged input. The first message is kept; what follows reads as zeros.
  virtual void damaged(std::string_view why) = 0;

  /// One field of a type without padding: integers, enums, bool, arrays of those.
  template <class T>
  void field(T& value) {
    static_assert(std::has_unique_object_representations_v<T>, "padding would make the hash unstable: list the members");
    bytes(&value, sizeof value);
  }
  void field(bool& value) {
    u8 b = value;
    bytes(&b, 1);
    value = b != 0;
  }
  template <class... T>
  void fields(T&... values) {
    (field(values), ...);
  }
  /// After restoring `value`: it must be at most `most`.
  template <class T>
  void limit(T& value, T most, std::string_view name) {
    if (loading() && value > most) {
      damaged(name);
      value = T{};
    }
  }
  /// A byte vector of at most `most` bytes, with its length.
  void blob(std::vector<u8>& data, u64 most, std::string_view name) {
    u64 size = data.size();
    field(size);
    if (loading()) {
      if (size > most) {
        damaged(name);
        size = 0;
      }
      data.resize(size);
    }
    bytes(data.data(), data.size());
  }
};

/// Appends to a vector.
class StateWriter final : public StateIo {
 public:
  bool loading() const override { return false; }
  void bytes(void* data, std::size_t size) override;
  void section(std::string_view name) override;
  void damaged(std::string_view) override {}
  std::vector<u8> take() { return std::move(out_); }

 private:
  std::vector<u8> out_;
};

/// Reads from a span; never past its end.
class StateReader final : public StateIo {
 public:
  explicit StateReader(std::span<const u8> in) : in_(in) {}
  bool loading() const override { return true; }
  void bytes(void* data, std::size_t size) override;
  void section(std::string_view name) override;
  void damaged(std::string_view why) override;
  bool good() const { return error_.empty(); }
  bool at_end() const { return in_.empty(); }
  const std::string& error() const { return error_; }

 private:
  std::span<const u8> in_;
  std::string error_;
};

/// Feeds XXH3-64: equal state gives equal digests on every host.
class StateHasher final : public StateIo {
 public:
  StateHasher();
  ~StateHasher() override;
  StateHasher(const StateHasher&) = delete;
  StateHasher& operator=(const StateHasher&) = delete;
  bool loading() const override { return false; }
  void bytes(void* data, std::size_t size) override;
  void section(std::string_view name) override;
  void damaged(std::string_view) override {}
  u64 digest() const;

 private:
  struct Impl;
  Impl* impl_;
};

/// XXH3-64 of a byte range.
u64 hash_bytes(std::span<const u8> data, u64 seed = 0);

}  // namespace callgate
