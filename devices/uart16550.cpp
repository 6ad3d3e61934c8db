#include "devices/uart16550.h"

#include "devices/timer_state.h"

namespace callgate {

namespace {

// PC16550D, Table II: Summary of Registers.
enum Register : u64 {
  kData,
  kInterruptEnable,
  kIdentifyOrFifo,
  kLineControl,
  kModemControl,
  kLineStatus,
  kModemStatus,
  kScratch
};

constexpr u8 kIerReceived = 0x01;
constexpr u8 kIerTransmitter = 0x02;
constexpr u8 kIerLineStatus = 0x04;
constexpr u8 kIerModemStatus = 0x08;

constexpr u8 kIirNone = 0x01;
constexpr u8 kIirModemStatus = 0x00;
constexpr u8 kIirTransmitter = 0x02;
constexpr u8 kIirReceived = 0x04;
constexpr u8 kIirLineStatus = 0x06;
constexpr u8 kIirTimeout = 0x0C;
constexpr u8 kIirFifos = 0xC0;

constexpr u8 kFcrEnable = 0x01;
constexpr u8 kFcrClearReceiver = 0x02;
constexpr u8 kFcrKept = 0xC9;

constexpr u8 kLcrStopBits = 0x04;
constexpr u8 kLcrParity = 0x08;
constexpr u8 kLcrBreak = 0x40;
constexpr u8 kLcrDivisor = 0x80;

constexpr u8 kMcrDtr = 0x01;
constexpr u8 kMcrRts = 0x02;
constexpr u8 kMcrOut1 = 0x04;
constexpr u8 kMcrOut2 = 0x08;
constexpr u8 kMcrLoop = 0x10;

constexpr u8 kLsrDataReady = 0x01;
constexpr u8 kLsrOverrun = 0x02;
constexpr u8 kLsrBreak = 0x10;
constexpr u8 kLsrTransmitterEmpty = 0x60;  // THRE and TEMT: always, as sending takes no time

constexpr u8 kMsrRingEnded = 0x04;
constexpr u8 kMsrCts = 0x10;
constexpr u8 kMsrDsr = 0x20;
constexpr u8 kMsrRing = 0x40;
constexpr u8 kMsrDcd = 0x80;
constexpr u8 kConnected = kMsrCts | kMsrDsr | kMsrDcd;

constexpr u64 kCrystalHz = 1'843'200;

}  // namespace

Uart16550::Uart16550(Clock& clock, IrqLine& irq, ByteSink& sink) : clock_(clock), irq_(irq), sink_(sink) {
  timer_.fire = [this] {
    state_.timeout_pending = state_.count > 0;
    update_irq();
  };
  state_.modem_lines = kConnected;
}

void Uart16550::reset() {
  clock_.cancel(timer_);
  state_ = State{};
  state_.modem_lines = kConnected;
  update_irq();
}

bool Uart16550::fifo_enabled() const { return state_.fcr & kFcrEnable; }
bool Uart16550::looped() const { return state_.mcr & kMcrLoop; }

unsigned Uart16550::trigger() const {
  constexpr unsigned kLevels[] = {1, 4, 8, 14};
  return fifo_enabled() ? kLevels[state_.fcr >> 6] : 1;
}

// Four characters' time, of which the timeout interrupt is made.
u64 Uart16550::timeout_ns() const {
  const u64 bits_per_character =
      1 + 5 + (state_.lcr & 3) + ((state_.lcr & kLcrParity) != 0) + 1 + ((state_.lcr & kLcrStopBits) != 0);
  const u64 divisor = state_.divisor == 0 ? 0x10000 : state_.divisor;
  return 4 * bits_per_character * 16 * divisor * 1'000'000'000 / kCrystalHz;
}

std::size_t Uart16550::receive_room() const { return looped() ? 0 : capacity() - state_.count; }

void Uart16550::receive(u8 byte) {
  if (looped()) return;
  enqueue(byte);
  update_irq();
}

void Uart16550::enqueue(u8 byte) {
  State& s = state_;
  if (s.count == capacity()) {
    s.line_errors |= kLsrOverrun;
    if (!fifo_enabled()) s.fifo[s.first] = byte;  // the holding register is overwritten, a full FIFO is not
    return;
  }
  s.fifo[(s.first + s.count) % kFifoSize] = byte;
  ++s.count;
  restart_timeout();
}

void Uart16550::restart_timeout() {
  state_.timeout_pending = false;
  if (fifo_enabled() && state_.count > 0)
    clock_.arm(timer_, clock_.now() + timeout_ns());
  else
    clock_.cancel(timer_);
}

void Uart16550::clear_receiver() {
  state_.first = state_.count = 0;
  restart_timeout();
}

u8 Uart16550::read_data() {
  State& s = state_;
  if (s.count == 0) return 0;
  const u8 byte = s.fifo[s.first];
  s.first = (s.first + 1) % kFifoSize;
  --s.count;
  restart_timeout();
  return byte;
}

void Uart16550::transmit(u8 byte) {
  if (looped())
    enqueue(byte);
  else
    sink_.write({&byte, 1});
  state_.thre_pending = true;  // empty again already
}

// The interrupt of highest priority. PC16550D, Table IV: Interrupt Control Functions.
u8 Uart16550::identify() const {
  const State& s = state_;
  if ((s.ier & kIerLineStatus) && s.line_errors) return kIirLineStatus;
  if ((s.ier & kIerReceived) && s.count >= trigger()) return kIirReceived;
  if ((s.ier & kIerReceived) && s.timeout_pending) return kIirTimeout;
  if ((s.ier & kIerTransmitter) && s.thre_pending) return kIirTransmitter;
  if ((s.ier & kIerModemStatus) && s.modem_deltas) return kIirModemStatus;
  return kIirNone;
}

void Uart16550::update_irq() {
  // OUT2 connects INTR to the bus on a PC. DEVIATION: loopback leaves it connected, as drivers' self-tests expect.
  irq_.set((state_.mcr & kMcrOut2) && identify() != kIirNone);
}

void Uart16550::update_modem() {
  State& s = state_;
  u8 lines = kConnected;
  if (looped()) {
    lines = 0;
    if (s.mcr & kMcrRts) lines |= kMsrCts;
    if (s.mcr & kMcrDtr) lines |= kMsrDsr;
    if (s.mcr & kMcrOut1) lines |= kMsrRing;
    if (s.mcr & kMcrOut2) lines |= kMsrDcd;
  }
  const u8 changed = s.modem_lines ^ lines;
  s.modem_deltas |= (changed & (kMsrCts | kMsrDsr | kMsrDcd)) >> 4;
  if (changed & s.modem_lines & kMsrRing) s.modem_deltas |= kMsrRingEnded;
  s.modem_lines = lines;
}

u8 Uart16550::read8(u64 offset) {
  State& s = state_;
  u8 value = 0xFF;
  switch (offset) {
    case kData:
      if (s.lcr & kLcrDivisor) return static_cast<u8>(s.divisor);
      value = read_data();
      break;
    case kInterruptEnable:
      return s.lcr & kLcrDivisor ? static_cast<u8>(s.divisor >> 8) : s.ier;
    case kIdentifyOrFifo:
      value = identify();
      if (value == kIirTransmitter) s.thre_pending = false;
      if (fifo_enabled()) value |= kIirFifos;
      break;
    case kLineControl:
      return s.lcr;
    case kModemControl:
      return s.mcr;
    case kLineStatus:
      value = static_cast<u8>(kLsrTransmitterEmpty | s.line_errors | (s.count > 0 ? kLsrDataReady : 0));
      s.line_errors = 0;
      break;
    case kModemStatus:
      value = s.modem_lines | s.modem_deltas;
      s.modem_deltas = 0;
      break;
    case kScratch:
      return s.scratch;
    default:
      return value;
  }
  update_irq();
  return value;
}

void Uart16550::write_fifo_control(u8 value) {
  State& s = state_;
  // Changing the mode empties the FIFOs; the other bits only count while the FIFOs are, or become, enabled.
  const bool mode_changes = (value ^ s.fcr) & kFcrEnable;
  s.fcr = value & kFcrEnable ? value & kFcrKept : u8{0};
  if (mode_changes || (value & kFcrEnable && value & kFcrClearReceiver)) clear_receiver();
}

void Uart16550::write_line_control(u8 value) {
  State& s = state_;
  const bool break_starts = (value & ~s.lcr) & kLcrBreak;
  s.lcr = value;
  if (break_starts && looped()) {
    enqueue(0);
    s.line_errors |= kLsrBreak;
  }
}

void Uart16550::write8(u64 offset, u8 value) {
  State& s = state_;
  switch (offset) {
    case kData:
      if (s.lcr & kLcrDivisor) {
        s.divisor = static_cast<u16>((s.divisor & 0xFF00) | value);
        return;
      }
      // The line drops with the write and rises when the byte has gone: an edge for every byte.
      s.thre_pending = false;
      update_irq();
      transmit(value);
      break;
    case kInterruptEnable:
      if (s.lcr & kLcrDivisor) {
        s.divisor = static_cast<u16>((s.divisor & 0x00FF) | value << 8);
        return;
      }
      value &= 0x0F;
      // Enabling the transmitter's interrupt while it is empty reports that at once: drivers start sending so.
      if (value & ~s.ier & kIerTransmitter) s.thre_pending = true;
      if (!(value & kIerTransmitter)) s.thre_pending = false;
      s.ier = value;
      break;
    case kIdentifyOrFifo:
      write_fifo_control(value);
      break;
    case kLineControl:
      write_line_control(value);
      break;
    case kModemControl:
      s.mcr = value & 0x1F;
      update_modem();
      break;
    case kScratch:
      s.scratch = value;
      return;
    default:  // the status registers' write access is for the factory
      return;
  }
  update_irq();
}

void Uart16550::sync(StateIo& io) {
  io.section("uart16550");
  State& s = state_;
  io.fields(s.fifo, s.first, s.count, s.ier, s.fcr, s.lcr, s.mcr, s.line_errors, s.modem_lines, s.modem_deltas,
            s.scratch, s.divisor, s.thre_pending, s.timeout_pending);
  io.limit(s.first, u8{kFifoSize - 1}, "16550: no such place in the FIFO");
  io.limit(s.count, u8{kFifoSize}, "16550: more bytes than the FIFO holds");
  if (io.loading() && !fifo_enabled()) io.limit(s.count, u8{1}, "16550: more than one byte without a FIFO");
  sync_timer(io, clock_, timer_);
}

}  // namespace callgate
