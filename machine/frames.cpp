#include "machine/frames.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/bits.h"
#include "base/state_io.h"
#include "base/verify.h"

namespace callgate {

namespace {

constexpr u32 kCompressed = 1u << 8;
/// zlib can't do better than 1032 to 1: whoever claims more is lying.
constexpr u64 kBestRatio = 1040;

u32 crc(u32 start, std::span<const u8> data) {
  return static_cast<u32>(::crc32(start, data.data(), static_cast<uInt>(data.size())));
}

u64 sum_of(FrameSum kind, u32 start, std::span<const u8> payload) {
  return kind == FrameSum::Crc32 ? crc(start, payload) : hash_bytes(payload, start);
}

template <class T>
void put(std::vector<u8>& out, T value) {
  for (unsigned i = 0; i < sizeof value; i++) out.push_back(static_cast<u8>(static_cast<u64>(value) >> 8 * i));
}

u32 magic_sum(const FrameFormat& format) {
  return crc(0, {reinterpret_cast<const u8*>(format.magic), 8});
}

}  // namespace

FrameEncoder::FrameEncoder(const FrameFormat& format) : format_(format), identity_(magic_sum(format)) {}

std::vector<u8> FrameEncoder::head() const {
  std::vector<u8> head(format_.magic, format_.magic + 8);
  put(head, format_.version);
  put(head, crc(0, head));
  return head;
}

std::vector<u8> FrameEncoder::record(u32 kind, std::span<const u8> payload, bool compress) {
  VERIFY(payload.size() <= kMostFramePayload && kind < kCompressed, "a record is too large");
  std::vector<u8> packed;
  std::span<const u8> body = payload;
  if (compress && payload.size() > 64) {
    uLongf size = ::compressBound(static_cast<uLong>(payload.size()));
    packed.resize(4 + size);
    store_as<u32>(packed.data(), static_cast<u32>(payload.size()));
    const int done = ::compress2(packed.data() + 4, &size, payload.data(), static_cast<uLong>(payload.size()), 6);
    packed.resize(4 + size);
    if (done == Z_OK && packed.size() < payload.size()) body = packed;
  }
  std::vector<u8> bytes;
  bytes.reserve(kFrameHeader + body.size() + kFrameTrailer);
  put(bytes, kind | (body.data() == payload.data() ? 0 : kCompressed));
  put(bytes, static_cast<u32>(body.size()));
  put(bytes, sequence_);
  put(bytes, crc(identity_, bytes));
  bytes.insert(bytes.end(), body.begin(), body.end());
  put(bytes, sum_of(format_.sum, identity_, body));
  if (sequence_++ == 0) identity_ = crc(identity_, body);
  return bytes;
}

// ---- writing -------------------------------------------------------------------------------------------------

FrameWriter::FrameWriter(int descriptor, std::string path, const FrameFormat& format)
    : descriptor_(descriptor), path_(std::move(path)), format_(format), encoder_(format) {}

Result<std::unique_ptr<FrameWriter>> FrameWriter::create(const std::string& path, const FrameFormat& format) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0 && errno == EEXIST)
    return fail(ErrorKind::BadArgument,
                fmt::format("{} exists already: give the {} another name, or remove it first", path, format.what));
  if (descriptor < 0)
    return fail(ErrorKind::MissingFile, fmt::format("{}: the {} can't be written: {}", path, format.what, std::strerror(errno)));
  std::unique_ptr<FrameWriter> writer(new FrameWriter(descriptor, path, format));
  if (auto written = writer->write(writer->encoder_.head()); !written) {
    writer->remove();
    return tl::make_unexpected(written.error());
  }
  return writer;
}

FrameWriter::~FrameWriter() { ::close(descriptor_); }

void FrameWriter::remove() { ::unlink(path_.c_str()); }

Result<> FrameWriter::broken() {
  return fail(ErrorKind::Host, fmt::format("{}: the {} ends at byte {}: {}", path_, format_.what, position_, error_));
}

Result<> FrameWriter::write(std::span<const u8> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(descriptor_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      error_ = n < 0 ? std::strerror(errno) : "the host takes no more";
      // The beginning of a record is no use to anybody. If even this fails, a reader finds it cut.
      (void)!::ftruncate(descriptor_, static_cast<off_t>(position_));
      return broken();
    }
    done += static_cast<std::size_t>(n);
  }
  position_ += bytes.size();
  return {};
}

