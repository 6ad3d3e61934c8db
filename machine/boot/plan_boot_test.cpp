// Whole plans: what the guest finds in its memory and registers, read back as the protocols' documents lay it out.
#include <doctest/doctest.h>

#include <map>

#include "machine/boot/boot_plan.h"
#include "machine/boot/test_images.h"

using namespace callgate;
using namespace callgate::boot;
using namespace callgate::boot::test;

namespace {

constexpr unsigned kRax = 0;
constexpr unsigned kRbx = 3;
constexpr unsigned kRbp = 5;
constexpr unsigned kRsi = 6;
constexpr unsigned kRdi = 7;

// The guest's memory after the loads, as far as it was written.
class Memory {
 public:
  explicit Memory(const BootPlan& plan) {
    for (const Load& load : plan.loads) {
      for (std::size_t i = 0; i < load.bytes.size(); i++) bytes_[load.physical + i] = load.bytes[i];
    }
  }
  template <class T>
  T at(u64 address) const {
    u8 raw[sizeof(T)]{};
    for (u64 i = 0; i < sizeof(T); i++) {
      if (const auto found = bytes_.find(address + i); found != bytes_.end()) raw[i] = found->second;
    }
    return load_as<T>(raw);
  }
  std::string text(u64 address) const {
    std::string s;
    while (const char c = at<char>(address + s.size())) s += c;
    return s;
  }
  bool holds(u64 address, const Bytes& what) const {
    for (u64 i = 0; i < what.size(); i++) {
      const auto found = bytes_.find(address + i);
      if (found == bytes_.end() || found->second != what[i]) return false;
    }
    return true;
  }

 private:
  std::map<u64, u8> bytes_;
};

void check_no_overlap(const BootPlan& plan) {
  std::map<u64, u64> places;
  for (const Load& load : plan.loads) places[load.physical] = load.physical + load.bytes.size() + load.zeros;
  CHECK(places.size() == plan.loads.size());
  u64 last = 0;
  for (const auto& [start, end] : places) {
    CHECK(start >= last);
    last = end;
  }
}

// Protected mode, flat 32-bit segments, paging and interrupts off: what PVH and Multiboot ask for alike.
void check_protected_mode(const EntryState& e, const Memory& m) {
  CHECK(e.cr0 == 0x11);
  CHECK(e.cr4 == 0);
  CHECK(e.efer == 0);
  CHECK(e.rflags == 2);
  CHECK(e.cs.attributes == 0xC09B);
  for (const SegmentState* s : {&e.ds, &e.es, &e.ss}) CHECK(s->attributes == 0xC093);
  for (const SegmentState* s : {&e.cs, &e.ds, &e.es, &e.ss, &e.fs, &e.gs}) {
    CHECK(s->base == 0);
    CHECK(s->limit == 0xFFFFFFFF);
  }
  CHECK(e.tr.attributes == 0x008B);
  CHECK(e.tr.limit == 0x67);
  CHECK(m.at<u64>(e.gdtr.base + e.cs.selector) == 0x00CF9B000000FFFF);
  CHECK(m.at<u64>(e.gdtr.base + e.ds.selector) == 0x00CF93000000FFFF);
}

std::string error_of(BootInputs inputs, const BootOptions& options = {}) {
  const auto plan = plan_boot(std::move(inputs), options);
  return plan ? "none" : plan.error().message;
}

BootOptions entered_by(LinuxEntry entry) {
  BootOptions options;
  options.linux_entry = entry;
  return options;
}

}  // namespace

