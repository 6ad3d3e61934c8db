// What emitted code calls at the entry of a function that is executed as one instruction (cpu/hooked_code.h).
#include "cpu/hooked_code.h"
#include "jit/translator_impl.h"

namespace callgate::jit {

u64 Translator::Impl::hook(EngineSlots* slots, u64 number) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  return self.hook(*from_slot<Cpu>(slots, kCpu), self.sites[number]);
}

// An intrinsic looks at no arithmetic flag: they stay in their image unless it sets them.
u64 Translator::Impl::hook(Cpu& c, const Site& site) {
  auto& slot = c.engine.slot;
  HookedCode& hooks = *c.hypervisor->hooks;
  stats.handler_calls++;
  site.counts->handler_calls++;
  c.s.rip = site.rip;
  c.next_rip() = site.next_rip;
  c.s.retired = slot[kEnd] - slot[kBudget] - site.rest;
  c.note_on_trail(site.rip);
  Before before{c.tlb.epoch(), unit_modes(c.s), segment};
  c.set_limit(1);
  const unsigned number = site.insn->imm2;
  const HookedCode::Outcome outcome = hooks.attempt(c, number);
  if (outcome == HookedCode::Outcome::Declined) {
    const Insn own = hooks.own(number);  // it may overwrite itself
    return perform(c, site, own, before);
  }
  if (outcome == HookedCode::Outcome::DoneWithFlags) slot[kFlagsImage] = flags_image(c.s.flags);
  c.s.rip = c.next_rip();
  c.s.retired++;
  // It may have counted for many: then the budget is reckoned anew, wherever it goes on.
  if (c.s.retired != slot[kEnd] - slot[kBudget] - site.rest + 1) before.epoch = ~c.tlb.epoch();
  return go_on_behind(c, site, before, false);
}

}  // namespace callgate::jit
