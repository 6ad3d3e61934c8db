#include "machine/frames.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

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

Result<FrameReader> FrameReader::open(std::span<const u8> file, const std::string& name, const FrameFormat& format) {
  if (file.size() < 8 || std::memcmp(file.data(), format.magic, 8) != 0)
    return fail(ErrorKind::BadFile, fmt::format("{}: not a {}: it does not begin with \"{}\"", name, format.what, format.magic));
  if (file.size() < kFrameFileHeader)
    return fail(ErrorKind::BadFile, fmt::format("{}: the {} is cut off at byte {}, in its first line", name, format.what, file.size()));
  if (load_as<u32>(file.data() + 12) != crc(0, file.first(12)))
    return fail(ErrorKind::BadFile, fmt::format("{}: the {} is damaged at byte 0: the checksum of its first 16 bytes is wrong", name, format.what));
  const u32 version = load_as<u32>(file.data() + 8);
  if (version != format.version)
    return fail(ErrorKind::BadFile, fmt::format("{}: a {} of format {}, and this build reads format {}: use the build that made it",
                                                name, format.what, version, format.version));
  FrameReader reader(file, name, format);
  reader.identity_ = magic_sum(format);
  return reader;
}

Error FrameReader::wrong(const Frame& frame, const std::string& why) const {
  return {ErrorKind::BadFile, fmt::format("{}: the {} is damaged: record {} at byte {}: {}", name_, format_.what, frame.sequence,
                                          frame.position, why)};
}

Result<std::optional<Frame>> FrameReader::next() {
  const std::span<const u8> rest = file_.subspan(position_);
  if (rest.empty() || cut_) return std::nullopt;
  Frame frame{0, sequence_, position_, false, {}};
  const auto damaged = [&](const std::string& why) { return tl::make_unexpected(wrong(frame, why)); };
  const auto cut = [&]() -> std::optional<Frame> {
    cut_ = file_.size();
    return std::nullopt;
  };
  if (rest.size() < kFrameHeader) return cut();
  const u32 kind = load_as<u32>(rest.data()), size = load_as<u32>(rest.data() + 4);
  const u64 sequence = load_as<u64>(rest.data() + 8);
  if (load_as<u32>(rest.data() + 16) != crc(identity_, rest.first(16)))
    return damaged("its header's checksum is wrong (changed, or from another file)");
  if (sequence != sequence_)
    return damaged(fmt::format("it says that it is record {}: records are missing, repeated or out of order", sequence));
  if (size > kMostFramePayload || (kind & ~(kCompressed | 0xFF)) != 0) return damaged("its header makes no sense");
  if (rest.size() - kFrameHeader < u64{size} + kFrameTrailer) return cut();
  const std::span<const u8> body = rest.subspan(kFrameHeader, size);
  if (load_as<u64>(rest.data() + kFrameHeader + size) != sum_of(format_.sum, identity_, body))
    return damaged("its checksum is wrong");
  frame.kind = kind & 0xFF;
  frame.payload = body;
  if (kind & kCompressed) {
    if (size < 4) return damaged("it is compressed and too short");
    const u32 real = load_as<u32>(body.data());
    if (real > kMostFramePayload || real > (u64{size} - 4) * kBestRatio)
      return damaged("it claims to hold more than it can");
    inflated_.resize(real);
    uLongf got = real;
    if (::uncompress(inflated_.data(), &got, body.data() + 4, size - 4) != Z_OK || got != real)
      return damaged("it can't be unpacked");
    frame.payload = inflated_;
    frame.packed = true;
  }
  if (sequence_++ == 0) identity_ = crc(identity_, body);
  position_ += kFrameHeader + size + kFrameTrailer;
  return frame;
}

}  // namespace callgate
