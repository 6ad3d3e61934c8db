// Files made of framed records: what recordings and snapshots have in common. Each record has a sequence number and
// checksums that are chained to the file's first record, so that a record that was cut, changed, moved, repeated, left
// out or taken from another file is told with its place. Knows nothing of what the records mean.
//
//   file    magic (8 bytes), format version (u32), CRC-32 of these 12 bytes (u32), records
//   record  kind (u32; bit 8: the payload is compressed), payload size (u32), sequence number (u64), CRC-32 of these 16
//           bytes (u32), payload, checksum of the payload (u64)
//   A compressed payload is its real size (u32) and a zlib stream. All numbers are little-endian.
//
// Every checksum starts from the file's identity: the CRC-32 of its first record's payload (of the magic, for that
// record itself).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace callgate {

/// How payloads are summed: CRC-32, or XXH3-64 where tens of megabytes are looked at before a machine can run.
enum class FrameSum { Crc32, Xxh3 };

/// A kind of file.
struct FrameFormat {
  char magic[9];         ///< 8 characters
  u32 version = 1;
  const char* what = "";  ///< what a person calls it: "recording"
  FrameSum sum = FrameSum::Crc32;
};

/// The most that a payload may be, compressed or not.
constexpr u32 kMostFramePayload = 16u << 20;
constexpr std::size_t kFrameFileHeader = 16;
constexpr std::size_t kFrameHeader = 20, kFrameTrailer = 8;

/// Makes the bytes of such a file, one record after the other.
class FrameEncoder {
 public:
  explicit FrameEncoder(const FrameFormat& format);
  /// What comes before the first record.
  std::vector<u8> head() const;
  /// The next record's bytes. `kind` is below 256.
  std::vector<u8> record(u32 kind, std::span<const u8> payload, bool compress = false);

 private:
  const FrameFormat format_;
  u64 sequence_ = 0;
  u32 identity_;
};

/// Writes records to a file, each with one write(): whatever happens to the process, what is in the file is whole
/// records and perhaps the beginning of one more.
class FrameWriter {
 public:
  /// Makes the file. Errors: BadArgument when it exists already, MissingFile when it can't be made.
  static Result<std::unique_ptr<FrameWriter>> create(const std::string& path, const FrameFormat& format);
  ~FrameWriter();
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;

  /// Appends a record. Error: Host, when the disk is full or the like: the file ends after the last whole record then,
  /// and everything more is refused.
  Result<> append(u32 kind, std::span<const u8> payload, bool compress = false);
  /// Where the next record goes.
  u64 position() const { return position_; }
  /// Removes the file: it did not come to anything.
  void remove();

 private:
  FrameWriter(int descriptor, std::string path, const FrameFormat& format);
  Result<> write(std::span<const u8> bytes);
  Result<> broken();

  int descriptor_;
  const std::string path_;
  const FrameFormat format_;
  FrameEncoder encoder_;
  u64 position_ = 0;
  std::string error_;  ///< why nothing more can be written
};

/// One record as read.
struct Frame {
  u32 kind = 0;
  u64 sequence = 0;
  u64 position = 0;             ///< of its first byte in the file
  u64 size = 0;                 ///< of all its bytes there
  bool packed = false;          ///< it was compressed: the payload is not in the file's bytes
  std::span<const u8> payload;  ///< good as long as the reader, and until its next call when it was compressed
};

/// The bytes of a file, at any place: it may be larger than one wants to read.
class FileBytesAt {
 public:
  virtual ~FileBytesAt() = default;
  virtual u64 size() const = 0;
  /// Fills `out` from there. False: they are not there (any longer), or the host gives an error.
  virtual bool read(u64 position, std::span<u8> out) const = 0;

  /// An open file. Error: MissingFile.
  static Result<std::shared_ptr<FileBytesAt>> open(const std::string& path);
  static std::shared_ptr<FileBytesAt> of(std::vector<u8> bytes);
};

/// Reads a file's records from any place of it. The bytes are hostile.
class FrameFile {
 public:
  /// `name`: the file's, for messages. Error: BadFile, when it is no such file or of another version.
  static Result<FrameFile> open(std::shared_ptr<FileBytesAt> bytes, const std::string& name, const FrameFormat& format);

  u64 size() const { return bytes_->size(); }
  const std::string& name() const { return name_; }
  static constexpr u64 kAnySequence = ~u64{0};
  /// The record at `position`, which must be number `sequence` (or has any number). The first one is to be read first. Error: BadFile.
  Result<Frame> read(u64 position, u64 sequence);
  /// Where the next record would begin.
  u64 after(const Frame& frame) const { return frame.position + frame.size; }
  Error wrong(const Frame& frame, const std::string& why) const;

 private:
  FrameFile(std::shared_ptr<FileBytesAt> bytes, std::string name, const FrameFormat& format)
      : bytes_(std::move(bytes)), name_(std::move(name)), format_(format) {}

  std::shared_ptr<FileBytesAt> bytes_;
  std::string name_;
  FrameFormat format_;
  u32 identity_ = 0;
  std::vector<u8> buffer_, inflated_;
};

/// Reads records from bytes that are hostile.
class FrameReader {
 public:
  /// `name`: the file's, for messages. Error: BadFile, when it is no such file or of another version.
  static Result<FrameReader> open(std::span<const u8> file, const std::string& name, const FrameFormat& format);

  /// The next whole record; nothing at the end of the file. Error: BadFile, with the record's number and place.
  /// A file that ends in the middle of a record is at its end, too: see cut().
  Result<std::optional<Frame>> next();
  /// Where the file was cut in the middle of a record.
  std::optional<u64> cut() const { return cut_; }
  u64 position() const { return position_; }
  /// An error about the record that was last returned.
  Error wrong(const Frame& frame, const std::string& why) const;

 private:
  FrameReader(std::span<const u8> file, std::string name, const FrameFormat& format)
      : file_(file), name_(std::move(name)), format_(format) {}

  std::span<const u8> file_;
  std::string name_;
  FrameFormat format_;
  u64 position_ = kFrameFileHeader;
  u64 sequence_ = 0;
  u32 identity_ = 0;
  std::optional<u64> cut_;
  std::vector<u8> inflated_;
};

}  // namespace callgate
