#include "machine/boot/files.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "machine/boot/test_images.h"

using namespace callgate;
using namespace callgate::boot;
using namespace callgate::boot::test;

namespace {

// A folder of its own for a test, removed at its end.
struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "callgate-files-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string write(const std::string& name, const Bytes& bytes) const {
    const auto file = path / name;
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    return file.string();
  }
  std::filesystem::path path;
};

}  // namespace

TEST_CASE("a file is read whole") {
  const Folder folder;
  const Bytes bytes = code_like(3'000'001);
  CHECK(read_file(folder.write("a", bytes)).value() == bytes);
  CHECK(read_file(folder.write("empty", {})).value().empty());
}

TEST_CASE("a missing file, a folder and an endless file are told apart") {
  const Folder folder;
  const auto missing = read_file("/nowhere/vmlinuz");
  CHECK(missing.error().kind == ErrorKind::MissingFile);
  CHECK(missing.error().message == "/nowhere/vmlinuz: No such file or directory");
  const auto directory = read_file(folder.path.string());
  CHECK(directory.error().kind == ErrorKind::BadFile);
  CHECK(directory.error().message == folder.path.string() + ": a directory, not a file");
  const auto endless = read_file("/dev/zero", 5'000'000);
  CHECK(endless.error().kind == ErrorKind::BadFile);
  CHECK(endless.error().message == "/dev/zero: larger than the 4.8 MiB that are allowed");
}

TEST_CASE("an initrd is one file for Linux and a list of modules for Multiboot") {
  const Folder folder;
  const std::string linux_kernel = folder.write("vmlinuz", make_bzimage(make_payload(make_elf({}), Compression::Gzip)));
  const std::string multiboot = folder.write("kernel.elf", make_multiboot_elf(0));
  const std::string comma = folder.write("a,b", {1, 2, 3});
  const std::string plain = folder.write("plain", {4});

  const auto linux_inputs = read_boot_files(linux_kernel, comma, "quiet", memory_of(64));
  REQUIRE(linux_inputs.has_value());
  CHECK(linux_inputs->initrd->bytes == Bytes{1, 2, 3});
  CHECK(linux_inputs->modules.empty());

  const std::string list = folder.path.string() + "/a,,b with arguments," + plain;
  const auto multiboot_inputs = read_boot_files(multiboot, list, "", memory_of(64));
  REQUIRE(multiboot_inputs.has_value());
  CHECK(!multiboot_inputs->initrd.has_value());
  REQUIRE(multiboot_inputs->modules.size() == 2);
  CHECK(multiboot_inputs->modules[0].bytes == Bytes{1, 2, 3});
  CHECK(multiboot_inputs->modules[0].arguments == "a,b with arguments");  // without the folder
  CHECK(multiboot_inputs->modules[1].arguments == "plain");

  CHECK(read_boot_files(multiboot, plain + ",", "", memory_of(64)).error().kind == ErrorKind::BadArgument);
  CHECK(read_boot_files(linux_kernel, "/nowhere", "", memory_of(64)).error().kind == ErrorKind::MissingFile);
  CHECK(read_boot_files("/nowhere", std::nullopt, "", memory_of(64)).error().kind == ErrorKind::MissingFile);
}
