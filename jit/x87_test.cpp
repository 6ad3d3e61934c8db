// x87 instructions on the translator against the interpreter: random programs, the whole state of the processor and its memory
// compared at random counts.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include "cpu/decoder.h"
#include "cpu/fp/hard_operands.h"
#include "cpu/system/test_machine.h"
#include "cpu/x87/state.h"
#include "jit/translator.h"

using namespace callgate;
using fp::F80;
using fp::TestRandom;

namespace {

constexpr u64 kProgram = 0x200000, kData = 0x300000;
constexpr unsigned kDataBytes = 2 * kPageSize, kMiddle = kPageSize;  // pointers are near the boundary of its pages
constexpr u64 kEdge = 0x400000;  ///< nothing is mapped behind it: what crosses it faults

enum class Bits { Long, Compatibility, Protected };

/// A processor on the interpreter, or on a translator.
struct Side {
  explicit Side(const jit::TranslatorOptions* options) {
    if (options != nullptr) translator = std::move(jit::Translator::create(m.ram_map, m.interpreter, *options).value());
  }
  void start(Bits bits) {
    if (bits == Bits::Protected) return m.protected32(3);
    m.long64(3, bits == Bits::Compatibility);
    m.write<u64>(test::TestMachine::kTables + 0x2000 + 8 * (kEdge >> 21), 0);
  }
  void run_to(u64 until) {
    const bool stop = false;
    if (translator) translator->run(m.cpu, until, stop);
    else m.interpreter.run(m.cpu, until, stop);
  }
  std::vector<u8> state() {
    StateWriter writer;
    m.cpu.s.sync(writer);
    std::vector<u8> all = writer.take();
    const std::size_t size = all.size();
    all.resize(size + kDataBytes + kPageSize);
    m.ram_map.bus_read(kData, {all.data() + size, kDataBytes});
    m.ram_map.bus_read(kEdge - kPageSize, {all.data() + size + kDataBytes, kPageSize});
    return all;
  }

  test::TestMachine m;
  std::unique_ptr<jit::Translator> translator;
};

/// Random code: mostly x87, with what may look at its state or stand between.
class Program {
 public:
  Program(TestRandom& random, u64 address) : random_(random), address_(address) {}

  std::vector<u8> make(unsigned insns) {
    const auto start = out_.size();
    for (unsigned n = 0; n < insns; n++) add_one();
    add({0x49, 0xFF, 0xCD, 0x0F, 0x85});  // dec r13; jnz start
    const auto back = static_cast<u32>(start - (out_.size() + 4));
    for (unsigned n = 0; n < 4; n++) out_.push_back(static_cast<u8>(back >> 8 * n));
    add({0xEB, 0xFE});  // jmp $
    return out_;
  }

 private:
  void add(std::initializer_list<unsigned> bytes) {
    for (const unsigned b : bytes) out_.push_back(static_cast<u8>(b));
  }
  void add_le(u32 value, unsigned bytes) {
    for (unsigned n = 0; n < bytes; n++) out_.push_back(static_cast<u8>(value >> 8 * n));
  }
  u32 distance() { return static_cast<u32>(random_.below(64)) - 32; }

  /// An opcode and its operand in memory.
  void memory_form(unsigned opcode, unsigned extension) {
    const unsigned reg = extension << 3;
    switch (random_.below(5)) {
      case 0: add({opcode, 0x40 | reg | 7, distance() & 0xFF}); break;          // [rdi + disp8]
      case 1: add({opcode, 0x84 | reg, 0xDE}), add_le(distance(), 4); break;    // [rsi + 8 * rbx + disp32]
      case 2: add({0x43, opcode, 0x44 | reg, 0x7E, distance() & 0xFF}); break;  // [r14 + 2 * r15 + disp8]
      case 3: add({0x67, opcode, 0x40 | reg | 7, distance() & 0xFF}); break;    // [edi + disp8]
      default: {                                                                // [rip + disp32]
        add({opcode, reg | 5});
        const u64 next = address_ + out_.size() + 4;
        add_le(static_cast<u32>(kData + kMiddle - 256 + random_.below(512) - next), 4);
      }
    }
  }

  void x87() {
    for (;;) {
      const std::size_t before = out_.size();
      const unsigned opcode = 0xD8 + static_cast<unsigned>(random_.below(8));
      const auto modrm = static_cast<unsigned>(random_.below(256));
      if (modrm >= 0xC0) add({opcode, modrm});
      else memory_form(opcode, modrm >> 3 & 7);
      Insn insn;
      const bool good = decode({out_.data() + before, out_.size() - before}, CodeSize::Bits64, insn) == DecodeStatus::Ok &&
                        insn.row != nullptr;
      const unsigned extension = insn.modrm >> 3 & 7;
      // What replaces all of the state leaves little for others to do.
      const bool environment = insn.is_memory && (opcode == 0xD9 || opcode == 0xDD) && (extension == 4 || extension == 6);
      const bool control = insn.is_memory && opcode == 0xD9 && extension == 5;
      const bool init = opcode == 0xDB && modrm == 0xE3;
      if (good && (!(environment || control || init) || random_.below(40) == 0)) return;
      out_.resize(before);
    }
  }

