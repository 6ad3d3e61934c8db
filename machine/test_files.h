// Files and waiting for the tests of recordings and snapshots: a folder that goes with the test, bytes in and out, and two
// machines that are to be in one state.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "machine/machine.h"

namespace callgate::test {

/// A folder that goes with the test.
struct Folder {
  Folder() {
    char name[] = "/tmp/callgate-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { (void)!std::system(("rm -rf " + path).c_str()); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

inline void write_file(const std::string& path, std::span<const u8> bytes) {
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

inline std::vector<u8> read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::span<const u8> bytes_of(const char* text) {
  return {reinterpret_cast<const u8*>(text), std::char_traits<char>::length(text)};
}

/// Both run to `count`, waiting for nothing, and are in one state there.
inline void require_same_at(Machine& a, Machine& b, u64 count) {
  a.run({.until_count = count});
  b.run({.until_count = count});
  REQUIRE(a.count() == b.count());
  REQUIRE(a.hash() == b.hash());
}

}  // namespace callgate::test