Result<> FrameWriter::append(u32 kind, std::span<const u8> payload, bool compress) {
  if (!error_.empty()) return broken();
  return write(encoder_.record(kind, payload, compress));
}

// ---- reading -------------------------------------------------------------------------------------------------

namespace {

/// What is wrong with the head of such a file, or empty.
std::string wrong_head(std::span<const u8> head, const FrameFormat& format) {
  if (head.size() < 8 || std::memcmp(head.data(), format.magic, 8) != 0)
    return fmt::format("not a {}: it does not begin with \"{}\"", format.what, format.magic);
  if (head.size() < kFrameFileHeader) return fmt::format("the {} is cut off at byte {}, in its first line", format.what, head.size());
  if (load_as<u32>(head.data() + 12) != crc(0, head.first(12)))
    return fmt::format("the {} is damaged at byte 0: the checksum of its first 16 bytes is wrong", format.what);
  const u32 version = load_as<u32>(head.data() + 8);
  if (version != format.version)
    return fmt::format("a {} of format {}, and this build reads format {}: use the build that made it", format.what, version, format.version);
  return "";
}

/// A record's first bytes.
struct Head {
  u32 kind, size;
  std::string wrong;
};
Head read_head(std::span<const u8> bytes, u32 identity, u64 sequence) {
  Head h{load_as<u32>(bytes.data()), load_as<u32>(bytes.data() + 4), ""};
  const u64 says = load_as<u64>(bytes.data() + 8);
  if (load_as<u32>(bytes.data() + 16) != crc(identity, bytes.first(16)))
    h.wrong = "its header's checksum is wrong (changed, or from another file)";
  else if (says != sequence)
    h.wrong = fmt::format("it says that it is record {}: records are missing, repeated or out of order", says);
  else if (h.size > kMostFramePayload || (h.kind & ~(kCompressed | 0xFF)) != 0)
    h.wrong = "its header makes no sense";
  return h;
}

/// Checks a record's payload, with its checksum behind it, and unpacks it into `inflated` if need be. What is wrong, or empty.
std::string read_body(const Head& head, std::span<const u8> bytes, FrameSum sum, u32 identity, std::vector<u8>& inflated, Frame& frame) {
  const std::span<const u8> body = bytes.first(head.size);
  if (load_as<u64>(bytes.data() + head.size) != sum_of(sum, identity, body)) return "its checksum is wrong";
  frame.kind = head.kind & 0xFF;
  frame.payload = body;
  if (!(head.kind & kCompressed)) return "";
  if (head.size < 4) return "it is compressed and too short";
  const u32 real = load_as<u32>(body.data());
  if (real > kMostFramePayload || real > (u64{head.size} - 4) * kBestRatio) return "it claims to hold more than it can";
  inflated.resize(real);
  uLongf got = real;
  if (::uncompress(inflated.data(), &got, body.data() + 4, head.size - 4) != Z_OK || got != real) return "it can't be unpacked";
  frame.payload = inflated;
  frame.packed = true;
  return "";
}

Error wrong_record(const std::string& name, const FrameFormat& format, const Frame& frame, const std::string& why) {
  return {ErrorKind::BadFile,
          fmt::format("{}: the {} is damaged: record {} at byte {}: {}", name, format.what, frame.sequence, frame.position, why)};
}

}  // namespace

Result<FrameReader> FrameReader::open(std::span<const u8> file, const std::string& name, const FrameFormat& format) {
  if (const std::string wrong = wrong_head(file, format); !wrong.empty()) return fail(ErrorKind::BadFile, name + ": " + wrong);
  FrameReader reader(file, name, format);
  reader.identity_ = magic_sum(format);
  return reader;
}

Error FrameReader::wrong(const Frame& frame, const std::string& why) const { return wrong_record(name_, format_, frame, why); }

Result<std::optional<Frame>> FrameReader::next() {
  const std::span<const u8> rest = file_.subspan(position_);
  if (rest.empty() || cut_) return std::nullopt;
  Frame frame{0, sequence_, position_, 0, false, {}};
  const auto cut = [&]() -> std::optional<Frame> {
    cut_ = file_.size();
    return std::nullopt;
  };
  if (rest.size() < kFrameHeader) return cut();
  const Head head = read_head(rest, identity_, sequence_);
  if (!head.wrong.empty()) return tl::make_unexpected(wrong(frame, head.wrong));
  frame.size = kFrameHeader + u64{head.size} + kFrameTrailer;
  if (rest.size() < frame.size) return cut();
  const std::string error = read_body(head, rest.subspan(kFrameHeader, head.size + kFrameTrailer), format_.sum, identity_, inflated_, frame);
  if (!error.empty()) return tl::make_unexpected(wrong(frame, error));
  if (sequence_++ == 0) identity_ = crc(identity_, rest.subspan(kFrameHeader, head.size));
  position_ += frame.size;
  return frame;
}