TEST_CASE("PVH: the guest finds hvm_start_info, its command line, memory map and initrd") {
  for (const bool is_64bit : {true, false}) {
    ElfSpec spec;
    spec.is_64bit = is_64bit;
    BootInputs in = inputs_of(make_elf(spec));
    const Bytes initrd = code_like(5001);
    in.initrd = BootFile{"initrd.img", initrd, {}};
    const auto plan = plan_boot(in);
    REQUIRE(plan.has_value());
    check_no_overlap(*plan);
    const Memory m(*plan);
    CHECK(plan->entry.kind == EntryKind::Pvh);
    CHECK(plan->entry.rip == 0x200040);
    check_protected_mode(plan->entry, m);
    CHECK(m.holds(0x200000, spec.code));
    CHECK(plan->loads[0].zeros == spec.bss);

    const u64 info = plan->entry.gpr[kRbx];
    CHECK(m.at<u32>(info) == 0x336EC578);
    CHECK(m.at<u32>(info + 4) == 1);   // version
    CHECK(m.at<u32>(info + 12) == 1);  // nr_modules
    CHECK(m.text(m.at<u64>(info + 24)) == "console=ttyS0");
    CHECK(m.at<u64>(info + 32) == 0xF0000);  // rsdp
    const u64 map = m.at<u64>(info + 40);
    REQUIRE(m.at<u32>(info + 48) == in.memory.ranges.size());
    for (u64 i = 0; i < in.memory.ranges.size(); i++) {
      CHECK(m.at<u64>(map + 24 * i) == in.memory.ranges[i].start);
      CHECK(m.at<u64>(map + 24 * i + 8) == in.memory.ranges[i].size);
      CHECK(m.at<u32>(map + 24 * i + 16) == static_cast<u32>(in.memory.ranges[i].type));
    }
    const u64 module = m.at<u64>(info + 16);
    const u64 at = m.at<u64>(module);
    CHECK(m.at<u64>(module + 8) == initrd.size());
    CHECK(at % 4096 == 0);
    CHECK(at == (u64{64} << 20) - 8192);  // as high as it goes
    CHECK(m.holds(at, initrd));
  }
}

TEST_CASE("a bzImage of every compressor is unpacked and entered by PVH") {
  ElfSpec spec;
  spec.code.insert(spec.code.end(), 4, 0xFF);  // would be a size of 4 GiB at the end of a packed payload
  const Bytes elf = make_elf(spec);
  for (const Compression format : {Compression::None, Compression::Gzip, Compression::Lzma, Compression::Xz,
                                   Compression::Lz4, Compression::Zstd}) {
    CAPTURE(compression_name(format));
    const auto plan = plan_boot(inputs_of(make_bzimage(make_payload(elf, format))));
    REQUIRE(plan.has_value());
    CHECK(plan->entry.kind == EntryKind::Pvh);
    CHECK(Memory(*plan).holds(0x200000, spec.code));
    CHECK(plan->description.find(compression_name(format)) != std::string::npos);
  }
}

TEST_CASE("64-bit entry: the guest finds boot_params, page tables and descriptors") {
  const Bytes kernel = make_bzimage(make_payload(make_elf({}), Compression::Lz4));
  BootInputs in = inputs_of(kernel);
  const Bytes initrd = code_like(4096);
  in.initrd = BootFile{"initrd.img", initrd, {}};
  const auto plan = plan_boot(in, entered_by(LinuxEntry::Bits64));
  REQUIRE(plan.has_value());
  check_no_overlap(*plan);
  const Memory m(*plan);
  const EntryState& e = plan->entry;
  CHECK(e.kind == EntryKind::Linux64);
  CHECK(e.rip == 0x400200);
  CHECK(m.holds(0x400000, {kernel.begin() + 1024, kernel.end()}));

  CHECK(e.cr0 == 0x80000011);
  CHECK(e.cr4 == 0x20);
  CHECK(e.efer == 0x500);
  CHECK(e.rflags == 2);
  CHECK(e.cs.selector == 0x10);
  CHECK(e.cs.attributes == 0xA09B);
  for (const SegmentState* s : {&e.ds, &e.es, &e.ss}) {
    CHECK(s->selector == 0x18);
    CHECK(s->attributes == 0xC093);
  }
  CHECK(m.at<u64>(e.gdtr.base + 0x10) == 0x00AF9B000000FFFF);
  CHECK(m.at<u64>(e.gdtr.base + 0x18) == 0x00CF93000000FFFF);
  for (const u64 address : {u64{0}, u64{0x400200}, u64{0xFFE00000}}) {
    const u64 pml4 = m.at<u64>(e.cr3 + 8 * (address >> 39));
    const u64 pdpt = m.at<u64>((pml4 & ~u64{0xFFF}) + 8 * ((address >> 30) & 511));
    const u64 pde = m.at<u64>((pdpt & ~u64{0xFFF}) + 8 * ((address >> 21) & 511));
    CHECK((pml4 & 3) == 3);
    CHECK((pdpt & 3) == 3);
    CHECK(pde == ((address & ~u64{0x1FFFFF}) | 0x83));
  }

  const u64 params = e.gpr[kRsi];
  CHECK(m.at<u32>(params + 0x202) == 0x53726448);  // the header came along
  CHECK(m.at<u8>(params + 0x210) == 0xFF);
  CHECK(m.at<u64>(params + 0x070) == 0xF0000);
  CHECK(m.text(m.at<u32>(params + 0x228)) == "console=ttyS0");
  CHECK(m.holds(m.at<u32>(params + 0x218), initrd));
  CHECK(m.at<u32>(params + 0x21C) == initrd.size());
  REQUIRE(m.at<u8>(params + 0x1E8) == in.memory.ranges.size());
  for (u64 i = 0; i < in.memory.ranges.size(); i++) {
    CHECK(m.at<u64>(params + 0x2D0 + 20 * i) == in.memory.ranges[i].start);
    CHECK(m.at<u64>(params + 0x2D0 + 20 * i + 8) == in.memory.ranges[i].size);
    CHECK(m.at<u32>(params + 0x2D0 + 20 * i + 16) == static_cast<u32>(in.memory.ranges[i].type));
  }
}

