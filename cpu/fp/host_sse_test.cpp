// The runner behind host_sse.h: an unmasked exception arrives as SIGFPE, whose handler notes MXCSR and lets the
// instruction run again with everything masked.
#include "cpu/fp/host_sse.h"

#if defined(__x86_64__)

#include <signal.h>
#include <ucontext.h>

namespace callgate::fp::host {
namespace {

volatile sig_atomic_t trap_mxcsr;
volatile sig_atomic_t trapped;

void on_fpe(int, siginfo_t*, void* context) {
  auto* registers = static_cast<ucontext_t*>(context)->uc_mcontext.fpregs;
  trap_mxcsr = static_cast<sig_atomic_t>(registers->mxcsr);
  trapped = 1;
  registers->mxcsr |= 0x1F80;
}

/// Catches SIGFPE while it lives.
class Catcher {
 public:
  Catcher() {
    struct sigaction action = {};
    action.sa_sigaction = on_fpe;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGFPE, &action, &before_);
  }
  ~Catcher() { sigaction(SIGFPE, &before_, nullptr); }

 private:
  struct sigaction before_ = {};
};

}  // namespace

Outcome run(Instruction instruction, u64 a, u64 b, u64 c, const Env& env) {
  Outcome outcome;
  u32 mxcsr = mxcsr_of(env);
  if ((env.masks & 0x3F) == 0x3F) {
    outcome.bits = instruction(a, b, c, mxcsr);
  } else {
    const Catcher catcher;
    trapped = 0;
    outcome.bits = instruction(a, b, c, mxcsr);
    outcome.trapped = trapped != 0;
    if (outcome.trapped) mxcsr = static_cast<u32>(trap_mxcsr);
  }
  outcome.flags = mxcsr & 0x3F;
  return outcome;
}

}  // namespace callgate::fp::host

#endif
