#include "frontend/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace callgate {

Result<std::unique_ptr<Output>> Output::open(const std::string& where, const std::string& option) {
  if (where == "stdio" || where == "mon:stdio") return std::unique_ptr<Output>(new Output(STDOUT_FILENO));
  if (where == "none" || where == "null") return std::unique_ptr<Output>(new Output(-1));
  const std::string path = where.substr(5);
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor >= 0) return std::unique_ptr<Output>(new Output(descriptor, path));
  if (errno == EEXIST)
    return fail(ErrorKind::BadArgument,
                fmt::format("{} exists already: give {} another file, or remove it first", path, option));
  return fail(ErrorKind::MissingFile,
              fmt::format("{} can't be written for {}: {}", path, option, std::strerror(errno)));
}

Output::~Output() {
  flush();
  if (descriptor_ > STDERR_FILENO) close(descriptor_);
  if (!made_.empty()) unlink(made_.c_str());
}

void Output::write(std::span<const u8> bytes) {
  if (descriptor_ < 0) return;
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (buffer_.size() > 4096 || buffer_.back() == '\n') flush();
}

void Output::flush() {
  std::size_t done = 0;
  while (descriptor_ >= 0 && done < buffer_.size()) {
    const ssize_t n = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {  // somebody who shares our terminal made it non-blocking
      pollfd fd{descriptor_, POLLOUT, 0};
      poll(&fd, 1, -1);
      continue;
    }
    if (n <= 0) {  // nobody reads any more, or the disk is full: the guest doesn't care
      good_ = false;
      break;
    }
    done += static_cast<std::size_t>(n);
  }
  buffer_.clear();
}

}  // namespace callgate