TEST_CASE("32-bit entry: a 32-bit kernel without PVH starts in protected mode with boot_params") {
  Bytes kernel = make_bzimage({'B', 'Z', 'h', '9', 1, 2, 3, 4, 5, 6});
  put<u16>(kernel, 0x236, 0);  // xloadflags without XLF_KERNEL_64
  BootInputs in = inputs_of(kernel);
  const Bytes initrd = code_like(4096);
  in.initrd = BootFile{"initrd.img", initrd, {}};
  const auto plan = plan_boot(in);
  REQUIRE(plan.has_value());
  check_no_overlap(*plan);
  const Memory m(*plan);
  const EntryState& e = plan->entry;
  CHECK(e.kind == EntryKind::Linux32);
  CHECK(e.rip == 0x400000);
  check_protected_mode(e, m);
  CHECK(e.cs.selector == 0x10);  // __BOOT_CS
  for (const SegmentState* s : {&e.ds, &e.es, &e.ss}) CHECK(s->selector == 0x18);
  for (const unsigned zero : {kRbx, kRbp, kRdi}) CHECK(e.gpr[zero] == 0);
  const u64 params = e.gpr[kRsi];
  CHECK(m.at<u32>(params + 0x202) == 0x53726448);
  CHECK(m.text(m.at<u32>(params + 0x228)) == "console=ttyS0");
  CHECK(m.holds(m.at<u32>(params + 0x218), initrd));
  CHECK(error_of(in, entered_by(LinuxEntry::Bits64)) == "vmlinuz: a 32-bit Linux kernel has no 64-bit entry");
}

TEST_CASE(
    "a bzImage without a PVH note, or packed in a way unknown here, falls back to its 64-bit entry and says why") {
  ElfSpec spec;
  spec.pvh.reset();
  const auto no_note = inputs_of(make_bzimage(make_payload(make_elf(spec), Compression::Gzip)));
  const auto plan = plan_boot(no_note);
  REQUIRE(plan.has_value());
  CHECK(plan->entry.kind == EntryKind::Linux64);
  CHECK(plan->description.find("no PVH note") != std::string::npos);
  CHECK(error_of(no_note, entered_by(LinuxEntry::Pvh)) ==
        "vmlinuz: can't be entered by PVH: it has no PVH note (CONFIG_PVH)");

  const auto bzip2 = plan_boot(inputs_of(make_bzimage({'B', 'Z', 'h', '9', 1, 2, 3, 4, 5, 6})));
  REQUIRE(bzip2.has_value());
  CHECK(bzip2->entry.kind == EntryKind::Linux64);
  CHECK(bzip2->description.find("bzip2") != std::string::npos);
}

