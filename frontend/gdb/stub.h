// The debugger's side of a machine: GDB's remote protocol over any wire. It takes bytes, gives bytes, and runs the machine
// when told to; sockets are the server's business. Packets are hostile input: nothing they say may harm more than the guest.
//
//   Stub stub(machine, &timeline);
//   stub.connected();                     // the machine stands still
//   stub.receive(bytes); send(stub.take_output());
//   while (!stub.stopped()) stub.run({.until_count = machine.count() + 2'000'000});
#pragma once

#include <map>
#include <optional>
#include <string>

#include "frontend/gdb/packet.h"
#include "frontend/gdb/registers.h"
#include "machine/debugger.h"
#include "machine/machine.h"
#include "machine/timeline.h"

namespace callgate::gdb {

class Reader;

/// QEMU's bits of qqemu.sstep.
enum SingleStep : unsigned { kStepEnabled = 1, kStepNoInterrupts = 2, kStepNoTimers = 4 };

class Stub {
 public:
  /// Without a timeline there is no going back.
  Stub(Machine& machine, Timeline* timeline, View view = View::X86_64);
  ~Stub();

  // --- the wire ---------------------------------------------------------------------------------------------------
  /// A debugger came: the machine stands still.
  void connected();
  /// It went without a word: what it set is forgotten; the machine stays as it is.
  void disconnected();
  void receive(std::span<const u8> bytes);
  std::string take_output() { return std::move(output_); }

  // --- the machine ------------------------------------------------------------------------------------------------
  /// The machine may not run now.
  bool stopped() const { return going_ == Going::Not; }
  /// Holds the machine before its first instruction until a debugger says otherwise.
  void hold() { going_ = Going::Not; }
  /// The guest's run has an end that it doesn't know of itself: a recording's.
  void end_at(u64 count) { end_ = count; }
  /// Runs on, as the debugger wished. Debug: the machine stopped for the debugger, which knows already.
  Stop run(const RunLimits& limits);
  /// The debugger asked for a stop during a search.
  bool interrupt_asked() const { return interrupt_asked_; }
  /// Called during long searches; true interrupts them. What take_output() has then is to be sent.
  void on_poll(std::function<bool()> poll) { poll_ = std::move(poll); }
  /// A clock of the host, in nanoseconds: with it, long searches tell about every second how far they are. (It also keeps
  /// GDB from giving up on a monitor command.)
  void use_clock(u64 (*nanoseconds)()) { clock_ = nanoseconds; }
  /// The debugger wants the whole program to end, or it went on after the guest had ended.
  std::optional<Stop> over() const { return over_; }

 private:
  enum class Going : u8 { Not, Freely, On, Stepping, StepBack, Back };
  struct GdbBreak {
    bool software = false, hardware = false;
    std::vector<std::vector<u8>> conditions;
  };

  /// While it lives, packets but the interrupt wait.
  struct Searching {
    explicit Searching(Stub& s) : stub(s), outer(s.searching_) {
      if (!outer) s.interrupt_asked_ = false;
      if (!outer && s.clock_ != nullptr) s.told_at_ = s.clock_();
      s.searching_ = true;
    }
    ~Searching() { stub.searching_ = outer; }
    Stub& stub;
    bool outer;
  };

  // stub.cpp
  void handle(const std::string& packet);
  void reply(std::string_view payload);
  void ok() { reply("OK"); }
  void error(unsigned number);
  void resume(Going how, unsigned cpu);
  void stop_with(std::string reply);
  void interrupted();
  std::string stop_reply(unsigned signal, unsigned cpu, const std::string& reason = {}) const;
  std::string hit_reply() const;
  bool range_goes_on() const;
  void ended(const Stop& stop);
  Stop whole_end() const;
  Stop run_back();
  void vcont(Reader r);
  void registers_packet(char kind, Reader r);
  RegisterValues values(unsigned cpu) const;
  bool set_values(unsigned cpu, const RegisterValues& before, const RegisterValues& now);
  std::optional<unsigned> thread(Reader& r) const;
  u64 pc(unsigned cpu) const;
  void changed();
  void tell_progress(const Timeline::Progress& progress);

  // stub_query.cpp
  void query(Reader r, const std::string& packet);
  void set_query(Reader r);
  void verbose(Reader r);
  void transfer(Reader r);

  // stub_memory.cpp
  std::size_t read_memory(u64 address, std::span<u8> out) const;
  std::size_t write_memory(u64 address, std::span<const u8> data);
  void read_packet(Reader r, bool binary);
  void write_packet(Reader r, bool binary);
  void search(Reader r);
  void checksum(Reader r);
  void memory_region(Reader r);

  // stub_stops.cpp
  void insert_or_remove(bool insert, Reader r);
  void apply(u64 address);
  bool condition_holds(const std::vector<std::vector<u8>>& conditions, unsigned cpu) const;
  void forget_stops();

  // monitor.cpp and monitor_*.cpp
  std::string monitor(const std::string& line);
  std::string monitor_time(const std::string& word, const std::vector<std::string>& arguments);
  std::string monitor_memory(const std::string& word, const std::vector<std::string>& arguments);
  std::string last_write(u64 linear, u64 size, bool physical);
  std::string find_kernel() const;
  std::string where() const;
  void show(const std::string& text);
  std::optional<u64> address_of(const std::string& word) const;
  bool seek(u64 count, std::string& text);
  bool leave_handlers(unsigned cpu, std::string& text);

  Machine& machine_;
  Debugger& debugger_;
  Timeline* timeline_;
  RegisterFile registers_;
  PacketReader reader_;
  std::string output_, last_packet_;
  bool acks_ = true, ack_mode_ends_ = false;
  std::function<bool()> poll_;

  Going going_ = Going::Freely;
  unsigned general_cpu_ = 0, resume_cpu_ = 0, reported_cpu_ = 0;
  u64 range_start_ = 0, range_end_ = 0;  ///< of a step that goes on inside
  unsigned sstep_ = kStepEnabled | kStepNoInterrupts | kStepNoTimers;
  bool physical_memory_ = false;
  bool searching_ = false, interrupt_asked_ = false;
  u64 (*clock_)() = nullptr;
  u64 told_at_ = 0;
  bool has_swbreak_ = false, has_hwbreak_ = false;
  bool inside_ = false;  ///< stopped behind an event that was delivered at the same count
  std::string why_ = "S05";
  std::optional<Stop> ended_, over_;
  u64 end_ = ~u64{0};
  std::map<u64, GdbBreak> breaks_;
  std::map<u64, std::optional<u64>> spaces_;  ///< CR3 by breakpoint address, from monitor break-in
  std::optional<u64> every_space_;
  std::optional<View> next_view_;
};

}  // namespace callgate::gdb
