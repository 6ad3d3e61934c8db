#include "frontend/gdb/registers.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>

using namespace callgate;
using namespace callgate::gdb;

namespace {

constexpr View kViews[] = {View::X86_64, View::I386, View::I8086};

/// A state with something in every register.
RegisterValues busy_values(unsigned mode) {
  std::mt19937_64 random(mode);
  RegisterValues v;
  CpuState& s = v.s;
  for (unsigned i = 0; i < 16; i++) s.gpr[i] = random();
  s.rip = random();
  s.flags.set_value(static_cast<u32>(random()) & ~u32{kVM});
  for (auto& seg : s.seg) {
    seg.selector = static_cast<u16>(random());
    seg.base = random() & 0xFFFFF0;
    seg.limit = static_cast<u32>(random());
    seg.rights = static_cast<u32>(random()) & 0xF0FF;
  }
  s.seg[FS].base = random();
  s.cr0 = kCr0Et | (mode != 0 ? u64{kCr0Pe} : 0) | (mode == 2 ? u64{kCr0Pg} : 0);
  if (mode == 2) s.msr.efer = kEferLme | kEferLma;
  s.cr2 = random();
  s.cr3 = random() & 0xFFFFFFF000;
  for (auto& r : s.x87.r) r = {random(), static_cast<u16>(random())};
  s.x87.top = 5;
  s.x87.empty = 0x5A;
  s.x87.status = 0x4123;
  s.x87.instruction_pointer = random();  // wider than what GDB shows
  s.x87.data_pointer = random();
  for (auto& r : s.vec)
    for (unsigned i = 0; i < 2; i++) r.lo.q[i] = random(), r.hi.q[i] = random();
  s.msr.lstar = random();
  s.msr.kernel_gs_base = random();
  s.gdtr = {random(), 0x1234};
  s.retired = 99;
  v.cr8 = 3;
  v.apic_base = 0xFEE0'0900;
  return v;
}

std::vector<u8> state_bytes(const CpuState& s) {
  CpuState copy = s;
  StateWriter writer;
  copy.sync(writer);
  return writer.take();
}

}  // namespace

TEST_CASE("what g reads G writes back to the same state, in every mode and view") {
  for (const View view : kViews) {
    const RegisterFile file(view);
    for (unsigned mode = 0; mode < 3; mode++) {
      RegisterValues v = busy_values(mode);
      const auto before = state_bytes(v.s);
      const auto all = file.read_all(v);
      CHECK(all.size() == file.bytes());
      CHECK(file.write_all(v, all));
      CHECK(state_bytes(v.s) == before);
      for (std::size_t n = 0; n < file.count(); n++) CHECK(file.write(v, n, file.read(v, n)));
      CHECK(state_bytes(v.s) == before);
    }
  }
}

TEST_CASE("a register that is written reads as it was written, and nothing else changes") {
  const RegisterFile file(View::X86_64);
  std::mt19937_64 random(1);
  for (std::size_t n = 0; n < file.count(); n++) {
    RegisterValues v = busy_values(2);
    std::vector<u8> bytes = file.read(v, n);
    bytes[0] ^= 1;
    const std::string& name = file.at(n).name;
    if (!file.write(v, n, bytes)) {
      const bool expected = name == "cr8" || name == "apic_base" || name == "retired" || name == "tsc_adjust" || name == "xcr0" ||
                            name == "cr0";  // CR0.PE alone can't go while paging is on
      CHECK_MESSAGE(expected, name);
      continue;
    }
    if (name == "dr6" || name == "dr7" || name == "fctrl") continue;
    if (name != "eflags" && name != "ftag") CHECK_MESSAGE(file.read(v, n) == bytes, name);
    const RegisterValues old = busy_values(2);
    for (std::size_t other = 0; other < file.count(); other++) {
      const std::string& also = file.at(other).name;
      if (other == n || name == "fstat" || also == "ftag" || also == "fstat" || (name == "cr0" && also == "efer")) continue;
      CHECK_MESSAGE(file.read(v, other) == file.read(old, other), (name + " changes " + also));
    }
  }
}

TEST_CASE("no value that a processor could not hold gets in") {
  const RegisterFile file(View::X86_64);
  const auto refuses = [&](const char* name, u64 value, unsigned mode) {
    RegisterValues v = busy_values(mode);
    const std::size_t n = file.find(name);
    REQUIRE(n < file.count());
    std::vector<u8> bytes(file.at(n).bytes);
    std::memcpy(bytes.data(), &value, bytes.size());
    return !file.write(v, n, bytes);
  };
  CHECK(refuses("cr0", kCr0Pg, 1));
  CHECK(refuses("cr0", u64{1} << 40, 1));
  CHECK(refuses("cr4", u64{1} << 12, 1));
  CHECK(refuses("efer", 2, 1));
  CHECK(refuses("cpl", 4, 1));
  CHECK(refuses("mxcsr", 0x10000, 1));
  CHECK(refuses("eflags", kVM, 2));
  CHECK(refuses("cs", 0x10000, 1));
  CHECK(refuses("xcr0", 4, 1));
}

TEST_CASE("in real mode a selector brings its base along, and the i8086 view shows linear addresses") {
  RegisterValues v = busy_values(0);
  const RegisterFile wide(View::X86_64), real(View::I8086);
  const u8 selector[4] = {0x34, 0x12, 0, 0};
  CHECK(wide.write(v, wide.find("cs"), selector));
  CHECK(v.s.seg[CS].base == 0x12340);
  v.s.rip = 0x10;
  v.s.gpr[RSP] = 0xFFFE;
  v.s.seg[SS].base = 0x20000;
  CHECK(real.read(v, real.find("eip")) == std::vector<u8>{0x50, 0x23, 0x01, 0x00});
  CHECK(real.read(v, real.find("esp")) == std::vector<u8>{0xFE, 0xFF, 0x02, 0x00});
  const u8 eip[4] = {0x60, 0x23, 0x01, 0x00};
  CHECK(real.write(v, real.find("eip"), eip));
  CHECK(v.s.rip == 0x20);
}

TEST_CASE("the target description names every register once, in its order") {
  for (const View view : kViews) {
    const RegisterFile file(view);
    const std::string xml = file.xml();
    std::size_t at = 0;
    for (std::size_t n = 0; n < file.count(); n++) {
      const std::string mention = "<reg name=\"" + file.at(n).name + "\" ";
      const std::size_t found = xml.find(mention);
      REQUIRE_MESSAGE(found != std::string::npos, mention);
      CHECK_MESSAGE(found > at, mention);
      CHECK(xml.find(mention, found + 1) == std::string::npos);
      at = found;
    }
  }
}
