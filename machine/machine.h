// libcallgate: a whole PC as a library. Create, load, run to a stop reason, look at it, hash it, save it.
//
//   auto machine = callgate::Machine::create({.ram_bytes = 512 << 20}).value();
//   if (auto loaded = machine->load_kernel("vmlinuz", "initrd.img", "console=ttyS0"); !loaded) return loaded.error();
//   machine->on_serial([](std::span<const callgate::u8> bytes) { fwrite(bytes.data(), 1, bytes.size(), stdout); });
//   callgate::Stop stop = machine->run();
//
// Every run is a function of the configuration, what was loaded and the inputs given: nothing here reads the host's
// clock, random numbers or files behind the caller's back (load_kernel reads the files it is told to). Several machines
// may live in one process, each used by one thread at a time. Nothing is global.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/seam.h"
#include "base/types.h"
#include "cpu/state.h"
#include "machine/boot/boot_plan.h"
#include "machine/journal.h"

namespace callgate {

class Checkpoint;
class Debugger;
class PageSource;
class Ram;

/// Which engine executes instructions. All give the same results.
enum class Engine {
  Interpreter,  ///< the reference: any host
  Translator,   ///< emitted host code (jit/translator.h): x86-64 hosts with BMI2
};

/// Ways to run the translator that no guest may notice. For tests; zeros mean the usual.
struct TranslatorTuning {
  u64 code_bytes = 0;       ///< size of the code cache
  bool chaining = true;     ///< blocks jump to each other directly
  bool passes = true;       ///< the IR's optimisation passes
  unsigned most_insns = 0;  ///< instructions in a block
  u64 flush_every = 0;      ///< all code is forgotten after so many entries into it
  unsigned promote_after = 0;  ///< jumps until their target gets a version of its own
  u64 split_seed = 0;       ///< blocks end at places that this number makes up
  bool verify = false;      ///< checks the IR of every block
};
/// The engine that is best on this host.
Engine default_engine();

/// What a machine is made of. Fixed once made; part of its identity.
struct MachineConfig {
  u64 ram_bytes = u64{512} << 20;  ///< a multiple of 4 KiB, 1 MiB to 64 GiB
  unsigned cpus = 1;               ///< 1 to 64
  std::string cpu_model = "callgate";
  Engine engine = default_engine();
  TranslatorTuning translator;
  i64 rtc_start = 1'735'689'600;  ///< the CMOS clock at power-on, in seconds since 1970 UTC (default: 2025-01-01)
  u32 paravirt = 0;               ///< the paravirtual interfaces that the guest finds: parse_paravirt()
  bool reset_stops = false;       ///< a guest's reset ends the run instead of starting the machine afresh
};

/// "kvm,callgate" or "none" for MachineConfig::paravirt, and back. Error: BadArgument.
Result<u32> parse_paravirt(std::string_view text);
std::string paravirt_text(u32 set);

/// Why a run ended.
enum class StopReason {
  CountReached,  ///< the count that run() was given
  Requested,     ///< request_stop()
  PowerOff,      ///< the guest switched itself off
  Reset,         ///< the guest reset itself, and MachineConfig::reset_stops
  DebugExit,     ///< the guest wrote the debug-exit port: see Stop::code
  TripleFault,   ///< a processor shut down: see Machine::fault_report()
  Halted,        ///< every processor is halted with interrupts off: nothing can wake it
  Debug,         ///< the debugger's: see Debugger::hit()
  Idle,          ///< with RunLimits::stop_when_idle: every processor waits; see Stop::idle_ns
  Damaged,       ///< what the machine goes on from turned out to be damaged: see Machine::damage()
};

struct Stop {
  StopReason reason;
  u32 code = 0;     ///< DebugExit: the guest's exit code
  u64 idle_ns = 0;  ///< Idle: guest time until the next timer (kNever: there is none)
};

/// A frame of RAM and the hash of its contents (Ram::hash_of).
struct FrameHash {
  u32 frame;
  u64 hash;
};

/// When run() shall end beside the guest's own doing.
struct RunLimits {
  u64 until_count = ~u64{0};    ///< total retired instructions; the stop is exact
  bool stop_when_idle = false;  ///< stop before halted time is skipped. The next run() skips it.
};

/// Figures about how a run went, not about the guest's state: different engines have different ones.
struct MachineStats {
  u64 retired = 0;   ///< instructions, all processors
  u64 guest_ns = 0;  ///< guest time
  u64 faults = 0, interrupts = 0;
  // Of the translator; zero with the interpreter.
  u64 blocks = 0, versions = 0, loops = 0, paths = 0, translated = 0, code_bytes = 0, blocks_invalidated = 0, code_flushes = 0, entries = 0;
  u64 exits_budget = 0, exits_link = 0, exits_bail = 0, exits_done = 0, interpreted = 0, handler_calls = 0;
  u64 tlb_misses = 0, jump_cache_misses = 0;  ///< of emitted code's own probes
  u64 translation_ns = 0;                     ///< host time; needs set_host_clock()
  struct Handler {
    std::string name, encoding;  ///< the row's
    u64 handler_calls = 0;       ///< emitted code called its handler
    u64 interpreted = 0;         ///< emitted code was left, for the interpreter to execute it
  };
  std::vector<Handler> handlers;  ///< what emitted code could not do itself, most first
  u64 decoded = 0;             ///< instructions decoded
  u64 code_invalidations = 0;  ///< writes to pages with decoded code
  u64 tlb_refills = 0, tlb_flushes = 0, tlb_page_drops = 0;
  u64 timer_events = 0, idle_skips = 0;
  /// Hooked functions (docs/paravirt.md), by kind; empty without the port.
  struct Hooked {
    std::string kind;
    u64 entered = 0, declined = 0;
  };
  std::vector<Hooked> hooks;
  u64 hooks_suspended = 0, hooks_refused = 0;
  struct Count {
    std::string name;
    u64 value = 0;
  };
  std::vector<Count> paravirt;  ///< what the guest used of its hypervisor, and how often
};

class Machine {
 public:
  /// Makes a machine with nothing loaded. Errors: BadArgument (a configuration that makes no sense), Host (no memory).
  static Result<std::unique_ptr<Machine>> create(const MachineConfig& config);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  const MachineConfig& config() const;

