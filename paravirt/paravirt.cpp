#include "paravirt/paravirt.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/verify.h"
#include "paravirt/callgate_port.h"
#include "paravirt/hyperv.h"
#include "paravirt/kvm.h"
#include "paravirt/vmware.h"

namespace callgate::paravirt {

namespace {

using Maker = std::unique_ptr<Interface> (*)(Host&);

template <class T>
std::unique_ptr<Interface> make(Host& host) {
  return std::make_unique<T>(host);
}

struct Known {
  Bit bit;
  std::string_view name;
  Maker maker;
};

/// Every interface, in the order of the blocks.
constexpr Known kKnown[] = {
    {kHyperv, "hyperv", make<Hyperv>},
    {kVmware, "vmware", make<Vmware>},
    {kKvm, "kvm", make<Kvm>},
    {kCallgate, "callgate", make<CallgatePort>},
};

std::string all_names() {
  std::string names;
  for (const Known& k : kKnown) names += fmt::format("{}{}", names.empty() ? "" : ", ", k.name);
  return names;
}

/// Four characters of a signature as a register.
u32 text_word(std::string_view text, std::size_t at) {
  char word[4] = {};
  for (std::size_t n = 0; n < 4 && at + n < text.size(); n++) word[n] = text[at + n];
  u32 v;
  std::memcpy(&v, word, sizeof v);
  return v;
}

}  // namespace

Result<Set> parse(std::string_view text) {
  if (text == "none") return Set{0};
  Set set = 0;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string_view name = text.substr(at, comma - at);
    Set bit = 0;
    for (const Known& k : kKnown)
      if (k.name == name) bit = k.bit;
    if (bit == 0)
      return fail(ErrorKind::BadArgument,
                  fmt::format("\"{}\" is not a paravirtual interface: write none, or a list of {}", name, all_names()));
    set |= bit;
    at = comma + 1;
  }
  return set;
}

std::string text_of(Set set) {
  std::string text;
  for (const Known& k : kKnown)
    if (set & k.bit) text += fmt::format("{}{}", text.empty() ? "" : ",", k.name);
  return text.empty() ? "none" : text;
}

Set available() {
  Set set = 0;
  for (const Known& k : kKnown) set |= k.bit;
  return set;
}

Paravirt::Paravirt(Set set, Host& host) : host_(host) {
  VERIFY((set & ~available()) == 0, "a paravirtual interface that there is not");
  for (const Known& k : kKnown)
    if (set & k.bit) interfaces_.push_back(k.maker(host));
  for (auto& i : interfaces_)
    if (hooks == nullptr) hooks = i->hooked_code();
  for (unsigned n = 0; n < host.cpus(); n++) {
    auto eois = std::make_unique<Eois>();
    for (auto& i : interfaces_)
      if (LazyEoi* const lazy = i->lazy_eoi(n)) eois->from.push_back(lazy);
    if (!eois->from.empty()) host.apic_at(n).connect_lazy_eoi(eois.get());
    eois_.push_back(std::move(eois));
  }
}

void Paravirt::Eois::offer() {
  for (LazyEoi* e : from) e->offer();
}

// All of them are asked: each takes its offer back.
bool Paravirt::Eois::collect() {
  bool made = false;
  for (LazyEoi* e : from) made |= e->collect();
  return made;
}

CpuidLeaf Paravirt::cpuid(Cpu& c, u32 leaf, u32 subleaf) {
  const u32 block = (leaf - kHypervisorLeaves) / kBlockLeaves, offset = leaf % kBlockLeaves;
  if (block >= interfaces_.size()) return {};
  Interface& i = *interfaces_[block];
  if (offset == 0) {
    const std::string_view name = i.signature();
    return {leaf + i.leaves(), text_word(name, 0), text_word(name, 4), text_word(name, 8)};
  }
  return offset <= i.leaves() ? i.cpuid(c, offset, subleaf) : CpuidLeaf{};
}

MsrAnswer Paravirt::read_msr(Cpu& c, u32 index, u64& value) {
  for (auto& i : interfaces_)
    if (const MsrAnswer answer = i->read_msr(c, index, value); answer != MsrAnswer::Unknown) return answer;
  return MsrAnswer::Unknown;
}

MsrAnswer Paravirt::write_msr(Cpu& c, u32 index, u64 value) {
  for (auto& i : interfaces_)
    if (const MsrAnswer answer = i->write_msr(c, index, value); answer != MsrAnswer::Unknown) return answer;
  return MsrAnswer::Unknown;
}

bool Paravirt::hypercall(Cpu& c) {
  for (auto& i : interfaces_)
    if (i->hypercall(c)) return true;
  return false;
}

bool Paravirt::port_call(Cpu& c, u16 port, unsigned size) {
  for (auto& i : interfaces_)
    if (i->port_call(c, port, size)) return true;
  return false;
}

bool Paravirt::takes_wakeup(Cpu& c) {
  bool any = false;
  for (auto& i : interfaces_) any |= i->takes_wakeup(c);
  return any;
}

void Paravirt::yield(Cpu& c) { host_.end_turn(c); }

void Paravirt::reset() {
  for (auto& i : interfaces_) i->reset();
}

void Paravirt::order_timers(u32& next) {
  for (auto& i : interfaces_) i->order_timers(next);
}

Interface* Paravirt::console() const {
  for (auto& i : interfaces_)
    if (i->console_attached()) return i.get();
  return nullptr;
}

Interface* Paravirt::test() const {
  for (auto& i : interfaces_)
    if (i->test_room() != 0) return i.get();
  return nullptr;
}

void Paravirt::sync(StateIo& io) {
  for (auto& i : interfaces_) {
    io.section(i->signature());
    i->sync(io);
  }
}

void Paravirt::slice_begins(Cpu& c) {
  for (auto& i : interfaces_) i->slice_begins(c);
}

void Paravirt::slice_ends(Cpu& c) {
  for (auto& i : interfaces_) i->slice_ends(c);
}

void Paravirt::tsc_changed(Cpu& c) {
  for (auto& i : interfaces_) i->tsc_changed(c);
}

void Paravirt::initialized(Cpu& c) {
  for (auto& i : interfaces_) i->initialized(c);
}

void Paravirt::going_back() {
  for (auto& i : interfaces_) i->going_back();
}

void Paravirt::went_back(std::span<const u64> moved) {
  for (auto& i : interfaces_) i->went_back(moved);
}

void Paravirt::interrupt_waits(Cpu& c) {
  for (auto& i : interfaces_) i->interrupt_waits(c);
}

std::vector<Count> Paravirt::counts() const {
  std::vector<Count> all;
  for (auto& i : interfaces_) i->counts(all);
  return all;
}

bool Paravirt::tells_time() const {
  return std::any_of(interfaces_.begin(), interfaces_.end(), [](const auto& i) { return i->tells_time(); });
}

bool Paravirt::will_wake(const Cpu& c) const {
  for (auto& i : interfaces_)
    if (i->will_wake(c)) return true;
  return false;
}

}  // namespace callgate::paravirt