// ---- at any place ---------------------------------------------------------------------------------------------

namespace {

class OpenFile final : public FileBytesAt {
 public:
  OpenFile(int descriptor, u64 size) : descriptor_(descriptor), size_(size) {}
  ~OpenFile() override { ::close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  u64 size() const override { return size_; }
  bool read(u64 position, std::span<u8> out) const override {
    while (!out.empty()) {
      const ssize_t n = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(position));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      out = out.subspan(static_cast<std::size_t>(n));
      position += static_cast<u64>(n);
    }
    return true;
  }

 private:
  const int descriptor_;
  const u64 size_;
};

class Bytes final : public FileBytesAt {
 public:
  explicit Bytes(std::vector<u8> bytes) : bytes_(std::move(bytes)) {}
  u64 size() const override { return bytes_.size(); }
  bool read(u64 position, std::span<u8> out) const override {
    if (position > bytes_.size() || out.size() > bytes_.size() - position) return false;
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + position, out.size());
    return true;
  }

 private:
  const std::vector<u8> bytes_;
};

}  // namespace

Result<std::shared_ptr<FileBytesAt>> FileBytesAt::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat st {};
  if (descriptor < 0 || ::fstat(descriptor, &st) != 0 || !S_ISREG(st.st_mode)) {
    const std::string why = descriptor < 0 ? std::strerror(errno) : "it is no file";
    if (descriptor >= 0) ::close(descriptor);
    return fail(ErrorKind::MissingFile, fmt::format("{}: can't be read: {}", path, why));
  }
  return std::make_shared<OpenFile>(descriptor, static_cast<u64>(st.st_size));
}

std::shared_ptr<FileBytesAt> FileBytesAt::of(std::vector<u8> bytes) { return std::make_shared<Bytes>(std::move(bytes)); }

Result<FrameFile> FrameFile::open(std::shared_ptr<FileBytesAt> bytes, const std::string& name, const FrameFormat& format) {
  u8 head[kFrameFileHeader];
  const std::span<u8> there(head, std::min<u64>(sizeof head, bytes->size()));
  const std::string wrong = bytes->read(0, there) ? wrong_head(there, format) : "can't be read";
  if (!wrong.empty()) return fail(ErrorKind::BadFile, name + ": " + wrong);
  FrameFile file(std::move(bytes), name, format);
  file.identity_ = magic_sum(format);
  return file;
}

Error FrameFile::wrong(const Frame& frame, const std::string& why) const { return wrong_record(name_, format_, frame, why); }

Result<Frame> FrameFile::read(u64 position, u64 sequence) {
  Frame frame{0, sequence, position, 0, false, {}};
  const auto cut = [&] {
    return fail(ErrorKind::BadFile, fmt::format("{}: the {} is cut off at byte {}, in record {}", name_, format_.what, size(), sequence));
  };
  const auto damaged = [&](const std::string& why) { return tl::make_unexpected(wrong(frame, why)); };
  const u32 identity = sequence == 0 ? magic_sum(format_) : identity_;
  if (position > size() || size() - position < kFrameHeader) return cut();
  u8 first[kFrameHeader];
  if (!bytes_->read(position, first)) return damaged("it can't be read");
  if (sequence == kAnySequence) frame.sequence = sequence = load_as<u64>(first + 8);
  const Head head = read_head(first, identity, sequence);
  if (!head.wrong.empty()) return damaged(head.wrong);
  frame.size = kFrameHeader + u64{head.size} + kFrameTrailer;
  if (size() - position < frame.size) return cut();
  buffer_.resize(head.size + kFrameTrailer);
  if (!bytes_->read(position + kFrameHeader, buffer_)) return damaged("it can't be read");
  const std::string error = read_body(head, buffer_, format_.sum, identity, inflated_, frame);
  if (!error.empty()) return damaged(error);
  if (sequence == 0) identity_ = crc(identity, std::span(buffer_).first(head.size));
  return frame;
}

}  // namespace callgate
