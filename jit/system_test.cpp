// Random programs that go into a kernel and out again by SYSCALL, SYSRET, IRETQ, interrupts and faults, with SWAPGS, CLI, STI, CLAC, STAC
// and RDTSC on the way, at every privilege level and with unusual flags and addresses: both engines must stop in the same state
// at any count. Interrupts come at random moments.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "cpu/system/segments.h"
#include "cpu/system/test_machine.h"
#include "jit/test_engine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

using Random = std::mt19937_64;
using Code = std::vector<u8>;

constexpr u64 kPt = M::kTables + 0x8000, kEntry = 0xB000, kUserData = 0x31000, kKernelData = 0x32000;

void put(Code& code, const Code& bytes) { code.insert(code.end(), bytes.begin(), bytes.end()); }
template <class T>
void put_value(Code& code, T value) {
  for (unsigned n = 0; n < sizeof value; n++) code.push_back(static_cast<u8>(static_cast<u64>(value) >> 8 * n));
}

const std::vector<Code> kAnywhere = {
    {0x48, 0x01, 0xD8}, {0x48, 0x11, 0xC2}, {0x83, 0xE8, 0x7F}, {0xF5}, {0x48, 0xFF, 0xC3}, {0x90}, {0xFC}, {0xFD},
    {0x0F, 0x31}, {0x0F, 0x01, 0xF9}, {0x8C, 0xC8}, {0x66, 0x8C, 0xE8}, {0x66, 0x41, 0x8C, 0xD1}, {0x48, 0x8C, 0xD0}, {0x41, 0x8C, 0xE9}, {0x8C, 0xCB},
    {0x65, 0x48, 0x8B, 0x14, 0x25, 0x10, 0, 0, 0}, {0x9C, 0x58}, {0x66, 0x0F, 0xEF, 0xC1}, {0xF2, 0x0F, 0x58, 0xC1},
};
const std::vector<Code> kInKernel = {
    {0xFA}, {0xFB}, {0xFB, 0x90}, {0xFB, 0xFA}, {0xFB, 0xFB}, {0x0F, 0x01, 0xCA}, {0x0F, 0x01, 0xCB}, {0x0F, 0x01, 0xF8},
    {0x48, 0x89, 0x07},  // mov [rdi], rax: the user's, so only with AC
    {0x48, 0x8B, 0x07}, {0x48, 0x89, 0x06},
    // IRETQ to the next instruction: mov eax, ss; push rax; push rsp; add [rsp], 8; pushf; mov eax, cs; push rax; lea, push; iretq
    {0x8C, 0xD0, 0x50, 0x54, 0x48, 0x83, 0x04, 0x24, 8, 0x9C, 0x8C, 0xC8, 0x50, 0x48, 0x8D, 0x05, 3, 0, 0, 0, 0x50, 0x48, 0xCF},
    {0x9C, 0x8F, 0x06},  // pushf; pop [rsi]
    {0x31, 0xC0, 0x8E, 0xD0},  // mov ss, eax: null
    {0x48, 0x0F, 0xC7, 0x0E}, {0x0F, 0xC7, 0x0E}, {0x48, 0x0F, 0xC7, 0x4E, 0x08},  // cmpxchg16b [rsi], cmpxchg8b [rsi], misaligned
    {0x48, 0x8B, 0x06, 0x48, 0x8B, 0x56, 0x08, 0xF0, 0x48, 0x0F, 0xC7, 0x0E},     // one that succeeds
    {0x0F, 0x01, 0xCB, 0x48, 0x89, 0x07, 0x0F, 0x01, 0xCA}, {0x50, 0x9D},
};

/// A program for ring 3, and the kernel behind its SYSCALL.
struct Program {
  Code user, kernel;
};

