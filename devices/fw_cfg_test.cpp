#include "devices/fw_cfg.h"

#include <doctest/doctest.h>

#include <string>

#include "devices/test_support.h"

namespace callgate {
namespace {

struct Rig {
  test::FakeMemory memory{0x4000};
  FwCfg fw{memory};

  void select(u16 key) { fw.write(0, 2, key); }
  std::string text(u16 key, unsigned n) {
    select(key);
    std::string out;
    for (unsigned i = 0; i < n; ++i) out += static_cast<char>(fw.read(1, 1));
    return out;
  }
  void put_be(u64 at, u64 value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) memory.data[at + i] = static_cast<u8>(value >> (8 * (bytes - 1 - i)));
  }
  // A descriptor at 0x100, started through both halves of the address register. Returns the control word afterwards.
  u32 dma(u32 control, u32 length, u64 address) {
    put_be(0x100, control, 4), put_be(0x104, length, 4), put_be(0x108, address, 8);
    fw.write(4, 4, 0);
    fw.write(8, 4, __builtin_bswap32(0x100));
    return static_cast<u32>(memory.data[0x100] << 24 | memory.data[0x101] << 16 | memory.data[0x102] << 8 |
                            memory.data[0x103]);
  }
};

std::vector<u8> bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

TEST_CASE("fw_cfg: the signature and the features are found") {
  Rig r;
  CHECK(r.text(0x00, 4) == "QEMU");
  CHECK(r.text(0x01, 4) == std::string("\x03\0\0\0", 4));
  CHECK(r.fw.read(4, 4) == 0x554D4551);  // "QEMU CFG" as the big-endian register shows it
  CHECK(r.fw.read(8, 4) == 0x47464320);
}

TEST_CASE("fw_cfg: items are read byte by byte, zeros follow, and selecting starts anew") {
  Rig r;
  r.fw.add_u16(fw_cfg_key::kCpuCount, 4);
  r.fw.add_u64(fw_cfg_key::kRamSize, u64{3} << 30);
  CHECK(r.text(0x05, 4) == std::string("\x04\0\0\0", 4));
  CHECK(r.text(0x03, 8) == std::string("\0\0\0\xC0\0\0\0\0", 8));
  CHECK(r.text(0x1234, 2) == std::string(2, '\0'));
  r.fw.add_item(fw_cfg_key::kCommandLineData, bytes_of("quiet"));
  CHECK(r.text(0x15, 2) == "qu");
  CHECK(r.text(0x15, 5) == "quiet");
  r.select(0x15);
  CHECK(r.fw.read(1, 4) == 0x65697571);
}

TEST_CASE("fw_cfg: files are listed big-endian in the directory, and found by its keys") {
  Rig r;
  CHECK(r.fw.add_file("etc/e820", bytes_of("map")).value() == 0x20);
  CHECK(r.fw.add_file("opt/org.test/x", bytes_of("hello")).value() == 0x21);
  const std::string directory = r.text(0x19, 4 + 2 * 64);
  CHECK(directory.substr(0, 4) == std::string("\0\0\0\x02", 4));
  CHECK(directory.substr(4, 8) == std::string("\0\0\0\x03\0\x20\0\0", 8));
  CHECK(directory.substr(4 + 64 + 8, 15) == std::string("opt/org.test/x\0", 15));
  CHECK(r.text(0x21, 5) == "hello");
}

TEST_CASE("fw_cfg: names that do not fit or repeat are refused with a sentence") {
  Rig r;
  CHECK(r.fw.add_file(std::string(55, 'a'), {}).has_value());
  CHECK(r.fw.add_file(std::string(56, 'a'), {}).error().message.find("1 to 55 bytes") != std::string::npos);
  CHECK_FALSE(r.fw.add_file("", {}).has_value());
  CHECK_FALSE(r.fw.add_file(std::string(55, 'a'), {}).has_value());
}

TEST_CASE("fw_cfg: DMA selects, reads, and clears the control word") {
  Rig r;
  r.fw.add_item(fw_cfg_key::kKernelData, bytes_of("kernel!"));
  CHECK(r.dma(0x0011'000A, 6, 0x200) == 0);
  CHECK(std::string(r.memory.data.begin() + 0x200, r.memory.data.begin() + 0x206) == "kernel");
  CHECK(r.dma(0x02, 4, 0x300) == 0);  // goes on; zeros past the end
  CHECK(std::string(r.memory.data.begin() + 0x300, r.memory.data.begin() + 0x304) == std::string("!\0\0\0", 4));
}

TEST_CASE("fw_cfg: DMA skips, and never past the end") {
  Rig r;
  r.fw.add_item(fw_cfg_key::kKernelData, bytes_of("kernel!"));
  CHECK(r.dma(0x0011'000C, 3, 0) == 0);
  CHECK(r.fw.read(1, 1) == 'n');
  CHECK(r.dma(0x04, 0xFFFFFFFF, 0) == 0);
  CHECK(r.fw.read(1, 1) == 0);
}

TEST_CASE("fw_cfg: DMA writes are refused with the error bit") {
  Rig r;
  CHECK(r.dma(0x0000'0018, 4, 0x200) == 1);
  CHECK(r.text(0x00, 4) == "QEMU");
}

TEST_CASE("fw_cfg: DMA far past the item's end is refused at once") {
  Rig r;
  CHECK(r.dma(0x02, 0xFFFFFFFF, 0x200) == 1);
}

TEST_CASE("fw_cfg: a descriptor outside of memory does no harm") {
  Rig r;
  r.fw.write(4, 4, 0xFFFFFFFF);
  r.fw.write(8, 4, 0xF0FFFFFF);
}

TEST_CASE("fw_cfg: a restored interface goes on in the item, and refuses other items") {
  Rig a;
  a.fw.add_item(fw_cfg_key::kCommandLineData, bytes_of("quiet"));
  a.text(0x15, 2);
  const auto bytes = test::saved(a.fw);
  Rig b;
  b.fw.add_item(fw_cfg_key::kCommandLineData, bytes_of("quiet"));
  CHECK(test::restored(b.fw, bytes) == "");
  CHECK(b.fw.read(1, 1) == 'i');
  Rig c;
  c.fw.add_item(fw_cfg_key::kCommandLineData, bytes_of("noisy"));
  CHECK(test::restored(c.fw, bytes) == "fw_cfg: this machine's items are not those of the saved one");
}

}  // namespace
}  // namespace callgate
