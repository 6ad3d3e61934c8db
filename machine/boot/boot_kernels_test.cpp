// Debian's real kernels through the loaders. Their place comes from CALLGATE_TEST_KERNEL_DIR (any depth of folders).
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "machine/boot/boot_plan.h"
#include "machine/boot/files.h"

using namespace callgate;
using namespace callgate::boot;

namespace {

std::vector<std::string> kernels() {
  std::vector<std::string> found;
  const char* folder = std::getenv("CALLGATE_TEST_KERNEL_DIR");
  if (!folder || !*folder) {
    std::cout << "skipped: CALLGATE_TEST_KERNEL_DIR is not set, so there are no real kernels to try\n";
    return found;
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, error)) {
    if (entry.path().filename().string().starts_with("vmlinuz") && entry.is_regular_file()) {
      found.push_back(entry.path().string());
    }
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) std::cout << "skipped: no vmlinuz* below " << folder << "\n";
  return found;
}

BootInputs inputs_for(const std::string& path, u64 ram) {
  BootInputs in;
  in.kernel = {path, read_file(path).value(), {}};
  in.initrd = BootFile{"initrd.img", FileBytes(100'000, 0x5A), {}};
  in.command_line = "console=ttyS0";
  in.memory.ranges = {{0, 0x9FC00, RangeType::Usable},
                      {0x9FC00, 0x60400, RangeType::Reserved},
                      {0x100000, ram - 0x100000, RangeType::Usable}};
  in.memory.rsdp = 0xE0000;
  return in;
}

}  // namespace

TEST_CASE("a Debian kernel is entered by PVH unless its 64-bit entry is asked for") {
  for (const std::string& path : kernels()) {
    CAPTURE(path);
    const auto pvh = plan_boot(inputs_for(path, u64{512} << 20));
    REQUIRE(pvh.has_value());
    CHECK(pvh->entry.kind == EntryKind::Pvh);
    CHECK(pvh->entry.rip >= 0x1000000);
    std::cout << path << ": " << pvh->description << "\n";

    BootOptions options;
    options.linux_entry = LinuxEntry::Bits64;
    const auto bits64 = plan_boot(inputs_for(path, u64{512} << 20), options);
    REQUIRE(bits64.has_value());
    CHECK(bits64->entry.kind == EntryKind::Linux64);
    CHECK(bits64->entry.rip == 0x1000200);  // pref_address + 0x200
    std::cout << path << ": " << bits64->description << "\n";
  }
}

TEST_CASE("a Debian kernel in too little RAM is refused with the way out") {
  for (const std::string& path : kernels()) {
    for (const LinuxEntry entry : {LinuxEntry::Pvh, LinuxEntry::Bits64}) {
      BootOptions options;
      options.linux_entry = entry;
      const auto plan = plan_boot(inputs_for(path, u64{32} << 20), options);
      REQUIRE(!plan.has_value());
      CHECK(plan.error().kind == ErrorKind::BadArgument);
      CHECK(plan.error().message.find("give the guest more with -m") != std::string::npos);
      INFO(plan.error().message);
      CHECK(plan.error().message.starts_with(path));
    }
  }
}

TEST_CASE("a Debian kernel with a damaged byte in its compressed part is refused where the format has checksums") {
  for (const std::string& path : kernels()) {
    const BootInputs good = inputs_for(path, u64{512} << 20);
    u64 refused = 0;
    constexpr u64 kTries = 3;
    for (u64 i = 1; i <= kTries; i++) {
      BootInputs bad = good;
      bad.kernel.bytes[bad.kernel.bytes.size() / (kTries + 2) * i] ^= 0xFF;
      if (const auto plan = plan_boot(std::move(bad)); !plan) {
        refused++;
        CHECK(plan.error().message.starts_with(path + ": "));
      }
    }
    // LZ4's legacy frame has no checksum, so a damaged literal passes; XZ, gzip and Zstandard catch every one.
    INFO(path << ": " << refused << " of " << kTries);
    if (plan_boot(good)->description.find("LZ4") == std::string::npos) CHECK(refused == kTries);
  }
}
