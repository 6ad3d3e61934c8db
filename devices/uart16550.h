// 16550A serial port. Transmits at once, whatever the baud rate: a deterministic machine gains nothing from a slow
// line, and the interrupts are those of a very fast one. Received bytes are handed in by the board. Knows no terminal.
// Ref: National Semiconductor "PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs".
#pragma once

#include "base/seam.h"
#include "base/state_io.h"
#include "devices/byte_registers.h"

namespace callgate {

class Uart16550 final : public ByteRegisters {
 public:
  static constexpr unsigned kFifoSize = 16;

  struct State {
    u8 fifo[kFifoSize] = {};  ///< received bytes, a ring; without FIFO mode only one place is used
    u8 first = 0;             ///< where the oldest byte is
    u8 count = 0;             ///< bytes waiting
    u8 ier = 0;               ///< interrupt enable
    u8 fcr = 0;               ///< FIFO control: enable and trigger level
    u8 lcr = 0;               ///< line control
    u8 mcr = 0;               ///< modem control
    u8 line_errors = 0;       ///< LSR bits 1 to 4, until read
    u8 modem_lines = 0;       ///< MSR bits 4 to 7
    u8 modem_deltas = 0;      ///< MSR bits 0 to 3, until read
    u8 scratch = 0;
    u16 divisor = 12;              ///< 9600 baud
    bool thre_pending = false;     ///< "transmitter empty" was not reported yet
    bool timeout_pending = false;  ///< bytes below the trigger level have waited four characters' time
  };

  Uart16550(Clock& clock, IrqLine& irq, ByteSink& sink);
  ~Uart16550() override { clock_.cancel(timer_); }

  /// How many bytes can be received without loss. None in loopback: the line is cut off.
  std::size_t receive_room() const;
  /// A byte from the line. Without room it is lost and the guest sees an overrun.
  void receive(u8 byte);

  Timer& timer() { return timer_; }
  void reset();
  void sync(StateIo& io);

 private:
  u8 read8(u64 offset) override;
  void write8(u64 offset, u8 value) override;
  bool fifo_enabled() const;
  unsigned capacity() const { return fifo_enabled() ? kFifoSize : 1; }
  unsigned trigger() const;
  bool looped() const;
  u64 timeout_ns() const;
  u8 identify() const;
  u8 read_data();
  void transmit(u8 byte);
  void enqueue(u8 byte);
  void clear_receiver();
  void restart_timeout();
  void write_fifo_control(u8 value);
  void write_line_control(u8 value);
  void update_modem();
  void update_irq();

  Clock& clock_;
  IrqLine& irq_;
  ByteSink& sink_;
  Timer timer_;
  State state_;
};

}  // namespace callgate
