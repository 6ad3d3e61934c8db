// RFLAGS with the six arithmetic flags kept lazily: a result and its carries say them all, so an instruction stores three
// words and computes no flag. One representation for every operation and width: no "last operation" to switch on.
#pragma once

#include <bit>
#include <cstddef>

#include "base/bits.h"

namespace callgate {

/// RFLAGS bits. SDM 1, EFLAGS Register.
enum RFlag : u32 {
  kCF = 1u << 0, kPF = 1u << 2, kAF = 1u << 4, kZF = 1u << 6, kSF = 1u << 7, kTF = 1u << 8, kIF = 1u << 9,
  kDF = 1u << 10, kOF = 1u << 11, kIOPL = 3u << 12, kNT = 1u << 14, kRF = 1u << 16, kVM = 1u << 17, kAC = 1u << 18,
  kVIF = 1u << 19, kVIP = 1u << 20, kID = 1u << 21,
  kArithmetic = kCF | kPF | kAF | kZF | kSF | kOF,
  kFlagsFixed = 2,  ///< bit 1 reads as one
};

/// The flags register.
class Flags {
 public:
  bool cf() const { return carry_ >> 63; }
  bool of() const { return (carry_ ^ carry_ << 1) >> 63; }
  bool af() const { return carry_ >> 3 & 1; }
  bool zf() const { return zero_ == 0; }
  bool sf() const { return sign_ >> 63; }
  bool pf() const { return !(std::popcount(static_cast<u8>(sign_)) & 1); }

  /// From an operation on T: its result, and its carries: bit i is the carry (or borrow) out of bit i.
  template <class T>
  void set(T result, T carries) {
    constexpr unsigned kShift = 64 - 8 * sizeof(T);
    zero_ = result;
    sign_ = static_cast<u64>(static_cast<i64>(static_cast<u64>(result) << kShift) >> kShift);
    carry_ = static_cast<u64>(carries) << kShift;
    if constexpr (kShift != 0) carry_ |= carries & 8;
  }
  /// ZF, SF and PF from a result; CF, OF and AF as given.
  template <class T>
  void set(T result, bool cf, bool of, bool af) {
    set<T>(result, T{0});
    set_carries(cf, of, af);
  }
  void set_cf(bool v) { set_carries(v, of(), af()); }
  void set_of(bool v) { set_carries(cf(), v, af()); }
  void set_af(bool v) { carry_ = (carry_ & ~u64{8}) | u64{v} << 3; }
  void set_carries(bool cf, bool of, bool af) { carry_ = u64{cf} << 63 | u64(cf != of) << 62 | u64{af} << 3; }
  void set_zf(bool v) { zero_ = !v; }
  /// All six at once, from their places in RFLAGS.
  void set_arithmetic(u32 v) {
    zero_ = !(v & kZF);
    sign_ = (v & kSF ? u64{1} << 63 : 0) | !(v & kPF);
    set_carries(v & kCF, v & kOF, v & kAF);
  }
  u32 arithmetic() const {
    return u32{cf()} | u32{pf()} << 2 | u32{af()} << 4 | u32{zf()} << 6 | u32{sf()} << 7 | u32{of()} << 11;
  }

  /// The whole register as PUSHF would show it (RF and VM included).
  u32 value() const { return arithmetic() | other_ | kFlagsFixed; }
  /// Sets everything; reserved bits are dropped. Use Cpu::set_flags from instructions: bits like TF, IF, VM and AC have
  /// consequences that the processor must hear of.
  void set_value(u32 v) {
    set_arithmetic(v);
    other_ = v & (kTF | kIF | kDF | kIOPL | kNT | kRF | kVM | kAC | kVIF | kVIP | kID);
  }
  /// Bits other than the arithmetic ones.
  bool test(u32 mask) const { return other_ & mask; }
  u32 other() const { return other_; }
  unsigned iopl() const { return other_ >> 12 & 3; }
  void assign(u32 mask, bool v) { other_ = v ? other_ | mask : other_ & ~mask; }

  /// The condition of Jcc, SETcc and CMOVcc: `cc` is the low four bits of the opcode. SDM 2, Appendix B.
  bool condition(unsigned cc) const {
    bool r = false;
    switch (cc >> 1) {
      case 0: r = of(); break;
      case 1: r = cf(); break;
      case 2: r = zf(); break;
      case 3: r = cf() || zf(); break;
      case 4: r = sf(); break;
      case 5: r = pf(); break;
      case 6: r = sf() != of(); break;
      case 7: r = zf() || sf() != of(); break;
    }
    return r != static_cast<bool>(cc & 1);
  }

  /// Where the bits that aren't arithmetic flags are, for emitted code.
  static constexpr std::size_t other_offset();

 private:
  u64 zero_ = 1;   ///< ZF is set when this is 0
  u64 sign_ = 1;   ///< bit 63 is SF; PF is the even parity of the low byte
  u64 carry_ = 0;  ///< bit 63 is CF, bits 63 and 62 differ for OF, bit 3 is AF
  u32 other_ = 0;
};
constexpr std::size_t Flags::other_offset() { return offsetof(Flags, other_); }

}  // namespace callgate