Program make_program(Random& random) {
  const auto one_in = [&](unsigned n) { return random() % n == 0; };
  const auto any = [&](const std::vector<Code>& from) -> const Code& { return from[random() % from.size()]; };
  Program p;
  for (unsigned call = 0; call < 3; call++) {
    for (u64 n = random() % 5; n != 0; n--) put(p.user, any(kAnywhere));
    if (one_in(12)) put(p.user, any(kInKernel));
    put(p.user, {0x0F, 0x05});
  }
  put(p.user, {0xE9});
  put_value(p.user, -static_cast<i32>(p.user.size() + 4));

  put(p.kernel, {0x0F, 0x01, 0xF8});
  // R11 and RCX are kept: the value that POPF takes is RAX's.
  for (u64 n = random() % 8; n != 0; n--) put(p.kernel, one_in(2) ? any(kAnywhere) : any(kInKernel));
  if (one_in(2)) {
    put(p.kernel, {0x49, 0xBB});  // mov r11, ...
    constexpr u64 kFlags[] = {0x202, 0x2, 0x302, 0x40202, 0x4202, 0x10246, 0x3FFFFF, 0x8D7, 0xFFFFFFFFFFFFFFFF, 0x180202};
    put_value(p.kernel, kFlags[random() % std::size(kFlags)]);
  }
  if (one_in(6)) {
    put(p.kernel, {0x48, 0xB9});  // mov rcx, ...
    constexpr u64 kPlaces[] = {M::kCode, 0x0000800000000000, 0xFFFF800000000000, 0x7FFFFFFFFFFF, M::kCode + 3};
    put_value(p.kernel, kPlaces[random() % std::size(kPlaces)]);
  }
  put(p.kernel, {0x0F, 0x01, 0xF8});
  put(p.kernel, one_in(10) ? Code{0x0F, 0x07} : Code{0x48, 0x0F, 0x07});
  return p;
}

class Side {
 public:
  Side(const Program& p, u64 seed, const jit::TranslatorOptions* options) {
    if (options != nullptr) {
      jit::use_translator(m, *options);
    } else {
      m.engine = nullptr;
    }
    m.platform.counter = &m.cpu.s.retired;
    m.long64(3);
    // The first 2 MiB by pages: a few are the user's, so that SMAP has something to say.
    for (u64 n = 0; n < 512; n++) {
      const u64 page = n << 12;
      const bool user = page == M::kCode || page == M::kStack3 || page == M::kStack3 - 0x1000 || page == kUserData;
      m.write<u64>(kPt + 8 * n, page | (user ? 7 : 3));
    }
    m.write<u64>(M::kTables + 0x2000, kPt | 7);
    for (unsigned v = 0; v < 256; v++) handler(v);
    for (unsigned v = 0; v < 256; v++) m.set_idt64(v, M::kCode64, M::handler(v), 0x8E, 1);  // RSP may be the user's
    CpuState& s = m.cpu.s;
    s.cr4 |= seed % 4 != 0 ? u64{kCr4Smap} : 0;
    if (seed % 5 == 0) s.cr4 |= kCr4Tsd;
    if (seed % 7 == 0) s.cr0 |= kCr0Am;
    if (seed % 31 == 0) s.msr.efer &= ~u64{kEferSce};
    constexpr u16 kUser = M::kFree, kKernel = M::kFree + 24;
    m.set_gdt(kUser, test::descriptor(0, 0xFFFFF, 0xFB, 12));
    m.set_gdt(kUser + 8, test::descriptor(0, 0xFFFFF, 0xF3, 12));
    m.set_gdt(kUser + 16, test::descriptor(0, 0xFFFFF, 0xFB, 10));
    m.set_gdt(kKernel, test::descriptor(0, 0xFFFFF, 0x9B, 10));
    m.set_gdt(kKernel + 8, test::descriptor(0, 0xFFFFF, 0x93, 12));
    s.msr.star = (u64{kKernel} | (seed & 3)) << 32 | u64{kUser} << 48;
    s.msr.lstar = kEntry;
    s.msr.sfmask = seed % 3 == 0 ? 0x47700 : seed % 3 == 1 ? 0x257FD5 : 0x100;
    s.msr.tsc_aux = 17;
    s.msr.tsc_adjust = seed << 30;
    // As kernels have them, for IRETQ: without segments that it would have to take away.
    if (seed % 8 < 5)
      for (const SegReg seg : {ES, DS, FS, GS}) s.seg[seg] = null_segment(0);
    s.seg[GS].base = kUserData;
    s.msr.kernel_gs_base = kKernelData;
    s.gpr[RDI] = kUserData;
    s.gpr[RSI] = kKernelData;
    s.flags.set_value(seed % 2 != 0 ? kIF : kIF | kCF | kOF | kPF);
    for (std::size_t n = 0; n < p.user.size(); n++) m.write<u8>(M::kCode + n, p.user[n]);
    for (std::size_t n = 0; n < p.kernel.size(); n++) m.write<u8>(kEntry + n, p.kernel[n]);
    m.cpu.refresh();
  }

