// The memory of emitted code: one arena, mapped twice, so that no page is ever writable and executable at once. Filled from
// the front, and with routines that code calls from the back; when it is full everything is forgotten together. Knows no instructions.
#pragma once

#include "base/result.h"
#include "base/types.h"

namespace callgate::jit {

class CodeArena {
 public:
  static constexpr std::size_t kDefaultSize = std::size_t{64} << 20;

  CodeArena() = default;
  ~CodeArena();
  CodeArena(const CodeArena&) = delete;
  CodeArena& operator=(const CodeArena&) = delete;

  /// Reserves `size` bytes, once. Error: Host.
  Result<> open(std::size_t size);

  /// Where the next code will be executed.
  u8* next() const { return executable_ + used_; }
  std::size_t room() const { return size_ - used_ - at_back_; }
  std::size_t used() const { return used_; }
  std::size_t size() const { return size_; }
  /// Keeps `size` bytes at next().
  void append(const void* code, std::size_t size);
  /// Keeps `size` bytes in front of what else is at the back, and gives their address. Nothing that is called before next()
  /// is appended to moves by it.
  const u8* append_at_back(const void* code, std::size_t size);
  /// Forgets all behind the first `keep` bytes.
  void reset(std::size_t keep) {
    used_ = keep;
    at_back_ = 0;
  }
  /// Overwrites a 32-bit word at the executable address `at`.
  void patch(u8* at, i32 value);
  bool contains(const void* p) const {
    return static_cast<const u8*>(p) >= executable_ && static_cast<const u8*>(p) < executable_ + size_;
  }

 private:
  static constexpr std::size_t kPage = 4096;

  u8* executable_ = nullptr;
  u8* writable_ = nullptr;
  void populate(std::size_t end);

  std::size_t size_ = 0, used_ = 0, at_back_ = 0, populated_ = 0;
};

}  // namespace callgate::jit
