// The firmware configuration interface: named and numbered blobs that the guest reads by port or by DMA. The board
// fills it before the start; the guest cannot write. Knows no file and not what the blobs mean. Ref: QEMU,
// docs/specs/fw_cfg, "QEMU Firmware Configuration (fw_cfg) Device".
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/seam.h"
#include "base/state_io.h"

namespace callgate {

/// Keys of the items that firmware expects by number.
namespace fw_cfg_key {
constexpr u16 kSignature = 0x00;
constexpr u16 kId = 0x01;
constexpr u16 kUuid = 0x02;
constexpr u16 kRamSize = 0x03;
constexpr u16 kNoGraphic = 0x04;
constexpr u16 kCpuCount = 0x05;
constexpr u16 kKernelAddress = 0x07;
constexpr u16 kKernelSize = 0x08;
constexpr u16 kInitrdAddress = 0x0A;
constexpr u16 kInitrdSize = 0x0B;
constexpr u16 kBootDevice = 0x0C;
constexpr u16 kNuma = 0x0D;
constexpr u16 kBootMenu = 0x0E;
constexpr u16 kMaxCpus = 0x0F;
constexpr u16 kKernelEntry = 0x10;
constexpr u16 kKernelData = 0x11;
constexpr u16 kInitrdData = 0x12;
constexpr u16 kCommandLineAddress = 0x13;
constexpr u16 kCommandLineSize = 0x14;
constexpr u16 kCommandLineData = 0x15;
constexpr u16 kSetupAddress = 0x16;
constexpr u16 kSetupSize = 0x17;
constexpr u16 kSetupData = 0x18;
constexpr u16 kFileDirectory = 0x19;
constexpr u16 kFirstFile = 0x20;
constexpr u16 kIrq0Override = 0x8002;
constexpr u16 kE820 = 0x8003;
}  // namespace fw_cfg_key

/// Twelve ports, at 0x510: selector, data, and the DMA address from 0x514 on.
class FwCfg final : public BusTarget {
 public:
  explicit FwCfg(DmaMemory& memory);

  /// Sets the item `key`, replacing an earlier one. `key` is none of the signature, the ID, the directory and the
  /// files.
  void add_item(u16 key, std::vector<u8> bytes);
  /// The same for a little-endian number.
  void add_u16(u16 key, u16 value) { add_number(key, value, 2); }
  void add_u32(u16 key, u32 value) { add_number(key, value, 4); }
  void add_u64(u16 key, u64 value) { add_number(key, value, 8); }
  /// Adds a file to the directory and returns its key. Fails on an empty, overlong (above 55 bytes) or repeated name.
  Result<u16> add_file(std::string_view name, std::vector<u8> bytes);

  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;

  void reset();
  /// The blobs are configuration: a digest is saved, and a restore into a machine with others is refused.
  void sync(StateIo& io);

 private:
  struct File {
    std::string name;
    u16 key;
  };

  void add_number(u16 key, u64 value, unsigned bytes);
  void put(u16 key, std::vector<u8> bytes);
  void rebuild_directory();
  void select(u16 key);
  u8 next_byte();
  void run_dma(u64 descriptor);
  bool transfer(u32 control, u32 length, u64 address);

  DmaMemory& memory_;
  std::map<u16, std::vector<u8>> items_;
  std::map<u16, u64> digests_;
  std::vector<File> files_;
  const std::vector<u8>* selected_item_ = nullptr;  ///< derived from selected_
  u16 selected_ = 0;
  u32 offset_ = 0;           ///< of the next byte, at most the item's size
  u32 descriptor_high_ = 0;  ///< the upper half of the DMA descriptor's address
};

}  // namespace callgate
