#include "tests/hwfuzz/operands.h"

#include <cstring>

#include "cpu/flags.h"

namespace callgate::hwfuzz {

u64 hard_integer(Random& random) {
  switch (random.below(10)) {
    case 0: return random.below(17);
    case 1: return u64{0} - random.below(17);
    case 2: return u64{1} << random.below(64);
    case 3: return (u64{1} << random.below(64)) - 1;
    case 4: return ~(u64{1} << random.below(64));
    case 5: return random.next() & 0xFFFFFFFF;
    case 6: return static_cast<u64>(static_cast<i32>(random.next()));
    case 7: {
      static constexpr u64 kEdges[] = {0x7F,
                                       0x80,
                                       0xFF,
                                       0x7FFF,
                                       0x8000,
                                       0xFFFF,
                                       0x7FFFFFFF,
                                       0x80000000,
                                       0xFFFFFFFF,
                                       0x7FFFFFFFFFFFFFFF,
                                       0x8000000000000000,
                                       0x100000000,
                                       0x0F,
                                       0x10,
                                       0x9A,
                                       0xFFFFFFFF80000000};
      return kEdges[random.below(std::size(kEdges))];
    }
    default: return random.next();
  }
}

void hard_bytes(Random& random, u8* out, unsigned size) {
  u8 lanes[16];
  const u64 kind = random.below(8);
  for (unsigned i = 0; i < size; i += 16) {
    switch (kind) {
      case 0:
      case 1:
        for (unsigned k = 0; k < 16; k += 4) store_as<u32>(lanes + k, fp::random_operand<fp::F32>(random));
        break;
      case 2:
      case 3:
        for (unsigned k = 0; k < 16; k += 8) store_as<u64>(lanes + k, fp::random_operand<fp::F64>(random));
        break;
      case 4: {
        const fp::F80 v = fp::random_operand<fp::F80>(random);
        store_as<u64>(lanes, v.significand);
        store_as<u64>(lanes + 8, v.sign_exponent | random.next() << 16);
        break;
      }
      case 5:
        for (unsigned k = 0; k < 16; k += 2) store_as<u16>(lanes + k, static_cast<u16>(hard_integer(random)));
        break;
      default:
        for (unsigned k = 0; k < 16; k += 8) store_as<u64>(lanes + k, hard_integer(random));
    }
    std::memcpy(out + i, lanes, std::min(16u, size - i));
  }
}

u64 pick_address(Random& random, unsigned size, unsigned alignment, Place place) {
  const u64 inside = 1 + random.below(size > 1 ? size - 1 : 1);  // bytes before an edge that is crossed
  const u64 room = 2 * kPageSize - size;
  const u64 any = kData + random.below(room);
  const u64 aligned = any & ~u64{(size > 16    ? 64
                                  : size >= 16 ? 16
                                  : size >= 8  ? 8
                                  : size >= 4  ? 4
                                  : size >= 2  ? 2
                                               : 1) -
                                 1u};
  if (alignment > 1 && !one_in(random, 8)) {
    const u64 mask = ~u64{alignment - 1};
    return place == Place::Good || !one_in(random, 6) ? any & mask : pick_address(random, size, 1, place) & mask;
  }
  const u64 kind = random.below(place == Place::Good ? 84 : 100);
  if (kind < 60) return aligned;
  if (kind < 76) return any;
  if (kind < 84) return kData + kPageSize - inside;
  if (kind < 88) return kReadOnly + random.below(kPageSize - size);
  if (kind < 90) return kReadOnly - inside;
  if (kind < 92) return kDataEnd - inside;
  if (kind < 93) return kDataEnd - size;
  if (kind < 94) return kData - inside;
  if (kind < 95) return kDataEnd + random.below(kPageSize);
  if (kind < 96) return kCode + random.below(kPageSize);
  static constexpr u64 kExotic[] = {0,
                                    8,
                                    0x00007FFFFFFFF000,
                                    0x00007FFFFFFFFFFF,
                                    0x0000800000000000,
                                    0x8000000000000000,
                                    0xFFFF7FFFFFFFFFFF,
                                    0xFFFF800000000000,
                                    0xFFFFFFFFFFFFFFF0,
                                    0x7FFFFFFFFFFFFFF8,
                                    0xFFFFFFFF80000000};
  return kExotic[random.below(std::size(kExotic))] - (one_in(random, 2) ? inside : 0);
}

void random_fx(Random& random, FxImage& fx) {
  static constexpr u16 kPrecision[4] = {0x300, 0x300, 0x200, 0x000};
  const u16 masks = static_cast<u16>(one_in(random, 3) ? random.below(64) : 0x3F);
  fx.control = static_cast<u16>(0x40 | masks | kPrecision[random.below(4)] | random.below(4) << 10);
  // Exceptions that wait for the next x87 instruction are seldom: nothing else would be tested.
  const u16 flags = static_cast<u16>(random.next() & 0x3F & (one_in(random, 16) ? 0x3F : masks));
  fx.status = static_cast<u16>((random.next() & 0x4740) | flags | random.below(8) << 11);
  if (!(flags & 1)) fx.status &= 0xFFBF;
  if (flags & ~masks & 0x3F) fx.status |= 0x8080;
  const u64 fullness = random.below(4);
  fx.not_empty = static_cast<u8>(fullness == 0   ? 0xFF
                                 : fullness == 1 ? random.next() | random.next()
                                 : fullness == 2 ? random.next()
                                                 : 0);
  if (fullness == 3)  // a plausible stack of a few values
    for (u64 n = 0, depth = random.below(5); n < depth; n++)
      fx.not_empty |= static_cast<u8>(1u << (((fx.status >> 11) + n) & 7));
  fx.opcode = static_cast<u16>(random.next() & 0x7FF);
  fx.instruction_pointer = random.next() & 0x7FFFFFFFFFFF;
  fx.data_pointer = random.next() & 0x7FFFFFFFFFFF;
  for (auto& st : fx.st) {
    const fp::F80 v = fp::random_operand<fp::F80>(random);
    st = {v.significand, v.sign_exponent, {}};
  }
  fx.mxcsr = static_cast<u32>(random.next() & 0x603F);
  fx.mxcsr |= one_in(random, 3) ? static_cast<u32>(random.next() & 0x1F80) : 0x1F80;
  if (one_in(random, 4)) fx.mxcsr |= 0x8000;
  if (one_in(random, 4)) fx.mxcsr |= 0x40;
  for (auto& xmm : fx.xmm) hard_bytes(random, reinterpret_cast<u8*>(xmm), 16);
}

void random_state(Random& random, Registers& in) {
  for (u64& g : in.gpr) g = one_in(random, 5) ? pick_address(random, 8, 1, Place::Good) : hard_integer(random);
  in.gpr[4] = one_in(random, 6) ? pick_address(random, 8, 1, Place::Anywhere) : kData + 512 + 8 * random.below(800);
  in.rflags = 0x202 | (random.next() & kArithmetic);
  if (one_in(random, 6)) in.rflags |= kDF;
  if (one_in(random, 40)) in.rflags |= kAC;
  if (one_in(random, 60)) in.rflags |= kTF;
  if (one_in(random, 60)) in.rflags |= kID;
  random_fx(random, in.fx);
  const bool clean = one_in(random, 3);
  for (auto& upper : in.upper) {
    hard_bytes(random, reinterpret_cast<u8*>(upper), 16);
    if (clean) upper[0] = upper[1] = 0;
  }
}

}  // namespace callgate::hwfuzz
