// A host or configuration failure: a sentence that a user can act on. Guest faults are never reported this way.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace callgate {

/// What kind of failure it was, for the command line's exit status.
enum class ErrorKind {
  BadArgument,  ///< an option or a value that makes no sense
  MissingFile,  ///< a file that is not there or can't be read
  BadFile,      ///< a file that is damaged or of the wrong kind
  Host,         ///< the host refused something (memory, a terminal)
};

/// A failure. `message` is one sentence that names the file or option and says what to do.
struct Error {
  ErrorKind kind;
  std::string message;
};

template <class T = void>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ErrorKind kind, std::string message) {
  return tl::make_unexpected(Error{kind, std::move(message)});
}

}  // namespace callgate
