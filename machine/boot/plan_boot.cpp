// Tells what a kernel is and chooses how to enter it.
#include <fmt/format.h>

#include "machine/boot/protocols.h"

namespace callgate::boot {

namespace {

// Initrds are loaded below 4 GiB, and the structures hold their size in 32 bits.
constexpr u64 kMaxFile = k4GiB - 1;

// A bzImage by PVH: unpacked here. Nothing comes back when it lacks what PVH takes, and `why` says what that is.
Result<std::optional<BootPlan>> plan_bzimage_by_pvh(BootInputs& inputs, const BzImage& image,
                                                    const BootOptions& options, std::string& why) {
  const std::string name = inputs.kernel.name;
  const ByteView file(inputs.kernel.bytes);
  const Compression compression = payload_compression(file, image);
  if (!can_unpack(compression)) {
    why = image.payload_start == 0
              ? "its header names no compressed kernel"
              : fmt::format("its {} compression can't be unpacked here", compression_name(compression));
    return std::nullopt;
  }
  auto bytes = unpack_payload(file, image, options.max_unpacked, name);
  if (!bytes) return tl::make_unexpected(bytes.error());
  const auto unpacked = std::make_shared<const FileBytes>(std::move(*bytes));
  const auto elf = parse_elf(*unpacked, name);
  if (!elf) return tl::make_unexpected(elf.error());
  if (!elf->pvh_entry) {
    why = "it has no PVH note (CONFIG_PVH)";
    return std::nullopt;
  }
  auto plan = plan_pvh(std::move(inputs), unpacked, *elf, {image.initrd_last, image.command_line_limit});
  if (!plan) return tl::make_unexpected(plan.error());
  plan->description = fmt::format(
      "Linux bzImage (boot protocol {}.{:02}, {}) unpacked on the host to {}, PVH entry 0x{:x}", image.version >> 8,
      image.version & 0xFF, compression_name(compression), size_in_words(unpacked->size()), plan->entry.rip);
  return std::move(*plan);
}

Result<BootPlan> plan_bzimage(BootInputs inputs, const BootOptions& options) {
  const std::string name = inputs.kernel.name;
  const auto image = parse_bzimage(inputs.kernel.bytes, name);
  if (!image) return tl::make_unexpected(image.error());
  std::string why;
  if (options.linux_entry == LinuxEntry::Bits64) {
    if (!image->has_64bit_entry) return fail(ErrorKind::BadFile, name + ": a 32-bit Linux kernel has no 64-bit entry");
  } else {
    auto plan = plan_bzimage_by_pvh(inputs, *image, options, why);
    if (!plan) return tl::make_unexpected(plan.error());
    if (*plan) return std::move(**plan);
    if (options.linux_entry == LinuxEntry::Pvh) {
      return fail(ErrorKind::BadFile, fmt::format("{}: can't be entered by PVH: {}", name, why));
    }
  }
  auto plan = plan_linux(std::move(inputs), *image);
  if (plan && !why.empty()) plan->description += fmt::format(" ({})", why);
  return plan;
}

Result<BootPlan> plan_elf(BootInputs inputs) {
  // The plan keeps the file for its segments.
  const std::string name = inputs.kernel.name;
  const auto kernel = std::make_shared<const FileBytes>(std::move(inputs.kernel.bytes));
  const auto image = parse_elf(*kernel, name);
  if (!image) return tl::make_unexpected(image.error());
  if (!image->pvh_entry) {
    return fail(
        ErrorKind::BadFile,
        name + ": an ELF file with neither a PVH note nor a Multiboot 1 header, so there is no way to start it");
  }
  return plan_pvh(std::move(inputs), kernel, *image, {});
}

Result<> check_files(const BootInputs& inputs, KernelFormat format) {
  if (inputs.kernel.bytes.empty()) return fail(ErrorKind::BadFile, inputs.kernel.name + ": the kernel is empty");
  if (inputs.initrd && inputs.initrd->bytes.empty()) {
    return fail(ErrorKind::BadFile, inputs.initrd->name + ": the initrd is empty");
  }
  if (inputs.initrd && inputs.initrd->bytes.size() > kMaxFile) {
    return fail(ErrorKind::BadFile, inputs.initrd->name + ": the initrd is larger than 4 GiB");
  }
  for (const BootFile& module : inputs.modules) {
    if (module.bytes.empty()) return fail(ErrorKind::BadFile, module.name + ": the module is empty");
    if (module.bytes.size() > kMaxFile)
      return fail(ErrorKind::BadFile, module.name + ": the module is larger than 4 GiB");
    if (module.arguments.find('\0') != std::string::npos) {
      return fail(ErrorKind::BadArgument, module.name + ": the module's arguments contain a NUL byte");
    }
  }
  if (!inputs.modules.empty() && format != KernelFormat::Multiboot1) {
    return fail(ErrorKind::BadArgument,
                inputs.kernel.name + ": modules are only for Multiboot kernels, which this is not");
  }
  if (inputs.initrd && format == KernelFormat::Multiboot1) {
    return fail(ErrorKind::BadArgument, inputs.kernel.name + ": a Multiboot kernel takes modules, not an initrd");
  }
  return {};
}

}  // namespace

Result<> check_command_line(const BootInputs& inputs, u64 limit) {
  if (inputs.command_line.find('\0') != std::string::npos) {
    return fail(ErrorKind::BadArgument, "--append: the command line contains a NUL byte");
  }
  if (inputs.command_line.size() > limit) {
    return fail(ErrorKind::BadArgument, fmt::format("--append: {} bytes are more than the {} that {} takes",
                                                    inputs.command_line.size(), limit, inputs.kernel.name));
  }
  return {};
}

KernelFormat detect_kernel(const FileBytes& kernel) {
  if (looks_like_bzimage(kernel)) return KernelFormat::LinuxBzImage;
  if (has_multiboot1_header(kernel)) return KernelFormat::Multiboot1;
  if (looks_like_elf(kernel)) return KernelFormat::Elf;
  return KernelFormat::Unknown;
}

Result<BootPlan> plan_boot(BootInputs inputs, const BootOptions& options) {
  KernelFormat format = detect_kernel(inputs.kernel.bytes);
  // A kernel with both headers (Xen is one) is entered by PVH on demand.
  if (format == KernelFormat::Multiboot1 && options.linux_entry == LinuxEntry::Pvh &&
      looks_like_elf(inputs.kernel.bytes)) {
    format = KernelFormat::Elf;
  }
  if (auto r = check_files(inputs, format); !r) return tl::make_unexpected(r.error());
  switch (format) {
    case KernelFormat::LinuxBzImage:
      return plan_bzimage(std::move(inputs), options);
    case KernelFormat::Multiboot1:
      return plan_multiboot1(std::move(inputs));
    case KernelFormat::Elf:
      return plan_elf(std::move(inputs));
    case KernelFormat::Unknown:
      break;
  }
  return fail(
      ErrorKind::BadFile,
      inputs.kernel.name + ": not a kernel that can be started (Linux bzImage, ELF with a PVH note, or Multiboot 1)");
}

}  // namespace callgate::boot
