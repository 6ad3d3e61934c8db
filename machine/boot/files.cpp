#include "machine/boot/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace callgate::boot {

namespace {

// Closes the descriptor with the scope.
struct Descriptor {
  explicit Descriptor(int number) : number(number) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number;
};

std::string reason(int error) { return std::generic_category().message(error); }

std::vector<std::string> split_list(const std::string& list) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < list.size(); i++) {
    if (list[i] != ',') {
      parts.back() += list[i];
    } else if (i + 1 < list.size() && list[i + 1] == ',') {
      parts.back() += list[i++];
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

Result<BootFile> read_module(const std::string& text) {
  const std::string path = text.substr(0, text.find(' '));
  if (path.empty()) return fail(ErrorKind::BadArgument, "--initrd: the list of modules has an empty name");
  auto bytes = read_file(path);
  if (!bytes) return tl::make_unexpected(bytes.error());
  const auto slash = path.rfind('/');
  return BootFile{path, std::move(*bytes), slash == std::string::npos ? text : text.substr(slash + 1)};
}

}  // namespace

Result<FileBytes> read_file(const std::string& path, u64 max_size) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.number < 0) return fail(ErrorKind::MissingFile, path + ": " + reason(errno));
  struct stat info {};
  if (::fstat(file.number, &info) != 0) return fail(ErrorKind::MissingFile, path + ": " + reason(errno));
  if (S_ISDIR(info.st_mode)) return fail(ErrorKind::BadFile, path + ": a directory, not a file");
  auto too_big = [&] {
    return fail(ErrorKind::BadFile,
                fmt::format("{}: larger than the {} that are allowed", path, size_in_words(max_size)));
  };

  FileBytes bytes;
  // A pipe tells no size, and a regular file's may change while it is read: the end is where read() says so.
  if (S_ISREG(info.st_mode)) {
    if (static_cast<u64>(info.st_size) > max_size) return too_big();
    bytes.reserve(static_cast<std::size_t>(info.st_size) + 1);
  }
  constexpr std::size_t kStep = std::size_t{1} << 20;
  for (;;) {
    const std::size_t before = bytes.size();
    const std::size_t spare = bytes.capacity() - before;
    bytes.resize(before + (spare != 0 ? std::min(spare, kStep * 64) : kStep));
    const ssize_t got = ::read(file.number, bytes.data() + before, bytes.size() - before);
    const int error = errno;
    bytes.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && error == EINTR) continue;
    if (got < 0) return fail(ErrorKind::MissingFile, path + ": " + reason(error));
    if (got == 0) return bytes;
    if (bytes.size() > max_size) return too_big();
  }
}

Result<BootInputs> read_boot_files(const std::string& kernel, const std::optional<std::string>& initrd,
                                   const std::string& command_line, const MemoryMap& memory) {
  BootInputs inputs;
  inputs.command_line = command_line;
  inputs.memory = memory;
  auto bytes = read_file(kernel);
  if (!bytes) return tl::make_unexpected(bytes.error());
  inputs.kernel = {kernel, std::move(*bytes), {}};
  if (!initrd) return inputs;

  if (detect_kernel(inputs.kernel.bytes) == KernelFormat::Multiboot1) {
    for (const std::string& part : split_list(*initrd)) {
      auto module = read_module(part);
      if (!module) return tl::make_unexpected(module.error());
      inputs.modules.push_back(std::move(*module));
    }
    return inputs;
  }
  auto contents = read_file(*initrd);
  if (!contents) return tl::make_unexpected(contents.error());
  inputs.initrd = BootFile{*initrd, std::move(*contents), {}};
  return inputs;
}

}  // namespace callgate::boot