TEST_CASE("a damaged compressed kernel is an error, not a fall-back") {
  Bytes payload = make_payload(make_elf({}), Compression::Xz);
  payload[payload.size() / 2] ^= 0x40;
  CHECK(error_of(inputs_of(make_bzimage(payload))) == "vmlinuz: the kernel inside: the XZ data are damaged");
}

TEST_CASE("a kernel is moved where its preferred place isn't free, if it can be") {
  Bytes kernel = make_bzimage(make_payload(make_elf({}), Compression::Lz4));
  BootInputs in = inputs_of(kernel);
  in.memory.ranges.push_back({0x480000, 0x1000, RangeType::AcpiNvs});
  const auto plan = plan_boot(in, entered_by(LinuxEntry::Bits64));
  REQUIRE(plan.has_value());
  CHECK(plan->entry.rip == 0x200200);  // the lowest place above 1 MiB at the kernel's alignment of 2 MiB
  put<u8>(kernel, 0x234, 0);
  in.kernel.bytes = kernel;
  CHECK(error_of(in, entered_by(LinuxEntry::Bits64)) ==
        "vmlinuz: the kernel, unpacking itself, of 1 MiB must be at 0x400000, where the guest has no free RAM");
}

TEST_CASE("what does not fit into RAM is told with sizes and the way out") {
  BootInputs in = inputs_of(make_bzimage(make_payload(make_elf({}), Compression::Lz4)), 32);
  in.initrd = BootFile{"initrd.img", Bytes(u64{40} << 20), {}};
  for (const LinuxEntry entry : {LinuxEntry::Pvh, LinuxEntry::Bits64}) {
    const auto plan = plan_boot(in, entered_by(entry));
    REQUIRE(!plan.has_value());
    CHECK(plan.error().kind == ErrorKind::BadArgument);
    CHECK(plan.error().message ==
          "initrd.img: 40 MiB do not fit into 31.6 MiB of RAM beside the kernel: give the guest more with -m");
  }
  ElfSpec spec;
  spec.bss = u64{100} << 20;
  CHECK(error_of(inputs_of(make_elf(spec), 32)) ==
        "vmlinuz: a segment of 100 MiB at 0x200000 does not fit into 31.6 MiB of RAM: give the guest more with -m");
  spec.bss = 0;
  spec.physical = 0xA0000;
  CHECK(error_of(inputs_of(make_elf(spec), 32)) ==
        "vmlinuz: a segment of 300 bytes must be at 0xa0000, where the guest has no free RAM");
}