  void add_one() {
    switch (random_.below(40)) {
      case 0: add({0x48, 0x89, 0x47, distance() & 0xF8}); break;         // mov [rdi + disp8], rax
      case 1: add({0x8B, 0x47, distance() & 0xFC}); break;               // mov eax, [rdi + disp8]
      case 2: add({0x48, 0x01, 0xD0}); break;                            // add rax, rdx
      case 3: add({0x48, 0x39, 0xC2}); break;                            // cmp rdx, rax
      case 4: add({0x0F, 0x90 | static_cast<unsigned>(random_.below(16)), 0xC2}); break;  // setcc dl
      case 5: add({0x70 | static_cast<unsigned>(random_.below(16)), 2, 0xD9, 0xC9}); break;  // jcc over fxch
      case 6: add({0x9B}); break;
      case 7: if (random_.below(4) == 0) add({0x0F, 0x6F, 0x47, 0}); break;  // movq mm0, [rdi]
      case 8: if (random_.below(4) == 0) add({0x0F, 0x77}); break;       // emms
      case 9: add({0xF2, 0x0F, 0x58, 0x07}); break;                      // addsd xmm0, [rdi]
      case 10: add({0x41, 0x0F, 0xAE, 0x00}); break;                     // fxsave [r8]
      case 11: add({0x9F}); break;                                       // lahf
      case 12: case 13: {                                                // mov word [rdi], imm16; fldcw [rdi]
        const unsigned masks = random_.below(20) == 0 ? static_cast<unsigned>(random_.below(64)) : 0x3F;
        add({0x66, 0xC7, 0x07, 0x40 | masks, static_cast<unsigned>(random_.below(16))});
        add({0xD9, 0x2F});
        break;
      }
      case 14: add({0x48, 0x83, 0xC7, distance() & 0xFF}); break;        // add rdi, imm8
      case 15: add({0x48, 0x81, 0xE7}), add_le(0xFFFFF000 | kMiddle | 0xFF0, 4); break;  // and rdi, imm32
      default: x87();
    }
  }

  TestRandom& random_;
  u64 address_;
  std::vector<u8> out_;
};

void random_start(TestRandom& random, Cpu& c) {
  const u64 middle = random.below(4) == 0 ? kEdge - 24 : kData + kMiddle;
  X87State& x = c.s.x87;
  static constexpr u16 kPrecision[4] = {0x300, 0x300, 0x200, 0x000};
  x.control = static_cast<u16>(0x7F | kPrecision[random.below(4)] | random.below(4) << 10);
  x.status = static_cast<u16>(random.next() & kX87StatusKept);
  x.top = static_cast<u8>(random.below(8));
  x.empty = static_cast<u8>(random.below(3) == 0 ? 0xFF : random.next() & random.next());
  x.opcode = static_cast<u16>(random.below(0x800));
  x.instruction_pointer = random.next();
  x.data_pointer = random.next();
  for (F80& r : x.r) r = fp::random_operand<F80>(random);
  c.s.gpr[RAX] = random.next();
  c.s.gpr[RDX] = random.next();
  c.s.gpr[RDI] = middle + random.below(3) * 8;
  c.s.gpr[RSI] = middle - 8 * 16;
  c.s.gpr[RBX] = random.below(32);
  c.s.gpr[R8] = kData;
  c.s.gpr[R13] = c.s.gpr[RBP] = 1 + random.below(4);  // the same bytes count EBP outside of 64-bit mode
  c.s.gpr[R14] = kData + kMiddle - 64;
  c.s.gpr[R15] = random.below(64);
}

void fill_data(TestRandom& random, std::vector<u8>& data) {
  data.resize(kDataBytes);
  for (unsigned n = 0; n + 16 <= kDataBytes; n += 16) {
    switch (random.below(4)) {
      case 0: {
        const F80 v = fp::random_operand<F80>(random);
        store_as<u64>(&data[n], v.significand);
        store_as<u16>(&data[n + 8], v.sign_exponent);
        break;
      }
      case 1:
        store_as<u64>(&data[n], fp::random_operand<fp::F64>(random));
        store_as<u64>(&data[n + 8], fp::random_operand<fp::F64>(random));
        break;
      case 2:
        for (unsigned k = 0; k < 16; k += 4) store_as<u32>(&data[n + k], fp::random_operand<fp::F32>(random));
        break;
      default:
        for (unsigned k = 0; k < 16; k++) data[n + k] = static_cast<u8>(random.next() >> 60 & 7);
    }
  }
}

std::string show(const CpuState& s) {
  std::string text = fmt::format(
      "rip {:x} retired {} flags {:x} rax {:x}\n  control {:04x} status {:04x} top {} empty {:02x} op {:03x} ip {:x} dp {:x}",
      s.rip, s.retired, s.flags.value(), s.gpr[RAX], s.x87.control, s.x87.status, s.x87.top, s.x87.empty, s.x87.opcode,
      s.x87.instruction_pointer, s.x87.data_pointer);
  for (unsigned n = 0; n < 8; n++) text += fmt::format("\n    r{} {:04x}:{:016x}", n, s.x87.r[n].sign_exponent, s.x87.r[n].significand);
  return text;
}

void compare_programs(const jit::TranslatorOptions& options, Bits bits, u64 seed, unsigned programs) {
  TestRandom random(seed);
  // Each program has a page of its own: what is rewritten again and again is not translated.
  constexpr unsigned kPages = 200;
  std::unique_ptr<Side> reference, subject;
  unsigned wrong = 0;
  u64 translated = 0, interpreted = 0;
  std::vector<u8> data;
  for (unsigned n = 0; n < programs && wrong < 3; n++) {
    if (n % kPages == 0) {
      if (subject) interpreted += subject->translator->stats().interpreted;
      reference = std::make_unique<Side>(nullptr);
      subject = std::make_unique<Side>(&options);
    }
    const u64 address = kProgram + kPageSize * (n % kPages);
    const std::vector<u8> code = Program(random, address).make(4 + static_cast<unsigned>(random.below(50)));
    fill_data(random, data);
    const u64 state_seed = random.next() >> 8;
    for (Side* side : {reference.get(), subject.get()}) {
      TestRandom again(state_seed);
      side->start(bits);
      side->m.ram_map.bus_write(address, code);
      side->m.ram_map.bus_write(kData, data);
      side->m.ram_map.bus_write(kEdge - kPageSize, {data.data(), kPageSize});
      side->m.cpu.s.retired = 0;
      random_start(again, side->m.cpu);
      side->m.cpu.s.rip = address;
      side->m.cpu.refresh();
    }
    u64 until = 0, before = 0;
    while (until < 300) {
      before = until;
      until += random.below(4) == 0 ? 1 + random.below(8) : 1 + random.below(150);
      reference->run_to(until);
      subject->run_to(until);
      if (reference->state() == subject->state()) continue;
      wrong++;
      const std::vector<u8> a = reference->state(), b = subject->state();
      const auto at = std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin();
      std::string bytes;
      for (const u8 b : code) bytes += fmt::format("{:02x}", b);
      MESSAGE("program ", n, " after ", before, " and before ", until, ": byte ", at, " of ", a.size() - kDataBytes - kPageSize,
              " of the state and the data behind it\n", bytes, "\ninterpreter ",
              show(reference->m.cpu.s), "\ntranslator  ", show(subject->m.cpu.s));
      break;
    }
    translated += subject->m.cpu.s.retired;
  }
  CHECK(wrong == 0);
  CHECK(2 * interpreted < translated);  // it was the translator that was looked at
}

}  // namespace

