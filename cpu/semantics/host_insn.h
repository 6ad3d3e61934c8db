// For tests on an x86-64 host: runs a piece of machine code on the real processor with given registers, flags and memory.
// A fault of the code is caught. One at a time; not for code that leaves its own bytes.
#pragma once

#if defined(__x86_64__)

#include <csetjmp>
#include <csignal>
#include <cstring>
#include <span>

#include <sys/mman.h>

#include "base/bits.h"
#include "base/verify.h"

namespace callgate::test {

struct HostState {
  u64 gpr[16] = {};
  u64 rflags = 0x202;
  bool faulted = false;
};

class HostInsn {
 public:
  /// Memory for the code under test, at the same address as in a TestCpu.
  static constexpr u64 kData = 0xA00000;
  static constexpr u64 kDataSize = 0x8000;

  HostInsn() {
    constexpr int kProtection = PROT_READ | PROT_WRITE;
    void* data = mmap(reinterpret_cast<void*>(kData), kDataSize, kProtection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    VERIFY(data == reinterpret_cast<void*>(kData), "the address of the test's data is free");
    page_ = static_cast<u8*>(mmap(nullptr, kPages, kProtection | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    VERIFY(page_ != MAP_FAILED, "pages for code");
    stack_t alternate{};
    alternate.ss_sp = signal_stack_;
    alternate.ss_size = sizeof signal_stack_;
    sigaltstack(&alternate, &old_stack_);
    struct sigaction action{};
    action.sa_handler = on_fault;
    action.sa_flags = SA_ONSTACK | SA_NODEFER;
    for (unsigned k = 0; k < kSignals; k++) sigaction(kSignal[k], &action, &old_[k]);
  }
  ~HostInsn() {
    for (unsigned k = 0; k < kSignals; k++) sigaction(kSignal[k], &old_[k], nullptr);
    sigaltstack(&old_stack_, nullptr);
    munmap(page_, kPages);
    munmap(reinterpret_cast<void*>(kData), kDataSize);
  }
  HostInsn(const HostInsn&) = delete;
  HostInsn& operator=(const HostInsn&) = delete;

  u8* data() { return reinterpret_cast<u8*>(kData); }

  /// Only arithmetic flags and DF are taken from rflags, and given back.
  void run(HostState& state, std::span<const u8> code) {
    Frame& f = *reinterpret_cast<Frame*>(page_ + kFrame);
    std::memcpy(f.gpr, state.gpr, sizeof f.gpr);
    f.rflags = (state.rflags & 0xCD5) | 0x202;
    emit(code);
    current_ = this;
    state.faulted = sigsetjmp(escape_, 1) != 0;
    if (state.faulted) return;
    reinterpret_cast<void (*)()>(page_)();
    std::memcpy(state.gpr, f.gpr, sizeof f.gpr);
    state.rflags = f.rflags;
  }

 private:
  struct Frame {
    u64 gpr[16];
    u64 rflags;
    u64 host_rsp;
  };
  static constexpr std::size_t kFrame = 0x1000, kPages = 0x2000;
  static constexpr unsigned kSignals = 4;
  static constexpr int kSignal[kSignals] = {SIGFPE, SIGSEGV, SIGILL, SIGBUS};

  static void on_fault(int) { siglongjmp(current_->escape_, 1); }

  // The frame is addressed from RIP, so that every register is the code's own.
  void emit(std::span<const u8> code) {
    u8* p = page_;
    const auto put = [&p](std::initializer_list<unsigned> bytes) {
      for (const unsigned b : bytes) *p++ = static_cast<u8>(b);
    };
    const auto frame = [&](std::size_t offset) {
      store_as<i32>(p, static_cast<i32>(page_ + kFrame + offset - (p + 4)));
      p += 4;
    };
    put({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57});  // push rbx, rbp, r12 to r15
    put({0x48, 0x89, 0x25});                                            // mov [host_rsp], rsp
    frame(offsetof(Frame, host_rsp));
    put({0xFF, 0x35});  // push [rflags]; popf
    frame(offsetof(Frame, rflags));
    put({0x9D});
    for (unsigned r = 0; r < 16; r++) {  // mov r, [gpr]
      put({r < 8 ? 0x48u : 0x4Cu, 0x8B, 5 | (r & 7) << 3});
      frame(8 * r);
    }
    p = std::copy(code.begin(), code.end(), p);
    for (unsigned r = 0; r < 16; r++) {  // mov [gpr], r
      put({r < 8 ? 0x48u : 0x4Cu, 0x89, 5 | (r & 7) << 3});
      frame(8 * r);
    }
    put({0x48, 0x8B, 0x25});  // mov rsp, [host_rsp]
    frame(offsetof(Frame, host_rsp));
    put({0x9C, 0x8F, 0x05});  // pushf; pop [rflags]
    frame(offsetof(Frame, rflags));
    put({0xFC, 0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3});  // cld; pop...; ret
  }

  static inline HostInsn* current_ = nullptr;
  sigjmp_buf escape_;
  u8* page_ = nullptr;
  u8 signal_stack_[65536];
  stack_t old_stack_{};
  struct sigaction old_[kSignals] = {};
};

}  // namespace callgate::test

#endif
