// What the stub can do, which threads there are, and the documents that GDB fetches: q, Q and v packets.
#include <fmt/format.h>

#include "frontend/gdb/hex.h"
#include "frontend/gdb/stub.h"

namespace callgate::gdb {

namespace {

constexpr unsigned kInvalid = 22;

const char* activity(Activity a) {
  switch (a) {
    case Activity::Running: return "running";
    case Activity::Halted: return "halted";
    case Activity::WaitForSipi: return "waits for a start-up IPI";
    case Activity::Shutdown: return "shut down";
  }
  return "?";
}

const char* mode(const CpuState& s) {
  if (!(s.cr0 & kCr0Pe)) return "16-bit real-address mode";
  if (s.flags.test(kVM)) return "virtual-8086 mode";
  if ((s.msr.efer & kEferLma) && s.seg[CS].long_mode()) return "64-bit mode";
  return s.seg[CS].big() ? "32-bit protected mode" : "16-bit protected mode";
}

std::string describe(const CpuState& s) { return fmt::format("{}, {}, ring {}", activity(s.activity), mode(s), s.cpl); }

}  // namespace

void Stub::query(Reader r, const std::string& packet) {
  if (r.take("Supported")) {
    has_swbreak_ = packet.find("swbreak+") != std::string::npos;
    has_hwbreak_ = packet.find("hwbreak+") != std::string::npos;
    std::string text = fmt::format("PacketSize={:x};QStartNoAckMode+;qXfer:features:read+;qXfer:memory-map:read+;"
                                   "qXfer:threads:read+;swbreak+;hwbreak+;ConditionalBreakpoints+;vContSupported+;binary-upload+",
                                   kMostPayload);
    if (timeline_ != nullptr) text += ";ReverseStep+;ReverseContinue+";
    return reply(text);
  }
  if (r.take("Xfer:")) return transfer(r);
  if (r.take("Rcmd,")) {
    const auto line = from_hex(r.rest());
    if (!line) return error(kInvalid);
    show(monitor(std::string(line->begin(), line->end())));
    return ok();
  }
  if (packet == "qC") return reply(fmt::format("QC{:x}", general_cpu_ + 1));
  if (packet == "qfThreadInfo") {
    std::string text;
    for (unsigned cpu = 0; cpu < machine_.cpus(); cpu++) text += fmt::format("{}{:x}", cpu == 0 ? "m" : ",", cpu + 1);
    return reply(text);
  }
  if (packet == "qsThreadInfo") return reply("l");
  if (r.take("ThreadExtraInfo,")) {
    const auto cpu = thread(r);
    return cpu ? reply(to_hex(fmt::format("CPU#{} [{}]", *cpu, describe(machine_.cpu_state(*cpu))))) : error(kInvalid);
  }
  if (r.take("Attached")) return reply("1");
  if (r.take("Search:memory:")) return search(r);
  if (r.take("CRC:")) return checksum(r);
  if (r.take("MemoryRegionInfo:")) return memory_region(r);
  if (packet == "qHostInfo") {
    const char* triple = registers_.view() == View::X86_64 ? "x86_64-unknown-none" : "i386-unknown-none";
    return reply(fmt::format("triple:{};endian:little;ptrsize:{};", to_hex(std::string_view(triple)),
                             registers_.view() == View::X86_64 ? 8 : 4));
  }
  if (packet == "qqemu.sstepbits")
    return reply(fmt::format("ENABLE={:x},NOIRQ={:x},NOTIMER={:x}", unsigned{kStepEnabled}, unsigned{kStepNoInterrupts},
                             unsigned{kStepNoTimers}));
  if (packet == "qqemu.sstep") return reply(fmt::format("{:#x}", sstep_));
  if (packet == "qqemu.PhyMemMode") return reply(physical_memory_ ? "1" : "0");
  reply("");
}

void Stub::set_query(Reader r) {
  if (r.take("StartNoAckMode") && r.at_end()) {
    ack_mode_ends_ = true;
    return ok();
  }
  if (r.take("qemu.sstep=")) {
    const auto bits = r.number();
    if (!bits || *bits > 7) return error(kInvalid);
    sstep_ = static_cast<unsigned>(*bits);
    return ok();
  }
  if (r.take("qemu.PhyMemMode:")) {
    const auto on = r.number();
    if (!on) return error(kInvalid);
    physical_memory_ = *on != 0;
    return ok();
  }
  reply("");
}

void Stub::verbose(Reader r) {
  if (r.take("Cont?")) return reply("vCont;c;C;s;S;r");
  if (r.take("Cont;")) return vcont(r);
  if (r.take("CtrlC")) return ok();
  if (r.take("Kill")) {
    over_ = Stop{StopReason::Requested};
    return ok();
  }
  reply("");
}

void Stub::transfer(Reader r) {
  const std::string object(r.until(':'));
  const std::string verb(r.until(':'));
  const std::string annex(r.until(':'));
  const auto offset = r.number_then(",");
  const auto size = offset ? r.number() : std::nullopt;
  if (!size || verb != "read") return error(kInvalid);
  std::string document;
  if (object == "features") {
    if (annex != "target.xml") return error(0);
    document = registers_.xml();
  } else if (object == "memory-map") {
    // Linear addresses: any may be mapped. A map of the physical ones would make GDB refuse the rest.
    document =
        "<?xml version=\"1.0\"?>\n<!DOCTYPE memory-map PUBLIC \"+//IDN gnu.org//DTD GDB Memory Map V1.0//EN\" "
        "\"http://sourceware.org/gdb/gdb-memory-map.dtd\">\n<memory-map>\n"
        "<memory type=\"ram\" start=\"0x0\" length=\"0x8000000000000000\"/>\n"
        "<memory type=\"ram\" start=\"0x8000000000000000\" length=\"0x8000000000000000\"/>\n</memory-map>\n";
  } else if (object == "threads") {
    document = "<?xml version=\"1.0\"?>\n<threads>\n";
    for (unsigned cpu = 0; cpu < machine_.cpus(); cpu++)
      document += fmt::format("<thread id=\"{:x}\" core=\"{}\" name=\"CPU#{}\">{}</thread>\n", cpu + 1, cpu, cpu,
                              describe(machine_.cpu_state(cpu)));
    document += "</threads>\n";
  } else {
    return reply("");
  }
  if (*offset >= document.size()) return reply("l");
  constexpr u64 kMost = kMostPayload / 2;  // room for escapes
  const std::string part = document.substr(*offset, std::min(*size, kMost));
  reply((*offset + part.size() == document.size() ? "l" : "m") + part);
}

}  // namespace callgate::gdb
