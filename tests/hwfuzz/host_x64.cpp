// The child process on x86-64 Linux. Two shared areas: the batch of cases and outcomes, and the pages that the cases
// run in, mapped at their fixed addresses with their rights, and once more writable so that the child can prepare them.
//
// A case is entered by IRETQ, which loads RIP, RSP and RFLAGS at once and serialises after the new code. It leaves by
// its jump to kExit, or by a signal, whose frame has the registers, the trap number, the error code and CR2.
#include "tests/hwfuzz/host.h"

#if defined(__x86_64__) && defined(__linux__)

#include <asm/prctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/verify.h"
#include "cpu/semantics/fpu_state.h"
#include "cpu/semantics/host_features.h"
#include "cpu/system/msr.h"

extern "C" {
/// Loads everything from `in` and runs; returns when the case is over.
__attribute__((visibility("hidden"))) void hwfuzz_enter(const callgate::hwfuzz::Registers* in);
/// Where a finished case arrives, and where a signal handler goes on.
__attribute__((visibility("hidden"))) void hwfuzz_exit();
__attribute__((visibility("hidden"))) void hwfuzz_signal();
__attribute__((visibility("hidden"))) void hwfuzz_resume();
__attribute__((visibility("hidden"), used)) void hwfuzz_caught(int signal, siginfo_t* info, void* context);
__attribute__((visibility("hidden"))) callgate::hwfuzz::Registers hwfuzz_out;
__attribute__((visibility("hidden"))) bool hwfuzz_avx;  ///< the host has ymm registers
}

// Offsets: Registers in case.h.
asm(R"(
  .text
  .globl hwfuzz_enter, hwfuzz_exit, hwfuzz_signal, hwfuzz_resume
  .hidden hwfuzz_enter, hwfuzz_exit, hwfuzz_signal, hwfuzz_resume
hwfuzz_enter:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, hwfuzz_rsp(%rip)
  fxrstor64 192(%rdi)
  cmpb $0, hwfuzz_avx(%rip)
  je 1f
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  vinsertf128 $1, 704+16*\n(%rdi), %ymm\n, %ymm\n
  .endr
1:
  mov %ss, %eax
  push %rax
  push 32(%rdi)
  push 136(%rdi)
  mov %cs, %eax
  push %rax
  push 128(%rdi)
  mov 0(%rdi), %rax
  mov 8(%rdi), %rcx
  mov 16(%rdi), %rdx
  mov 24(%rdi), %rbx
  mov 40(%rdi), %rbp
  mov 48(%rdi), %rsi
  mov 64(%rdi), %r8
  mov 72(%rdi), %r9
  mov 80(%rdi), %r10
  mov 88(%rdi), %r11
  mov 96(%rdi), %r12
  mov 104(%rdi), %r13
  mov 112(%rdi), %r14
  mov 120(%rdi), %r15
  mov 56(%rdi), %rdi
  iretq

hwfuzz_exit:
  mov %rax, 0+hwfuzz_out(%rip)
  mov %rcx, 8+hwfuzz_out(%rip)
  mov %rdx, 16+hwfuzz_out(%rip)
  mov %rbx, 24+hwfuzz_out(%rip)
  mov %rsp, 32+hwfuzz_out(%rip)
  mov %rbp, 40+hwfuzz_out(%rip)
  mov %rsi, 48+hwfuzz_out(%rip)
  mov %rdi, 56+hwfuzz_out(%rip)
  mov %r8, 64+hwfuzz_out(%rip)
  mov %r9, 72+hwfuzz_out(%rip)
  mov %r10, 80+hwfuzz_out(%rip)
  mov %r11, 88+hwfuzz_out(%rip)
  mov %r12, 96+hwfuzz_out(%rip)
  mov %r13, 104+hwfuzz_out(%rip)
  mov %r14, 112+hwfuzz_out(%rip)
  mov %r15, 120+hwfuzz_out(%rip)
  mov hwfuzz_rsp(%rip), %rsp
  pushfq
  pop 136+hwfuzz_out(%rip)
  cmpb $0, hwfuzz_avx(%rip)
  je 1f
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  vextractf128 $1, %ymm\n, 704+16*\n+hwfuzz_out(%rip)
  .endr
  vzeroupper
1:
  fxsave64 192+hwfuzz_out(%rip)
hwfuzz_resume:
  mov hwfuzz_rsp(%rip), %rsp
  push $0x202
  popfq
  xor %eax, %eax
  mov %eax, %ds
  mov %eax, %es
  fninit
  push $0x1F80
  ldmxcsr (%rsp)
  pop %rax
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

# The kernel leaves AC as the case had it, and C++ may access memory unaligned.
hwfuzz_signal:
  pushfq
  andl $~0x40000, (%rsp)
  popfq
  jmp hwfuzz_caught

  .bss
  .balign 8
hwfuzz_rsp: .skip 8
  .text
)");

