// Two machines of one configuration side by side: the interpreter as the reference and the translator as the subject. Their
// states are compared as they run; the first difference is narrowed down to one instruction, or one translated block, by
// running both again from the start. It uses Machine as anybody does and knows neither engine.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "machine/machine.h"

namespace callgate {

class Lockstep {
 public:
  /// Loads a guest into a fresh machine. Called again for each run that the search for a difference takes.
  using Loader = std::function<Result<>(Machine&)>;
  static constexpr u64 kDefaultInterval = 1'000'000;

  /// Errors: Machine::create's and the loader's. The states are compared every `interval` instructions.
  static Result<std::unique_ptr<Lockstep>> create(const MachineConfig& config, Loader loader,
                                                  u64 interval = kDefaultInterval);

  /// The machine to look at. Run it and type to it by the functions below.
  Machine& subject() { return *subject_; }
  /// As Machine::run; Requested at a difference.
  Stop run(const RunLimits& limits = {});
  /// As Machine::serial_input.
  void serial_input(std::span<const u8> bytes);

  /// What differed first, for a person: where, the instructions that led there, the host code that the translator had for
  /// the last one, both states. Empty while nothing has.
  const std::string& difference() const { return difference_; }

 private:
  /// What was done to the machines: a run, or input.
  struct Action {
    RunLimits limits;
    std::vector<u8> typed;
  };
  struct Interval {
    u64 from, to;  ///< the states agree at `from`, and differ at `to`
  };

  Lockstep(const MachineConfig& config, Loader loader, u64 interval)
      : config_(config), loader_(std::move(loader)), interval_(interval) {}
  Result<std::unique_ptr<Machine>> make(Engine engine) const;
  /// `prepare` sees the fresh machine before it runs.
  using Prepare = std::function<void(Machine&)>;
  std::unique_ptr<Machine> replay(Engine engine, const Prepare& prepare) const;
  std::unique_ptr<Machine> replay_to(Engine engine, u64 count, const Prepare& prepare = {}) const;
  Interval narrow(Interval interval) const;
  std::string investigate(u64 from, u64 to);

  MachineConfig config_;
  const Loader loader_;
  const u64 interval_;
  std::unique_ptr<Machine> reference_, subject_;
  std::vector<Action> actions_;
  std::string difference_;
};

}  // namespace callgate
