#include "machine/bios_area.h"

#include <array>
#include <vector>

namespace callgate {

namespace {

// IBM PC/AT Technical Reference, Section 5: interrupt vectors, BIOS data area and the reset entry.
constexpr u64 kVectors = 256;
constexpr u64 kComPorts = 0x400, kEquipment = 0x410, kBaseMemoryKiB = 0x413;
constexpr u16 kCom1 = 0x3F8;
constexpr u16 kOneSerialPort = 1 << 9, kCoprocessor = 1 << 1;
constexpr u64 kFirmwareSegment = 0xF000;

constexpr u16 kRefuseAt = 0xFF40, kReturnAt = 0xFF53, kResetAt = 0xFFF0;

// A service that isn't there: the caller gets CF (an error) and ZF (for "is there a key?": no), nothing else changes.
constexpr std::array<u8, 9> kRefuse = {
    0x55,                    // push bp
    0x89, 0xE5,              // mov bp, sp
    0x80, 0x4E, 0x06, 0x41,  // or byte [bp + 6], CF | ZF: the flags that IRET takes
    0x5D,                    // pop bp
    0xCF,                    // iret
};
// Hardware interrupts and exceptions: the flags belong to whoever was interrupted.
constexpr std::array<u8, 1> kReturn = {0xCF};  // iret
// Where a guest jumps that wants to start afresh through the firmware: a reset by port CF9h.
constexpr std::array<u8, 7> kReset = {
    0xBA, 0xF9, 0x0C,  // mov dx, 0CF9h
    0xB0, 0x06,        // mov al, 6
    0xEE,              // out dx, al
    0xF4,              // hlt
};

constexpr bool is_service(u64 vector) { return vector >= 0x10 && !(vector >= 0x70 && vector < 0x78); }

}  // namespace

void write_bios_area(PhysicalMap& memory, u64 base_memory) {
  std::vector<u8> vectors;
  const auto put16 = [&](u64 value) {
    vectors.push_back(static_cast<u8>(value));
    vectors.push_back(static_cast<u8>(value >> 8));
  };
  for (u64 i = 0; i < kVectors; i++) {
    put16(is_service(i) ? kRefuseAt : kReturnAt);
    put16(kFirmwareSegment);
  }
  memory.write(0, vectors);
  memory.write(kFirmwareSegment * 16 + kRefuseAt, kRefuse);
  memory.write(kFirmwareSegment * 16 + kReturnAt, kReturn);
  memory.write(kFirmwareSegment * 16 + kResetAt, kReset);

  const auto write16 = [&](u64 at, u64 value) {
    memory.write(at, std::array<u8, 2>{static_cast<u8>(value), static_cast<u8>(value >> 8)});
  };
  write16(kComPorts, kCom1);
  write16(kEquipment, kOneSerialPort | kCoprocessor);
  write16(kBaseMemoryKiB, base_memory >> 10);
}

}  // namespace callgate