  u64 registers() { return jit::registers_hash(m); }
  u64 memory() { return jit::memory_hash(m, 0x40000); }

  M m;

 private:
  // Handlers return: to where they came from after an interrupt, to the program's start after a fault.
  void handler(unsigned v) {
    const bool error = v == 8 || (v >= 10 && v <= 14) || v == 17;
    Code code;
    if (error) put(code, {0x58});
    if (v < 32) {
      put(code, {0x48, 0xC7, 0x04, 0x24});  // mov qword [rsp], ...
      put_value(code, static_cast<u32>(M::kCode));
    }
    put(code, {0x48, 0xCF});
    for (std::size_t n = 0; n < code.size(); n++) m.write<u8>(M::handler(v) + n, code[n]);
  }
};

void compare(const jit::TranslatorOptions& options, u64 programs) {
  if (!jit::translator_supported()) return;
  Random random(3);
  u64 interrupts = 0, faults = 0, calls = 0;
  for (u64 seed = 1; seed <= programs; seed++) {
    const Program p = make_program(random);
    Side reference(p, seed, nullptr), subject(p, seed, &options);
    bool good = true;
    for (unsigned step = 0; step < 120 && good; step++) {
      const bool waits = reference.m.platform.interrupt;
      // Most stretches are long enough for blocks to be linked, some end anywhere.
      const u64 count = random() % 3 == 0 ? 1 + random() % 9 : 1 + random() % 90;
      const bool interrupt = random() % 3 == 0;
      for (Side* side : {&reference, &subject}) {
        side->m.platform.interrupt |= interrupt;
        side->m.run(count);
      }
      calls += reference.m.cpu.s.rip >= kEntry && reference.m.cpu.s.rip < kEntry + 0x100;
      interrupts += (waits || interrupt) && !reference.m.platform.interrupt;
      good = reference.registers() == subject.registers() && reference.m.platform.interrupt == subject.m.platform.interrupt;
      CHECK_MESSAGE(good, "program ", seed, " differs at ", reference.m.cpu.s.retired, " or ", subject.m.cpu.s.retired, ": rip ",
                    reference.m.cpu.s.rip, " or ", subject.m.cpu.s.rip, ", flags ", reference.m.cpu.s.flags.value(), " or ",
                    subject.m.cpu.s.flags.value(), ", last ", reference.m.last_fault(), " or ", subject.m.last_fault());
    }
    CHECK(reference.memory() == subject.memory());
    faults += reference.m.cpu.faults_delivered();
  }
  // The programs do what they are for.
  CHECK(interrupts > programs);
  CHECK(faults > programs);
  CHECK(calls > programs);
}

}  // namespace

TEST_CASE("random ways into a kernel and out of it end in the same state on both engines") { compare({.code_bytes = 1 << 20}, 400); }
TEST_CASE("random ways into a kernel and out of it, without passes and chaining") {
  compare({.code_bytes = 1 << 20, .chaining = false, .passes = false}, 100);
}
TEST_CASE("random ways into a kernel and out of it, with blocks that end anywhere") {
  compare({.code_bytes = 1 << 20, .most_insns = 3, .split_seed = 5}, 100);
}
