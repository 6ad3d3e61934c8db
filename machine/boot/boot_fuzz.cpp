// The loaders against libFuzzer: any bytes as a kernel, and a plan that keeps its promises or an error that is a
// sentence. The first byte chooses the options, the rest is the kernel.
#include <algorithm>
#include <span>

#include "base/verify.h"
#include "machine/boot/boot_plan.h"

using namespace callgate;
using namespace callgate::boot;

namespace {

BootInputs inputs_for(u8 choice, std::span<const u8> kernel) {
  BootInputs in;
  in.kernel = {"kernel", {kernel.begin(), kernel.end()}, {}};
  if (choice & 4) in.initrd = BootFile{"initrd", FileBytes(5000), {}};
  if (choice & 8) in.modules.push_back({"module", FileBytes(5000), "module a"});
  in.command_line = "console=ttyS0";
  const u64 ram = choice & 16 ? u64{8} << 20 : u64{6} << 30;
  in.memory.ranges = {{0, 0x9FC00, RangeType::Usable}, {0x9FC00, 0x60400, RangeType::Reserved}};
  in.memory.ranges.push_back({0x100000, std::min<u64>(ram, 0xC0000000) - 0x100000, RangeType::Usable});
  if (ram > 0xC0000000) in.memory.ranges.push_back({u64{1} << 32, ram - 0xC0000000, RangeType::Usable});
  in.memory.rsdp = 0xE0000;
  return in;
}

bool in_ram(const MemoryMap& memory, u64 start, u64 size) {
  return std::any_of(memory.ranges.begin(), memory.ranges.end(), [&](const MemoryRange& r) {
    return r.type == RangeType::Usable && r.start <= start && start <= r.end() && size <= r.end() - start;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (size == 0) return 0;
  BootOptions options;
  options.linux_entry = static_cast<LinuxEntry>(data[0] & 3 ? (data[0] & 3) - 1 : 0);
  options.max_unpacked = u64{16} << 20;
  const BootInputs inputs = inputs_for(data[0], {data + 1, size - 1});
  const auto plan = plan_boot(inputs, options);
  if (!plan) {
    const std::string& message = plan.error().message;
    VERIFY(message.size() > 10 && message.size() < 400 && message.find('\n') == std::string::npos,
           "an error is a sentence");
    return 0;
  }
  u64 total = 0;
  for (const Load& load : plan->loads) {
    VERIFY(load.zeros <= u64{8} << 30 && in_ram(inputs.memory, load.physical, load.bytes.size() + load.zeros),
           "a plan only loads into RAM");
    total += load.bytes.size();
  }
  VERIFY(total <= 3 * (options.max_unpacked + size) + (u64{1} << 20), "a plan is not much larger than its files");
  VERIFY(in_ram(inputs.memory, plan->entry.rip, 1), "a plan enters RAM");
  VERIFY(!plan->description.empty(), "a plan describes itself");
  return 0;
}