TEST_CASE("random x87 programs leave the same state on the translator as on the interpreter") {
  if (!jit::translator_supported()) return;
  const jit::TranslatorOptions usual{.code_bytes = 1 << 20}, plain{.code_bytes = 1 << 20, .chaining = false, .passes = false},
      split{.code_bytes = 1 << 20, .split_seed = 7}, flushed{.code_bytes = 1 << 20, .flush_every = 3};
  compare_programs(usual, Bits::Long, 1, 3000);
  compare_programs(usual, Bits::Compatibility, 2, 1000);
  compare_programs(usual, Bits::Protected, 3, 1000);
  compare_programs(plain, Bits::Long, 4, 1000);
  compare_programs(split, Bits::Long, 5, 1000);
  compare_programs(flushed, Bits::Long, 6, 1000);
}

TEST_CASE("x87 instructions need no handler while exceptions are masked, and need it when one is not") {
  if (!jit::translator_supported()) return;
  const jit::TranslatorOptions options{.code_bytes = 1 << 20};
  Side side(&options);
  Cpu& c = side.m.cpu;
  side.start(Bits::Long);
  // fild qword [rdi]; fmul st0; fdivr st1; faddp st2, st0; fld1; fxch; fstp qword [rdi + 8]; dec r13; jnz; jmp $
  const u8 code[] = {0xDF, 0x2F, 0xD8, 0xC8, 0xD8, 0xF9, 0xDE, 0xC2, 0xD9, 0xE8, 0xD9, 0xC9, 0xDD, 0x5F, 0x08, 0x49,
                     0xFF, 0xCD, 0x0F, 0x85, 0xE8, 0xFF, 0xFF, 0xFF, 0xEB, 0xFE};
  side.m.ram_map.bus_write(kProgram, code);
  for (const bool masked : {true, false}) {
    c.s.retired = 0;
    c.s.rip = kProgram;
    c.s.gpr[RDI] = kData;
    c.s.gpr[R13] = 100;
    c.s.x87 = {};
    if (!masked) c.s.x87.control = 0x35F;  // the precision exception is not, and it does not come up
    const u64 before = side.translator->stats().handler_calls;
    side.run_to(9 * 100);
    CHECK(c.s.rip == kProgram + 24);
    CHECK((side.translator->stats().handler_calls - before != 0) == !masked);
  }
}
