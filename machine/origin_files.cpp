#include "machine/origin_files.h"

#include <fmt/format.h>

#include "machine/snapshot.h"

namespace callgate {

Result<boot::FileBytes> read_origin_file(const RecordedFile& f, const std::string& of, const std::string& given) {
  std::string path = given.empty() ? f.name : given;
  auto bytes = boot::read_file(path);
  if (!bytes && given.empty()) {
    const std::string there = beside(of, f.name);
    if (auto found = boot::read_file(there)) {
      bytes = std::move(found);
      path = there;
    }
  }
  if (!bytes)
    return fail(bytes.error().kind, fmt::format("{}: the {} of {} is not there: give its place with --{}", bytes.error().message,
                                                name_of(f.role), of, name_of(f.role)));
  if (const FileIdentity identity = identity_of(*bytes); identity != f.identity)
    return fail(ErrorKind::BadFile, fmt::format("{}: not the {} of {}: its hash is {}, and that one's {}", path, name_of(f.role), of,
                                                identity.text(), f.identity.text()));
  return bytes;
}

Result<boot::BootInputs> read_origin(const RecordingHeader& origin, const boot::MemoryMap& memory, const OriginReader& read) {
  boot::BootInputs inputs;
  inputs.command_line = origin.command_line;
  inputs.memory = memory;
  for (std::size_t i = 0; i < origin.files.size(); i++) {
    const RecordedFile& f = origin.files[i];
    if (f.role == RecordedFile::Role::Snapshot) continue;
    auto bytes = read(i);
    if (!bytes) return tl::make_unexpected(bytes.error());
    boot::BootFile file{f.name, std::move(*bytes), f.arguments};  // the old name: Multiboot kernels are told theirs
    if (f.role == RecordedFile::Role::Kernel) inputs.kernel = std::move(file);
    else if (f.role == RecordedFile::Role::Initrd) inputs.initrd = std::move(file);
    else inputs.modules.push_back(std::move(file));
  }
  return inputs;
}

Result<boot::BootPlan> plan_origin(const RecordingHeader& origin, const boot::MemoryMap& memory, const OriginReader& read) {
  auto inputs = read_origin(origin, memory, read);
  if (!inputs) return tl::make_unexpected(inputs.error());
  return boot::plan_boot(std::move(*inputs), {.linux_entry = origin.linux_entry});
}

Result<RunStart> SnapshotStart::read(const std::string& path, const RecordingHeader& origin, bool contents) {
  auto snapshot = boot::read_file(path);
  if (!snapshot) return tl::make_unexpected(snapshot.error());
  RunStart start{origin, {}};
  files_.clear();
  for (std::size_t i = 0; i < origin.files.size() && contents; i++) {
    auto bytes = read_origin_file(origin.files[i], path);
    if (!bytes) return tl::make_unexpected(bytes.error());
    files_.push_back(std::move(*bytes));
  }
  if (contents) {
    const auto whole = check_snapshot(FileBytesAt::of({snapshot->begin(), snapshot->end()}), path);
    if (!whole) return tl::make_unexpected(whole.error());
    if (!whole->header.base.name.empty())
      return fail(ErrorKind::BadArgument, fmt::format("{}: this snapshot needs another one, its base, so it can't be bundled: save it without "
                                                      "--save-base", path));
  }
  start.origin.files.push_back({RecordedFile::Role::Snapshot, path, "", identity_of(*snapshot), false});
  files_.push_back(std::move(*snapshot));
  if (contents)
    for (const boot::FileBytes& bytes : files_) start.contents.push_back(bytes);
  return start;
}

}  // namespace callgate