namespace callgate::hwfuzz {
namespace {

/// What parent and child share besides the pages of the cases.
struct Shared {
  Case cases[kBatch];
  Outcome outcomes[kBatch];
  volatile u32 current;  ///< the case that the child is running
};

// The child's own. Signal handlers have no other way to know them.
volatile bool g_inside = false;  ///< a case is running
Outcome* g_outcome = nullptr;    ///< its outcome
volatile u64 g_serial = 0;       ///< counts cases
u64 g_serial_at_tick = 0;

constexpr u64 kWatchdogMicroseconds = 20000;

[[noreturn]] void resume_after_signal() {
  g_inside = false;
  asm volatile("jmp hwfuzz_resume");
  __builtin_unreachable();
}

void copy_signal_frame(const ucontext_t& u) {
  const greg_t* g = u.uc_mcontext.gregs;
  static constexpr int kOrder[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                     REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  Registers& out = g_outcome->out;
  for (unsigned i = 0; i < 16; i++) out.gpr[i] = static_cast<u64>(g[kOrder[i]]);
  out.rip = static_cast<u64>(g[REG_RIP]);
  out.rflags = static_cast<u64>(g[REG_EFL]);
  const u8* image = reinterpret_cast<const u8*>(u.uc_mcontext.fpregs);
  std::memcpy(static_cast<void*>(&out.fx), image, sizeof out.fx);
  // Behind it, the standard format of XSAVE.
  std::memset(out.upper, 0, sizeof out.upper);
  if (hwfuzz_avx && (load_as<u64>(image + sizeof out.fx) & kXcr0Avx))
    std::memcpy(out.upper, image + kXsaveAvxOffset, sizeof out.upper);
}

/// One page area: for the cases at its address, and for the child to write.
struct Area {
  u64 address;
  unsigned size;
  u8* writable = nullptr;
};

bool map_area(int file, Area& a, u64 offset, int protection) {
  void* own = mmap(reinterpret_cast<void*>(a.address), a.size, protection, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file,
                   static_cast<off_t>(offset));
  void* other =
      mmap(nullptr, a.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, static_cast<off_t>(offset));
  a.writable = static_cast<u8*>(other);
  return own != MAP_FAILED && other != MAP_FAILED;
}

class LinuxHost final : public Host {
 public:
  ~LinuxHost() override {
    stop_child();
    if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
  }

  const char* prepare() {
    void* p = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return "no shared memory";
    shared_ = new (p) Shared;
    start_child();
    return child_ > 0 ? nullptr : "the child process could not be started";
  }

  Case* cases() override { return shared_->cases; }
  const Outcome* outcomes() const override { return shared_->outcomes; }

  void start(unsigned count) override {
    count_ = count;
    first_ = 0;
    send();
  }

  void finish() override {
    u32 done = 0;
    while (first_ < count_) {
      if (read(from_child_, &done, sizeof done) == sizeof done) {
        first_ = count_;
        break;
      }
      // The child died in a case that left its pages: that case is lost, and a new child goes on behind it.
      const u32 lost = shared_->current;
      stop_child();
      start_child();
      VERIFY(child_ > 0, "a child process");
      if (lost >= first_ && lost < count_) {
        shared_->outcomes[lost].ending = Ending::Lost;
        first_ = lost + 1;
      }
      if (first_ < count_) send();
    }
  }

 private:
  void send() {
    const u32 message[2] = {first_, count_};
    VERIFY(write(to_child_, message, sizeof message) == sizeof message, "a pipe to the child");
  }

  void stop_child() {
    if (child_ <= 0) return;
    close(to_child_);
    close(from_child_);
    kill(child_, SIGKILL);
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = -1;
  }

  void start_child() {
    int down[2], up[2];
    if (pipe(down) != 0 || pipe(up) != 0) return;
    child_ = fork();
    if (child_ == 0) {
      close(down[1]);
      close(up[0]);
      const bool good = prepare_pages() && prepare_signals();
      u32 message[2];
      while (good && read(down[0], message, sizeof message) == sizeof message) {
        for (u32 i = message[0]; i < message[1]; i++) run_case(i);
        if (write(up[1], &message[1], sizeof(u32)) != sizeof(u32)) break;
      }
      _exit(0);
    }
    close(down[0]);
    close(up[1]);
    to_child_ = down[1];
    from_child_ = up[0];
  }

  bool prepare_pages() {
    void* reserved = mmap(reinterpret_cast<void*>(kRegion), kRegionSize, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
    if (reserved != reinterpret_cast<void*>(kRegion)) return false;
    const int file = memfd_create("hwfuzz", 0);
    if (file < 0 || ftruncate(file, kCodeBytes + kPageSize + kDataBytes) != 0) return false;
    Area exit_page{kExit, kPageSize};
    Area read_only{kReadOnly, kPageSize};
    Area read_write{kData, kDataBytes - kPageSize};
    const u64 data_at = kCodeBytes + kPageSize;
    if (!map_area(file, code_, 0, PROT_READ | PROT_EXEC) ||
        !map_area(file, exit_page, kCodeBytes, PROT_READ | PROT_EXEC) ||
        !map_area(file, read_write, data_at, PROT_READ | PROT_WRITE) ||
        !map_area(file, read_only, data_at + read_write.size, PROT_READ))
      return false;
    // One pointer to all of the data, and the pages' entries made.
    void* all =
        mmap(nullptr, kDataBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, static_cast<off_t>(data_at));
    if (all == MAP_FAILED) return false;
    data_ = static_cast<u8*>(all);
    std::memset(code_.writable, kUnusedCode, kCodeBytes);
    for (u64 page = kData; page < kReadOnly; page += kPageSize) *reinterpret_cast<volatile u8*>(page) = 0;
    // jmp [rip + 2]: the exit page is fixed, hwfuzz_exit is where the program was loaded. (Aligned: AC may be set.)
    static constexpr u8 kJump[8] = {0xFF, 0x25, 2, 0, 0, 0, 0x90, 0x90};
    std::memcpy(exit_page.writable, kJump, sizeof kJump);
    store_as<u64>(exit_page.writable + sizeof kJump, reinterpret_cast<u64>(&hwfuzz_exit));
    return syscall(SYS_arch_prctl, ARCH_SET_GS, kGsBase) == 0;
  }

  static bool prepare_signals() {
    static constexpr std::size_t kStack = 1 << 17;
    void* p = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack{};
    stack.ss_sp = p;
    stack.ss_size = kStack;
    if (p == MAP_FAILED || sigaltstack(&stack, nullptr) != 0) return false;
    struct sigaction action {};
    action.sa_sigaction = reinterpret_cast<void (*)(int, siginfo_t*, void*)>(&hwfuzz_signal);
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (const int s : {SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS, SIGVTALRM}) sigaction(s, &action, nullptr);
    itimerval timer{};
    timer.it_interval.tv_usec = timer.it_value.tv_usec = kWatchdogMicroseconds;
    return setitimer(ITIMER_VIRTUAL, &timer, nullptr) == 0;
  }

  void run_case(u32 n) {
    const Case& c = shared_->cases[n];
    shared_->current = n;
    g_outcome = &shared_->outcomes[n];
    fill_memory(c, data_);
    const unsigned code_size = std::min<unsigned>(c.code_size, kCodeBytes - c.code_at);
    std::memcpy(code_.writable + c.code_at, c.code, code_size);
    g_serial = g_serial + 1;
    g_outcome->ending = Ending::Finished;
    g_outcome->vector = 0;
    g_outcome->error_code = 0;
    g_outcome->cr2 = 0;
    g_inside = true;
    hwfuzz_enter(&c.in);
    g_inside = false;
    if (g_outcome->ending == Ending::Finished) {
      g_outcome->out = hwfuzz_out;
      g_outcome->out.rip = kExit;
    }
    if (!hwfuzz_avx) std::memcpy(g_outcome->out.upper, c.in.upper, sizeof c.in.upper);
    std::memcpy(g_outcome->memory, data_, kDataBytes);
    std::memset(code_.writable + c.code_at, kUnusedCode, code_size);
  }

  Shared* shared_ = nullptr;
  pid_t child_ = -1;
  int to_child_ = -1, from_child_ = -1;
  u32 first_ = 0, count_ = 0;
  // The child's.
  Area code_{kCode, kCodeBytes};
  u8* data_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Host>> Host::create() {
  hwfuzz_avx = test::host_has("avx");
  auto host = std::make_unique<LinuxHost>();
  if (const char* why = host->prepare()) return fail(ErrorKind::Host, why);
  // The first case shows whether the child got its pages.
  Case c;
  c.in.rip = kCode;
  finish_code(c);
  if (host->run(c).ending != Ending::Finished)
    return fail(ErrorKind::Host, "the child process could not map the pages of the cases");
  return std::unique_ptr<Host>(std::move(host));
}

}  // namespace callgate::hwfuzz

// Compiled without the stack protector's checks in mind: TLS is intact, since cases never touch FS.
void hwfuzz_caught(int signal, siginfo_t*, void* context) {
  using namespace callgate::hwfuzz;
  const ucontext_t& u = *static_cast<const ucontext_t*>(context);
  if (signal == SIGVTALRM) {
    const bool stuck = g_inside && g_serial == g_serial_at_tick;
    g_serial_at_tick = g_serial;
    if (!stuck) return;
    g_outcome->ending = Ending::Endless;
    resume_after_signal();
  }
  if (!g_inside) _exit(1);
  copy_signal_frame(u);
  g_outcome->ending = Ending::Faulted;
  g_outcome->vector = static_cast<callgate::u8>(u.uc_mcontext.gregs[REG_TRAPNO]);
  g_outcome->error_code = static_cast<callgate::u32>(u.uc_mcontext.gregs[REG_ERR]);
  if (g_outcome->vector == 14) g_outcome->cr2 = static_cast<callgate::u64>(u.uc_mcontext.gregs[REG_CR2]);
  resume_after_signal();
}

#else

namespace callgate::hwfuzz {
Result<std::unique_ptr<Host>> Host::create() {
  return fail(ErrorKind::Host, "this host is no x86-64 Linux: there is no processor to compare with");
}
}  // namespace callgate::hwfuzz

#endif