  // --- loading ------------------------------------------------------------------------------------------------
  /// Reads the files and places them as plan_boot says. `initrd` may be a list of Multiboot modules.
  /// Errors: MissingFile, BadFile, BadArgument, each with a sentence. Call once, before the first run.
  Result<> load_kernel(const std::string& kernel, const std::optional<std::string>& initrd,
                       const std::string& command_line, const boot::BootOptions& options = {});
  /// The same from memory.
  Result<> load(boot::BootInputs inputs, const boot::BootOptions& options = {});
  /// The guest's memory map, for BootInputs::memory.
  boot::MemoryMap memory_map() const;
  /// One line about what was loaded and how it is entered.
  const std::string& boot_description() const;

  // --- running ------------------------------------------------------------------------------------------------
  /// Runs until something stops it. Call again to go on (after CountReached, Requested, Idle).
  Stop run(const RunLimits& limits = {});
  /// Executes one instruction of processor `cpu` (interrupts and timers as in run()).
  Stop step();
  /// Makes a running run() return Requested soon. From any thread or a signal handler.
  void request_stop();

  // --- inputs: the only way in for what is not computed ------------------------------------------------------
  /// Bytes for the serial line COM1, offered now and delivered as the guest's UART has room. Stamped with the count.
  void serial_input(std::span<const u8> bytes);
  /// Bytes for a guest that asks for a test's input (paravirt/ABI.md, GET_INPUT), by the same way.
  void test_input(std::span<const u8> bytes);
  /// Every input taken so far, and a way to have them taken again at the same moments.
  HostInput& journal();