TEST_CASE("an initrd stays below the kernel's limit in a large guest") {
  BootInputs in = inputs_of(make_bzimage(make_payload(make_elf({}), Compression::Lz4)), 3 * 1024);
  in.memory.ranges.push_back({u64{1} << 32, u64{5} << 30, RangeType::Usable});
  in.initrd = BootFile{"initrd.img", Bytes(10'000, 7), {}};
  const auto plan = plan_boot(in, entered_by(LinuxEntry::Bits64));
  REQUIRE(plan.has_value());
  CHECK(Memory(*plan).at<u32>(plan->entry.gpr[kRsi] + 0x218) == 0x80000000 - 3 * 4096);
}

TEST_CASE("empty files, long command lines and misplaced modules get a sentence") {
  const Bytes kernel = make_bzimage(make_payload(make_elf({}), Compression::Lz4));
  CHECK(error_of(inputs_of({})) == "vmlinuz: the kernel is empty");
  BootInputs in = inputs_of(kernel);
  in.initrd = BootFile{"initrd.img", {}, {}};
  CHECK(error_of(in) == "initrd.img: the initrd is empty");
  in = inputs_of(kernel);
  in.command_line = std::string(2048, 'x');
  CHECK(error_of(in) == "--append: 2048 bytes are more than the 2047 that vmlinuz takes");
  in.command_line = std::string("a\0b", 3);
  CHECK(error_of(in) == "--append: the command line contains a NUL byte");
  in = inputs_of(kernel);
  in.modules.push_back({"module", {1}, ""});
  CHECK(error_of(in) == "vmlinuz: modules are only for Multiboot kernels, which this is not");
  CHECK(error_of(inputs_of({'M', 'Z', 1, 2})) ==
        "vmlinuz: not a kernel that can be started (Linux bzImage, ELF with a PVH note, or Multiboot 1)");
  ElfSpec spec;
  spec.pvh.reset();
  CHECK(error_of(inputs_of(make_elf(spec))) ==
        "vmlinuz: an ELF file with neither a PVH note nor a Multiboot 1 header, so there is no way to start it");
}

TEST_CASE("the same inputs give the same plan") {
  const BootInputs in = inputs_of(make_bzimage(make_payload(make_elf({}), Compression::Zstd)));
  const auto a = plan_boot(in);
  const auto b = plan_boot(in);
  REQUIRE(a->loads.size() == b->loads.size());
  for (std::size_t i = 0; i < a->loads.size(); i++) {
    CHECK(a->loads[i].physical == b->loads[i].physical);
    CHECK(a->loads[i].bytes == b->loads[i].bytes);
  }
  CHECK(a->entry.gpr == b->entry.gpr);
}

TEST_CASE("Multiboot 1: an ELF kernel finds its information structure and modules") {
  BootInputs in = inputs_of(make_multiboot_elf(3));
  const Bytes first = code_like(5000);
  in.modules = {{"a.bin", first, "a.bin one"}, {"b.bin", {9, 8, 7}, "b.bin"}};
  const auto plan = plan_boot(in);
  REQUIRE(plan.has_value());
  check_no_overlap(*plan);
  const Memory m(*plan);
  const EntryState& e = plan->entry;
  CHECK(e.kind == EntryKind::Multiboot1);
  CHECK(e.rip == 0x100010);  // the virtual entry, moved to where the segment is
  CHECK(e.gpr[kRax] == 0x2BADB002);
  check_protected_mode(e, m);

  const u64 info = e.gpr[kRbx];
  CHECK(m.at<u32>(info) == ((1 << 0) | (1 << 2) | (1 << 3) | (1 << 6) | (1 << 9)));
  CHECK(m.at<u32>(info + 4) == 639);
  CHECK(m.at<u32>(info + 8) == 63 * 1024);
  CHECK(m.text(m.at<u32>(info + 16)) == "vmlinuz console=ttyS0");
  CHECK(m.text(m.at<u32>(info + 64)) == "Callgate");
  CHECK(m.at<u32>(info + 44) == 24 * in.memory.ranges.size());
  const u64 map = m.at<u32>(info + 48);
  for (u64 i = 0; i < in.memory.ranges.size(); i++) {
    CHECK(m.at<u32>(map + 24 * i) == 20);
    CHECK(m.at<u64>(map + 24 * i + 4) == in.memory.ranges[i].start);
    CHECK(m.at<u64>(map + 24 * i + 12) == in.memory.ranges[i].size);
    CHECK(m.at<u32>(map + 24 * i + 20) == static_cast<u32>(in.memory.ranges[i].type));
  }
  REQUIRE(m.at<u32>(info + 20) == 2);
  const u64 list = m.at<u32>(info + 24);
  const u64 a = m.at<u32>(list);
  CHECK(a % 4096 == 0);
  CHECK(a > 0x103000);  // above the kernel's .bss
  CHECK(m.at<u32>(list + 4) == a + first.size());
  CHECK(m.holds(a, first));
  CHECK(m.text(m.at<u32>(list + 8)) == "a.bin one");
  const u64 b = m.at<u32>(list + 16);
  CHECK(b > a);
  CHECK(m.holds(b, {9, 8, 7}));
}

TEST_CASE("Multiboot 1: the command line starts with the kernel's name, without the host's folders") {
  // What QEMU's and GRUB Legacy's loaders do, and Xen counts on: it drops the first word.
  BootInputs in = inputs_of(make_multiboot_elf(3));
  in.kernel.name = "/somewhere/on/the host/xen-4.17";
  for (const std::string& line : {std::string(), std::string("com1=115200 console=com1")}) {
    in.command_line = line;
    const auto plan = plan_boot(in);
    REQUIRE(plan.has_value());
    const Memory m(*plan);
    CHECK(m.text(m.at<u32>(plan->entry.gpr[kRbx] + 16)) == (line.empty() ? "xen-4.17" : "xen-4.17 " + line));
  }
}

TEST_CASE("Multiboot 1: the header's own addresses load a flat file") {
  Bytes file(64, 0xCC);  // the header lies 64 bytes into the file and is loaded to 0x100040
  append(file, multiboot_header(0x10000, {0x100040, 0x100020, 0x100080, 0x102000, 0x100060}));
  file.resize(200, 0xDD);
  const auto plan = plan_boot(inputs_of(file));
  REQUIRE(plan.has_value());
  CHECK(plan->entry.rip == 0x100060);
  CHECK(plan->loads[0].physical == 0x100020);
  CHECK(plan->loads[0].bytes == Bytes(file.begin() + 32, file.begin() + 32 + 0x60));
  CHECK(plan->loads[0].zeros == 0x102000 - 0x100080);
}

TEST_CASE("Multiboot 1: impossible addresses, unknown demands and video modes are refused") {
  auto flat = [](u32 flags, const std::vector<u32>& addresses) {
    Bytes file = multiboot_header(flags, addresses);
    file.resize(100);
    return error_of(inputs_of(file));
  };
  const std::string impossible = "vmlinuz: the Multiboot header has impossible addresses";
  CHECK(flat(0x10000, {0x100000, 0x100004, 0, 0, 0x100000}) == impossible);  // loaded behind its header
  CHECK(flat(0x10000, {0x100000, 0x0FF000, 0, 0, 0x100000}) == impossible);  // starts before the file
  CHECK(flat(0x10000, {0x100000, 0x100000, 0x0FFFFF, 0, 0x100000}) == impossible);
  CHECK(flat(0x10000, {0x100000, 0x100000, 0x100050, 0x100040, 0x100000}) == impossible);
  CHECK(flat(0x10000, {0x100000, 0x100000, 0x110000, 0, 0x100000}) ==
        "vmlinuz: the Multiboot header promises more than the file has: it is cut off");
  CHECK(flat(0x10000, {0x100000, 0x100000, 0, 0, 0xA0000}) == "vmlinuz: the entry 0xa0000 is not in RAM below 4 GiB");
  CHECK(error_of(inputs_of(multiboot_header(0x10000, {1, 2}))) == "vmlinuz: the Multiboot header is cut off");
  CHECK(error_of(inputs_of(make_multiboot_elf(4))) ==
        "vmlinuz: its Multiboot header demands a video mode (flag 2), which can't be set here");
  CHECK(error_of(inputs_of(make_multiboot_elf(0x101))) ==
        "vmlinuz: its Multiboot header demands features 0x100 that this loader does not have");
  BootInputs in = inputs_of(make_multiboot_elf(0));
  in.initrd = BootFile{"initrd.img", {1}, {}};
  CHECK(error_of(in) == "vmlinuz: a Multiboot kernel takes modules, not an initrd");
}

TEST_CASE("every file cut off anywhere, or with any byte changed, gives a plan or a sentence") {
  const Bytes elf = make_elf({});
  const Bytes images[] = {make_bzimage(make_payload(elf, Compression::Lz4)), elf, make_multiboot_elf(3)};
  for (const Bytes& whole : images) {
    const bool is_bzimage = detect_kernel(whole) == KernelFormat::LinuxBzImage;
    for (std::size_t n = 0; n < whole.size(); n++) {
      const std::string message = error_of(inputs_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)}));
      // A bzImage may end inside its last paragraph of 16 bytes, where this one has only padding.
      const bool may_end_here = is_bzimage && whole.size() - n < 16;
      CHECK((message.starts_with("vmlinuz: ") || (may_end_here && message == "none")));
    }
    for (std::size_t at = 0; at < whole.size(); at++) {
      for (const u8 flip : {0x01, 0x80, 0xFF}) {
        Bytes changed = whole;
        changed[at] ^= flip;
        const std::string message = error_of(inputs_of(changed));
        CHECK((message == "none" || message.starts_with("vmlinuz: ")));
      }
    }
  }
}
