// The monitor's commands, which GDB passes on as "monitor ...": what its own vocabulary has no words for.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "frontend/gdb/hex.h"
#include "frontend/gdb/stub.h"

namespace callgate::gdb {

namespace {

struct Command {
  const char* name;
  const char* arguments;
  const char* help;
};
constexpr Command kCommands[] = {
    {"help", "", "this list"},
    {"when", "", "where the machine is: count, guest time, processors"},
    {"goto", "COUNT|NAME|+N|-N|begin|end", "go there, forward or back, at replay's speed"},
    {"mark", "[NAME]", "remember this place; without a name: list the marks"},
    {"unmark", "NAME", "forget a mark"},
    {"last-write", "ADDR [LENGTH]", "who last wrote these bytes before now, and when"},
    {"find-kernel", "", "where Linux is, its KASLR offset, and the line to type for its symbols"},
    {"translate", "ADDR", "the page tables' entries for a linear address"},
    {"xp", "ADDR [LENGTH]", "a dump of guest-physical memory"},
    {"disas", "[ADDR [COUNT]]", "instructions as the processor's mode reads them (16, 32 or 64 bits)"},
    {"registers", "", "the processor's state in words"},
    {"pbreak", "[ADDR]", "stop at a guest-physical address; without one: list them"},
    {"pdelete", "[ADDR]", "delete a physical breakpoint, or all"},
    {"pwatch", "ADDR [LENGTH]", "stop after a write to guest-physical bytes, by whatever address"},
    {"pwdelete", "", "delete all physical watchpoints"},
    {"break-in", "here|any|CR3 [ADDR]", "limit breakpoints (or the one at ADDR) to an address space"},
    {"sstep", "[irq|noirq]", "whether a step may end in an interrupt's handler"},
    {"view", "[x86-64|i386|i8086]", "the register set for the next connection"},
    {"quit", "", "end the run"},
};

std::optional<u64> parse(const std::string& word) {
  std::string_view digits = word;
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    digits.remove_prefix(2);
    base = 16;
  }
  u64 value = 0;
  const auto r = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (digits.empty() || r.ec != std::errc{} || r.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}

constexpr const char* kBadAddress = "that is no address: write a number (0x... or decimal), $REGISTER, or a sum of them\n";

}  // namespace

void Stub::show(const std::string& text) {
  constexpr std::size_t kPiece = 4000;
  for (std::size_t at = 0; at < text.size(); at += kPiece) reply("O" + to_hex(std::string_view(text).substr(at, kPiece)));
}

// A number, a register ("$rip"), or a sum of them.
std::optional<u64> Stub::address_of(const std::string& word) const {
  if (const std::size_t plus = word.find('+'); plus != std::string::npos) {
    const auto left = address_of(word.substr(0, plus)), right = address_of(word.substr(plus + 1));
    return left && right ? std::optional(*left + *right) : std::nullopt;
  }
  if (word.empty() || word[0] != '$') return parse(word);
  std::string name = word.substr(1);
  if (name == "pc") name = registers_.view() == View::X86_64 ? "rip" : "eip";
  if (name == "sp") name = registers_.view() == View::X86_64 ? "rsp" : "esp";
  const std::size_t number = registers_.find(name);
  if (number == registers_.count() || registers_.at(number).bytes > 8) return std::nullopt;
  const std::vector<u8> bytes = registers_.read(values(general_cpu_), number);
  u64 value = 0;
  for (std::size_t i = 0; i < bytes.size(); i++) value |= u64{bytes[i]} << (8 * i);
  return value;
}

std::string Stub::where() const {
  std::string text = fmt::format("count {}, guest time {:.9f} s", machine_.count(), static_cast<double>(machine_.now()) / 1e9);
  if (timeline_ != nullptr)
    text += fmt::format(" (history {} to {}, {} checkpoints, {} MiB)", timeline_->begin(), timeline_->end(),
                        timeline_->checkpoints(), timeline_->memory_used() >> 20);
  text += "\n";
  for (unsigned cpu = 0; cpu < machine_.cpus(); cpu++) {
    const auto [instruction, length] = debugger_.disassemble(cpu, debugger_.code_address(cpu));
    text += fmt::format("CPU#{}: {:#x}:{:#x}  {}\n", cpu, machine_.cpu_state(cpu).seg[CS].selector, machine_.cpu_state(cpu).rip,
                        instruction);
  }
  return text;
}

std::string Stub::monitor(const std::string& line) {
  std::istringstream stream(line);
  std::string word;
  std::vector<std::string> arguments;
  stream >> word;
  for (std::string argument; stream >> argument;) arguments.push_back(argument);
  if (word.empty() || word == "help") {
    std::string text = "Callgate's monitor commands (type \"monitor COMMAND\"):\n";
    for (const Command& c : kCommands) text += fmt::format("  {:<12} {:<27} {}\n", c.name, c.arguments, c.help);
    return text;
  }
  if (std::none_of(std::begin(kCommands), std::end(kCommands), [&](const Command& c) { return word == c.name; }))
    return "there is no monitor command \"" + word + "\": \"monitor help\" lists them\n";
  if (word == "when") return where();
  if (word == "goto" || word == "mark" || word == "unmark" || word == "last-write") return monitor_time(word, arguments);
  if (word == "find-kernel") return find_kernel();
  if (word == "registers") {  // without the part that is about a fault
    const std::string report = machine_.fault_report(general_cpu_);
    return report.substr(0, report.find("The last instructions"));
  }
  if (word == "quit") {
    over_ = Stop{StopReason::Requested};
    return "the run is over\n";
  }
  if (word == "sstep") {
    if (!arguments.empty()) {
      if (arguments[0] == "irq") sstep_ &= ~unsigned{kStepNoInterrupts};
      else if (arguments[0] == "noirq") sstep_ |= kStepNoInterrupts;
      else return "write \"sstep irq\" or \"sstep noirq\"\n";
    }
    return sstep_ & kStepNoInterrupts ? "a step passes over interrupts' handlers\n" : "a step may end in an interrupt's handler\n";
  }
  if (word == "view") {
    if (arguments.empty()) return fmt::format("the view is {}\n", name_of(registers_.view()));
    for (const View view : {View::X86_64, View::I386, View::I8086})
      if (arguments[0] == name_of(view)) {
        next_view_ = view;
        return fmt::format("the next connection sees {}: type \"disconnect\", \"set architecture {}\", and connect again\n",
                           arguments[0], view == View::X86_64 ? "i386:x86-64" : arguments[0]);
      }
    return "the views are x86-64, i386 and i8086\n";
  }
  return monitor_memory(word, arguments);
}

std::string Stub::monitor_memory(const std::string& word, const std::vector<std::string>& arguments) {
  if (word == "break-in") {
    if (arguments.empty()) return "write \"break-in here\", \"break-in any\" or \"break-in CR3\", and perhaps an address\n";
    std::optional<u64> space;
    if (arguments[0] == "here") space = machine_.cpu_state(general_cpu_).cr3;
    else if (arguments[0] != "any" && !(space = address_of(arguments[0]))) return kBadAddress;
    std::optional<u64> only;
    if (arguments.size() > 1 && !(only = address_of(arguments[1]))) return kBadAddress;
    if (only) spaces_[*only] = space;
    else every_space_ = space, spaces_.clear();
    std::vector<u64> set;
    for (const auto& [address, b] : breaks_) set.push_back(address);
    for (const u64 address : set) apply(address);
    const std::string which = only ? fmt::format("the breakpoint at {:#x}", *only) : "every breakpoint";
    return space ? fmt::format("{} counts in the address space {:#x} only\n", which, *space & ~u64{0xFFF})
                 : which + " counts in every address space\n";
  }
  if (word == "pbreak" && arguments.empty()) {
    std::string text;
    for (const auto& [at, b] : debugger_.breakpoints())
      if (at.physical) text += fmt::format("{:#x}\n", at.address);
    return text.empty() ? "there are no physical breakpoints\n" : text;
  }
  if (word == "pdelete" && arguments.empty()) {
    std::vector<DebugAddress> all;
    for (const auto& [at, b] : debugger_.breakpoints())
      if (at.physical) all.push_back(at);
    for (const DebugAddress& at : all) debugger_.remove_breakpoint(at);
    return fmt::format("{} deleted\n", all.size());
  }
  if (word == "pwdelete") {
    std::vector<Watchpoint> all;
    for (const Watchpoint& w : debugger_.watchpoints())
      if (w.at.physical) all.push_back(w);
    for (const Watchpoint& w : all) debugger_.remove_watchpoint(w);
    return fmt::format("{} deleted\n", all.size());
  }
  u64 address = debugger_.code_address(general_cpu_), size = 0;
  if (!arguments.empty() || word != "disas") {
    const auto given = arguments.empty() ? std::nullopt : address_of(arguments[0]);
    if (!given) return kBadAddress;
    address = *given;
  }
  if (arguments.size() > 1) {
    const auto given = parse(arguments[1]);
    if (!given) return "that is no number\n";
    size = *given;
  }
  if (word == "translate") return debugger_.describe_translation(general_cpu_, address);
  if (word == "pbreak") {
    debugger_.add_breakpoint({{address, true}, std::nullopt, {}});
    return fmt::format("the machine stops before the instruction at physical {:#x}\n", address);
  }
  if (word == "pdelete") return debugger_.remove_breakpoint({address, true}) ? "deleted\n" : "there is none\n";
  if (word == "pwatch") {
    size = std::max<u64>(size, arguments.size() > 1 ? 1 : 8);
    if (address + (size - 1) < address) return "that is no range\n";
    debugger_.add_watchpoint({{address, true}, size, WatchOn::Write, std::nullopt});
    return fmt::format("the machine stops after a write to physical {:#x} to {:#x}\n", address, address + (size - 1));
  }
  std::string text;
  if (word == "disas") {
    for (u64 n = 0, most = size == 0 ? 10 : std::min<u64>(size, 1000); n < most; n++) {
      const auto [instruction, length] = debugger_.disassemble(general_cpu_, address);
      text += fmt::format("{:#x}: {}\n", address, instruction);
      if (length == 0) break;
      address += length;
    }
    return text;
  }
  // xp
  std::vector<u8> bytes(size == 0 ? 64 : std::min<u64>(size, 4096));
  bytes.resize(debugger_.read_physical(address, bytes));
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    text += fmt::format("{:012x}:", address + at);
    std::string letters;
    for (std::size_t i = at; i < std::min(at + 16, bytes.size()); i++) {
      text += fmt::format(" {:02x}", bytes[i]);
      letters += bytes[i] >= 32 && bytes[i] < 127 ? static_cast<char>(bytes[i]) : '.';
    }
    text += fmt::format("{:{}} {}\n", "", 3 * (16 - std::min<std::size_t>(16, bytes.size() - at)), letters);
  }
  return text.empty() ? fmt::format("there is no memory at physical {:#x}\n", address) : text;
}

}  // namespace callgate::gdb