  // --- outputs ------------------------------------------------------------------------------------------------
  using ByteHandler = std::function<void(std::span<const u8>)>;
  void on_serial(ByteHandler handler);         ///< COM1
  void on_debug_console(ByteHandler handler);  ///< port 0xE9
  /// While muted, nothing is handed to the handlers: what a replay writes was written before.
  void mute(bool muted);

  // --- looking ------------------------------------------------------------------------------------------------
  /// Total retired instructions of all processors.
  u64 count() const;
  /// Guest nanoseconds since power-on.
  u64 now() const;
  unsigned cpus() const;
  const CpuState& cpu_state(unsigned cpu) const;
  /// Changes a processor's state (a debugger's write).
  void set_cpu_state(unsigned cpu, const CpuState& state);
  /// Guest physical memory; false when any byte is not RAM or ROM.
  bool read_physical(u64 address, std::span<u8> out);
  bool write_physical(u64 address, std::span<const u8> data);
  /// The number of the frame of RAM at a physical address: what Checkpoint::written tells of. Nothing: no RAM.
  std::optional<u32> frame_at(u64 physical) const;
  /// Linear memory as processor `cpu` maps it now, without side effects; false when a page is not mapped.
  bool read_linear(unsigned cpu, u64 address, std::span<u8> out);
  /// A hash of all architectural, device, timer and RAM state. Equal runs have equal hashes at equal counts. Looking at
  /// it changes nothing that the guest could see.
  u64 hash();
  /// The whole state as bytes, and back into a machine of the same configuration. Error: BadFile when damaged.
  std::vector<u8> save();
  Result<> restore(std::span<const u8> saved);
  /// The state and the place in the journal, kept in memory. Checkpoints share the pages that did not change between
  /// them. For the machine that made them.
  std::shared_ptr<const Checkpoint> checkpoint();
  void restore(const Checkpoint& checkpoint);
  /// For machine/snapshot: RAM by itself, and everything but RAM's contents. Error of restoring: BadFile.
  Ram& ram();
  /// A machine that did not run yet has these contents of the source's in its RAM, and zeros elsewhere.
  void begin_with(std::shared_ptr<PageSource> source, std::span<const FrameHash> contents);
  std::vector<u8> save_devices();
  Result<> restore_devices(std::span<const u8> saved);
  /// The places that the guest itself can go back to (paravirt/ABI.md, SNAPSHOT), once the rest is restored. Empty: there are none.
  std::vector<u8> save_guest_snapshots();
  Result<> restore_guest_snapshots(std::span<const u8> saved);
  /// What it goes on from can't be had: from now on run() gives Damaged. The first reason counts.
  void set_damage(const std::string& why);
  const std::string& damage() const;
  /// Changes by hand so far: set_cpu_state, write_physical and what a debugger wrote.
  u64 edits() const;
  /// For machine/recorder. note_place() remembers the state; state_since_place() gives records for a journal
  /// (InputChannel::State) that make the state what it is now, in any machine that was in the remembered state and went on
  /// from there by itself, to this count.
  void note_place();
  std::vector<InputRecord> state_since_place();
  /// Where the plan comes from that a guest's reset starts it with again, when nothing was loaded here (a snapshot was).
  void on_reset(std::function<std::optional<boot::BootPlan>()> plan);
  /// Host memory that the pages of all checkpoints take.
  u64 checkpoint_pages() const;
  MachineStats stats() const;
  /// Hears of every piece of host code that the translator emits: where it lies, its size, its name (for blocks, the guest's
  /// address and mode). For profilers.
  using CodeHandler = std::function<void(const void* at, std::size_t size, std::string_view name)>;
  void on_code(CodeHandler handler);
  /// The host's time in nanoseconds, for MachineStats::translation_ns and nothing else. Without it that stays 0.
  void set_host_clock(u64 (*nanoseconds)());
  /// Registers, the chain of recent faults in words and the last instructions, for a person. After TripleFault it tells
  /// how it came to that.
  std::string fault_report(unsigned cpu) const;
  Log& log();
  /// Breakpoints, watchpoints and views of memory, none of which the guest can notice.
  Debugger& debugger();

 private:
  struct Impl;
  explicit Machine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace callgate
