// Which encodings around MMX and SSE exist: every mandatory prefix on every opcode that has a row, against the host's
// processor, which raises #UD or does not. (Disassemblers are more generous with prefixes than processors.)
#include <doctest/doctest.h>

#if defined(__x86_64__) && defined(__linux__)

#include <sys/mman.h>
#include <ucontext.h>

#include <csetjmp>
#include <csignal>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cpu/decoder.h"
#include "cpu/semantics/host_features.h"
#include "cpu/table/encoding.h"
#include "cpu/table/table.h"

using namespace callgate;

namespace {

constexpr u64 kStub = 0x330000, kOperand = 0x340000;
constexpr int kSignals[] = {SIGILL, SIGSEGV, SIGTRAP, SIGFPE, SIGBUS};

sigjmp_buf back;
volatile std::sig_atomic_t signalled = 0;
volatile u64 signal_rip = 0;

void on_signal(int number, siginfo_t*, void* context) {
  signalled = number;
  signal_rip = static_cast<u64>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  siglongjmp(back, 1);
}

/// Tries instructions with [rdi] = zeros. What follows them is INT3, so that every one ends in a signal; and as their
/// registers may be any, the stack pointer too, handlers have a stack of their own.
class Prober {
 public:
  Prober() : stack_(1 << 16) {
    code_ = map(kStub, PROT_READ | PROT_WRITE | PROT_EXEC);
    memory_ = map(kOperand, PROT_READ | PROT_WRITE);
    stack_t own{};
    own.ss_sp = stack_.data();
    own.ss_size = stack_.size();
    sigaltstack(&own, &old_stack_);
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (unsigned n = 0; n < std::size(kSignals); n++) sigaction(kSignals[n], &action, &old_[n]);
  }
  ~Prober() {
    for (unsigned n = 0; n < std::size(kSignals); n++) sigaction(kSignals[n], &old_[n], nullptr);
    sigaltstack(&old_stack_, nullptr);
    if (code_ != nullptr) munmap(code_, 4096);
    if (memory_ != nullptr) munmap(memory_, 4096);
  }
  bool good() const { return code_ != nullptr && memory_ != nullptr; }
  /// True unless the instruction raises #UD.
  bool exists(const std::vector<u8>& bytes) {
    std::memset(code_, 0xCC, 64);
    code_[0] = 0xBF;  // mov edi, kOperand
    store_as<u32>(code_ + 1, kOperand);
    std::memcpy(code_ + 5, bytes.data(), bytes.size());
    code_[5 + bytes.size()] = 0;  // an immediate, or harmless
    std::memset(memory_, 0, 1024);
    signalled = 0;
    if (sigsetjmp(back, 1) == 0) reinterpret_cast<void (*)()>(code_)();
    const u32 mxcsr = 0x1F80;
    asm volatile("fninit\n\tldmxcsr %0" : : "m"(mxcsr));
    return !(signalled == SIGILL && signal_rip == kStub + 5);
  }

 private:
  static u8* map(u64 address, int protection) {
    void* p = mmap(reinterpret_cast<void*>(address), 4096, protection,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return p == MAP_FAILED ? nullptr : static_cast<u8*>(p);
  }
  u8* code_;
  u8* memory_;
  std::vector<u8> stack_;
  stack_t old_stack_{};
  struct sigaction old_[std::size(kSignals)] = {};
};

/// Encodings that extensions which the model doesn't have put between those of SSE; the host may have them or not.
bool later_extension(u8 map, u8 opcode, u8 prefix) {
  if (map != 1) return false;
  if (opcode == 0xC7) return true;                      // VMX, RDPID, ...
  if (opcode == 0xAE) return true;                      // XSAVEOPT, CLWB, FSGSBASE, ...
  if (prefix != 0xF2 && prefix != 0xF3) return false;
  return opcode == 0x2B;                                // SSE4a
}

}  // namespace

TEST_CASE("MMX and SSE encodings exist with exactly those prefixes that the host's processor knows") {
  Prober host;
  REQUIRE_MESSAGE(host.good(), "the addresses of the test's pages are taken");
  std::set<std::pair<u8, u8>> opcodes;  // with their map
  for (const auto rows : {mmx_rows(), sse_float_rows(), sse_integer_rows(), sse_move_rows(), sse3_rows(), ssse3_rows(), sse41_rows(), sse42_rows(), crypto_rows(), integer_extension_rows()})
    for (const Row& row : rows) {
      const Encoding e = parse_encoding(row);
      if (e.has_modrm && test::host_has(row.feature)) opcodes.emplace(e.map, e.opcode);  // after EMMS code would go on
    }
  for (const auto& [map, opcode] : opcodes) {
    for (const u8 prefix : {0x00, 0x66, 0xF3, 0xF2}) {
      if (later_extension(map, opcode, prefix)) continue;
      for (const u8 rex : {0x00, 0x48}) {
        for (unsigned reg = 0; reg < 8; reg++) {
          for (const bool memory : {false, true}) {
            std::vector<u8> bytes;
            if (prefix != 0) bytes.push_back(prefix);
            if (rex != 0) bytes.push_back(rex);
            bytes.push_back(0x0F);
            if (map != 1) bytes.push_back(map == 2 ? 0x38 : 0x3A);
            bytes.insert(bytes.end(), {opcode, static_cast<u8>((memory ? 7 : 0xC1) | reg << 3)});
            std::vector<u8> padded = bytes;
            padded.resize(kMaxInsnLength);
            Insn i;
            const bool ours = decode(padded, CodeSize::Bits64, i) == DecodeStatus::Ok;
            if (ours != host.exists(bytes))
              FAIL_CHECK(doctest::String(fmt::format("{:02x}: ours {}", fmt::join(bytes, " "), ours).c_str()));
          }
        }
      }
    }
  }
}

#endif
