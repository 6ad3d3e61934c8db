#include "frontend/gdb/server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>

namespace callgate::gdb {

namespace {

/// A debugger that reads nothing for so long is gone.
constexpr int kPatienceMs = 10'000;
constexpr std::size_t kPiece = 16 << 10;

tl::unexpected<Error> bad(const std::string& text) {
  return fail(ErrorKind::BadArgument,
              fmt::format("--gdb: \"{}\" is no place to listen: write PORT, HOST:PORT or unix:PATH, and perhaps ,view=i386 or "
                          ",view=i8086 behind it",
                          text));
}

tl::unexpected<Error> refused(const std::string& where) {
  return fail(ErrorKind::Host, fmt::format("--gdb: can't listen at {}: {}", where, std::strerror(errno)));
}

Result<int> listen_unix(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof name.sun_path)
    return fail(ErrorKind::BadArgument, fmt::format("--gdb: the path {} is too long for a socket", path));
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  // A socket that is left over from a run that is gone makes way; nothing else does.
  struct stat st{};
  if (lstat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) {
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool used = probe >= 0 && connect(probe, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
    if (probe >= 0) close(probe);
    if (!used) unlink(path.c_str());
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return refused(path);
  const mode_t mask = umask(077);  // the owner's alone
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
  umask(mask);
  if (!bound || ::listen(fd, 1) != 0) {
    const auto error = refused(path);
    close(fd);
    return error;
  }
  return fd;
}

Result<int> listen_tcp(const ServerAddress& address) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const std::string port = std::to_string(address.port);
  const std::string where = fmt::format("{}:{}", address.host, port);
  if (const int e = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found); e != 0)
    return fail(ErrorKind::BadArgument, fmt::format("--gdb: can't listen at {}: {}", where, gai_strerror(e)));
  int fd = -1;
  errno = EADDRNOTAVAIL;
  for (const addrinfo* a = found; a != nullptr && fd < 0; a = a->ai_next) {
    fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) continue;
    const int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && ::listen(fd, 1) == 0) break;
    const int why = errno;
    close(fd);
    errno = why;
    fd = -1;
  }
  freeaddrinfo(found);
  if (fd < 0) return refused(where);
  return fd;
}

u16 port_of(int fd) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return 0;
  return ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(name).sin6_port
                                          : reinterpret_cast<sockaddr_in&>(name).sin_port);
}

}  // namespace

Result<ServerAddress> parse_address(const std::string& text) {
  ServerAddress out;
  std::string where = text.substr(0, text.find(','));
  for (std::size_t at = where.size(); at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at + 1), text.size());
    const std::string option = text.substr(at + 1, comma - at - 1);
    at = comma;
    if (option == "server" || option == "nowait" || option == "server=on" || option == "wait=off") continue;  // QEMU's
    if (option == "view=i386") out.view = View::I386;
    else if (option == "view=i8086") out.view = View::I8086;
    else if (option != "view=x86-64") return bad(text);
  }
  if (where.starts_with("unix:") || where.find('/') != std::string::npos) {
    out.path = where.starts_with("unix:") ? where.substr(5) : where;
    if (out.path.empty()) return bad(text);
    return out;
  }
  if (where.starts_with("tcp:")) where.erase(0, 4);
  const std::size_t colon = where.rfind(':');
  if (colon != std::string::npos && colon != 0) {
    out.host = where.substr(0, colon);
    if (out.host.front() == '[' && out.host.back() == ']') out.host = out.host.substr(1, out.host.size() - 2);
  }
  const std::string port = colon == std::string::npos ? where : where.substr(colon + 1);
  const auto r = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (port.empty() || r.ec != std::errc{} || r.ptr != port.data() + port.size()) return bad(text);
  return out;
}

Result<std::unique_ptr<Server>> Server::listen(const ServerAddress& address, Machine& machine, Timeline* timeline) {
  const auto fd = address.path.empty() ? listen_tcp(address) : listen_unix(address.path);
  if (!fd) return tl::make_unexpected(fd.error());
  const bool any = address.host == "0.0.0.0" || address.host == "::";
  const std::string host = address.host.find(':') != std::string::npos ? "[" + address.host + "]" : address.host;
  const std::string where = !address.path.empty() ? address.path : fmt::format("{}:{}", any ? "localhost" : host, port_of(*fd));
  return std::unique_ptr<Server>(new Server(*fd, where, address.path, machine, timeline, address.view));
}

Server::Server(int listener, std::string where, std::string unlink, Machine& machine, Timeline* timeline, View view)
    : listener_(listener), where_(std::move(where)), unlink_(std::move(unlink)), stub_(machine, timeline, view) {
  stub_.use_clock([]() -> u64 {
    return static_cast<u64>(std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
  });
  // In the middle of a search nothing but an interrupt is heard, and a debugger that goes away goes when it is over.
  stub_.on_poll([this] {
    receive_some();
    flush();
    return lost_ || stub_.interrupt_asked();
  });
}

Server::~Server() {
  flush();
  close_connection();
  close(listener_);
  if (!unlink_.empty()) unlink(unlink_.c_str());
}

void Server::close_connection() {
  if (connection_ < 0) return;
  close(connection_);
  connection_ = -1;
  lost_ = false;
  unsent_.clear();
  stub_.disconnected();
}

bool Server::accept_one() {
  pollfd p{listener_, POLLIN, 0};
  if (poll(&p, 1, 0) <= 0) return false;
  const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return false;
  if (connection_ >= 0) {  // one at a time
    close(fd);
    return false;
  }
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  connection_ = fd;
  stub_.connected();
  return true;
}

// Everything that has come and goes through without waiting. A connection that was closed makes way for the next one.
void Server::read_some() {
  receive_some();
  flush();
  if (lost_) close_connection();
  accept_one();
}

void Server::receive_some() {
  constexpr unsigned kMostPieces = 64;
  for (unsigned n = 0; n < kMostPieces && connection_ >= 0 && !lost_; n++) {
    u8 bytes[kPiece];
    const ssize_t got = recv(connection_, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    lost_ = got <= 0;
    if (!lost_) stub_.receive({bytes, static_cast<std::size_t>(got)});
  }
}

void Server::flush() {
  if (connection_ < 0 || lost_) {
    stub_.take_output();
    return;
  }
  unsent_ += stub_.take_output();
  while (!unsent_.empty()) {
    const ssize_t sent = send(connection_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      unsent_.erase(0, static_cast<std::size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    pollfd p{connection_, POLLOUT, 0};
    if (errno != EAGAIN || poll(&p, 1, kPatienceMs) <= 0) {
      lost_ = true;
      return;
    }
  }
}

Stop Server::run(const RunLimits& limits, int other) {
  for (;;) {
    read_some();
    if (stub_.over()) return *stub_.over();
    if (!stub_.stopped()) break;
    pollfd p[] = {{connection_ >= 0 ? connection_ : listener_, POLLIN, 0}, {other, POLLIN, 0}};
    if (poll(p, 2, -1) < 0 && errno != EINTR) return {StopReason::Requested};
    if (p[1].revents != 0) return {StopReason::Debug};
  }
  const Stop stop = stub_.run(limits);
  flush();
  return stop;
}

}  // namespace callgate::gdb
