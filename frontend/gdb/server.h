// Where a debugger connects: a TCP port (loopback unless told otherwise) or a Unix socket, one connection at a time. Moves
// bytes between it and the Stub, and lets the machine run in between.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "frontend/gdb/stub.h"

namespace callgate::gdb {

/// What --gdb says: "[HOST:]PORT", "tcp::PORT" or "unix:PATH" (or a path with a slash), and ",view=i8086" behind it.
struct ServerAddress {
  std::string host = "127.0.0.1";
  u16 port = 0;      ///< 0: any free one
  std::string path;  ///< of a Unix socket; empty: TCP
  View view = View::X86_64;
};
Result<ServerAddress> parse_address(const std::string& text);

class Server {
 public:
  /// Listens. Errors: Host (the port is taken, the path can't be used).
  static Result<std::unique_ptr<Server>> listen(const ServerAddress& address, Machine& machine, Timeline* timeline);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// The machine does not run before a debugger lets it.
  void hold() { stub_.hold(); }
  /// As Stub::end_at.
  void end_at(u64 count) { stub_.end_at(count); }
  /// How a debugger connects: "target remote ...".
  const std::string& where() const { return where_; }
  /// As Machine::run, as the debugger wishes. Debug: the machine stands still; come again. Requested: the debugger ended the
  /// run. Waits while the machine stands still, but not when `other` (a descriptor, or -1) has something to read.
  Stop run(const RunLimits& limits, int other);
  /// Descriptors to wait for while the guest idles: readable when the debugger says something.
  int descriptor() const { return connection_ >= 0 ? connection_ : listener_; }

 private:
  Server(int listener, std::string where, std::string unlink, Machine& machine, Timeline* timeline, View view);
  bool accept_one();
  void read_some();
  void receive_some();
  void flush();
  void close_connection();

  int listener_, connection_ = -1;
  bool lost_ = false;  ///< the connection is over, but not closed yet
  std::string where_, unlink_;
  std::string unsent_;
  Stub stub_;
};

}  // namespace callgate::gdb
