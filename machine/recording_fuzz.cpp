// The reader of recordings against libFuzzer. The first byte chooses: the rest is a whole file, or the payloads of records
// whose checksums are made right (a kind, a length of two bytes, the bytes), which get behind the checksums.
#include "base/verify.h"
#include "machine/recording.h"

using namespace callgate;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (size == 0) return 0;
  std::span<const u8> rest(data + 1, size - 1);
  std::vector<u8> file;
  if (data[0] & 1) {
    file.assign(rest.begin(), rest.end());
  } else {
    FrameEncoder encoder(kRecordingFormat);
    file = encoder.head();
    while (rest.size() >= 3) {
      const std::size_t length = std::min<std::size_t>(rest[1] | rest[2] << 8, rest.size() - 3);
      const std::vector<u8> record = encoder.record(rest[0], rest.subspan(3, length), data[0] & 2);
      file.insert(file.end(), record.begin(), record.end());
      rest = rest.subspan(3 + length);
    }
  }
  const auto read = read_recording(file, "fuzz");
  if (!read) {
    const std::string& message = read.error().message;
    VERIFY(message.size() > 10 && message.starts_with("fuzz: "), "an error names the file");
    return 0;
  }
  VERIFY(read->end.has_value() == read->cut().empty(), "a recording has an end or was cut");
  u64 count = 0;
  for (const InputRecord& input : read->inputs) {
    VERIFY(input.count >= count, "time goes forward");
    count = input.count;
    VERIFY(read_recording(file, "fuzz").has_value(), "reading again gives the same");
    break;
  }
  // What was read can be written, and is read as the same.
  FrameEncoder encoder(kRecordingFormat);
  std::vector<u8> again = encoder.head();
  const auto put = [&](RecordKind kind, std::span<const u8> payload) {
    const std::vector<u8> record = encoder.record(static_cast<u32>(kind), payload);
    again.insert(again.end(), record.begin(), record.end());
  };
  put(RecordKind::Header, encode(read->header));
  for (u32 i = 0; i < read->contents.size(); i++)
    if (!read->contents[i].empty()) put(RecordKind::Contents, encode_contents(i, 0, read->contents[i]));
  for (const InputRecord& input : read->inputs) put(RecordKind::Input, encode(input));
  const auto second = read_recording(again, "fuzz");
  VERIFY(second.has_value() && second->inputs == read->inputs && second->contents == read->contents, "a recording changed by being written");
  return 0;
}
