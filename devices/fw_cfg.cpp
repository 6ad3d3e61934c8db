#include "devices/fw_cfg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/bits.h"
#include "base/verify.h"

namespace callgate {

namespace {

// docs/specs/fw_cfg: registers as offsets from port 0x510.
constexpr u64 kSelector = 0;
constexpr u64 kData = 1;
constexpr u64 kDmaHigh = 4;
constexpr u64 kDmaLow = 8;
constexpr std::string_view kDmaSignature = "QEMU CFG";
// ... feature bits of the ID item.
constexpr u32 kTraditional = 1, kDma = 2;
// ... DMA control.
constexpr u32 kError = 0x01;
constexpr u32 kRead = 0x02;
constexpr u32 kSkip = 0x04;
constexpr u32 kSelect = 0x08;
constexpr u32 kWrite = 0x10;
// ... selector: bit 14 asks to write, bit 15 is the architecture's own keys.
constexpr u16 kWriteChannel = 0x4000;
// ... directory entry.
constexpr std::size_t kNameSize = 56;
constexpr std::size_t kMaxFiles = 0x1000;
constexpr u64 kMaxItem = 0xFFFFFFFF;  // sizes have 32 bits

constexpr u64 kMaxPadding = 1 << 20;

u32 big_endian32(const u8* p) { return __builtin_bswap32(load_as<u32>(p)); }
u64 big_endian64(const u8* p) { return __builtin_bswap64(load_as<u64>(p)); }

template <class T>
void append_big_endian(std::vector<u8>& out, T value) {
  for (unsigned shift = sizeof(T) * 8; shift != 0; shift -= 8) out.push_back(static_cast<u8>(value >> (shift - 8)));
}

}  // namespace

FwCfg::FwCfg(DmaMemory& memory) : memory_(memory) {
  put(fw_cfg_key::kSignature, {'Q', 'E', 'M', 'U'});
  put(fw_cfg_key::kId, {kTraditional | kDma, 0, 0, 0});
  rebuild_directory();
  reset();
}

void FwCfg::put(u16 key, std::vector<u8> bytes) {
  VERIFY(bytes.size() <= kMaxItem, "an item of 4 GiB or more");
  digests_[key] = hash_bytes(bytes);
  items_[key] = std::move(bytes);
  select(selected_);
}

void FwCfg::add_item(u16 key, std::vector<u8> bytes) {
  const bool ours = key <= fw_cfg_key::kId || key == fw_cfg_key::kFileDirectory;
  VERIFY(!ours && !(key & kWriteChannel), "this key is not the board's to set");
  VERIFY(key < fw_cfg_key::kFirstFile || key >= 0x8000, "this key is a file's");
  put(key, std::move(bytes));
}

void FwCfg::add_number(u16 key, u64 value, unsigned bytes) {
  std::vector<u8> data(bytes);
  for (unsigned i = 0; i < bytes; ++i) data[i] = static_cast<u8>(value >> (8 * i));
  add_item(key, std::move(data));
}

Result<u16> FwCfg::add_file(std::string_view name, std::vector<u8> bytes) {
  if (name.empty() || name.size() >= kNameSize)
    return fail(ErrorKind::BadArgument,
                fmt::format("fw_cfg: the name \"{}\" must have 1 to {} bytes", name, kNameSize - 1));
  const bool taken = std::any_of(files_.begin(), files_.end(), [&](const File& file) { return file.name == name; });
  if (taken) return fail(ErrorKind::BadArgument, fmt::format("fw_cfg: there are two files named \"{}\"", name));
  if (files_.size() == kMaxFiles)
    return fail(ErrorKind::BadArgument, fmt::format("fw_cfg: more than {} files", kMaxFiles));
  if (bytes.size() > kMaxItem)
    return fail(ErrorKind::BadArgument, fmt::format("fw_cfg: the file \"{}\" must be smaller than 4 GiB", name));
  const u16 key = static_cast<u16>(fw_cfg_key::kFirstFile + files_.size());
  files_.push_back({std::string(name), key});
  put(key, std::move(bytes));
  rebuild_directory();
  return key;
}

void FwCfg::rebuild_directory() {
  std::vector<u8> directory;
  append_big_endian(directory, static_cast<u32>(files_.size()));
  for (const File& file : files_) {
    append_big_endian(directory, static_cast<u32>(items_[file.key].size()));
    append_big_endian(directory, file.key);
    append_big_endian(directory, u16{0});
    const std::size_t start = directory.size();
    directory.insert(directory.end(), file.name.begin(), file.name.end());
    directory.resize(start + kNameSize);
  }
  put(fw_cfg_key::kFileDirectory, std::move(directory));
}

void FwCfg::select(u16 key) {
  selected_ = key;
  offset_ = 0;
  const auto it = items_.find(key & static_cast<u16>(~kWriteChannel));
  selected_item_ = it == items_.end() ? nullptr : &it->second;
}

// Past the item's end, and in items that don't exist, there are zeros.
u8 FwCfg::next_byte() {
  if (!selected_item_ || offset_ >= selected_item_->size()) return 0;
  return (*selected_item_)[offset_++];
}

u64 FwCfg::read(u64 offset, unsigned size) {
  u64 value = 0;
  for (unsigned i = 0; i < size; ++i) {
    u8 byte = 0xFF;
    if (offset == kData)
      byte = next_byte();  // a wide access, like a string instruction, goes on in the item
    else if (offset + i == kSelector)
      byte = 0;  // write-only
    else if (offset + i >= kDmaHigh && offset + i < kDmaHigh + kDmaSignature.size())
      byte = static_cast<u8>(kDmaSignature[offset + i - kDmaHigh]);
    value |= u64{byte} << (8 * i);
  }
  return value;
}

void FwCfg::write(u64 offset, unsigned size, u64 value) {
  const u32 swapped = __builtin_bswap32(static_cast<u32>(value));
  if (offset == kSelector && size == 2) {
    select(static_cast<u16>(value));
  } else if (offset == kDmaHigh && size == 4) {
    descriptor_high_ = swapped;
  } else if (offset == kDmaLow && size == 4) {
    const u64 descriptor = u64{descriptor_high_} << 32 | swapped;
    descriptor_high_ = 0;
    run_dma(descriptor);
  } else if (offset == kDmaHigh && size == 8) {
    descriptor_high_ = 0;
    run_dma(__builtin_bswap64(value));
  }
  // Else: writing data was given up in QEMU 2.4.
}

void FwCfg::run_dma(u64 descriptor) {
  u8 raw[16];
  memory_.read(descriptor, raw);
  const bool done = transfer(big_endian32(raw), big_endian32(raw + 4), big_endian64(raw + 8));
  u8 result[4] = {};
  store_as(result, __builtin_bswap32(done ? 0 : kError));
  memory_.write(descriptor, result);
}

bool FwCfg::transfer(u32 control, u32 length, u64 address) {
  if (control & kSelect) select(static_cast<u16>(control >> 16));
  if (control & kRead) {
    // DEVIATION: a read far past the item's end is refused, where QEMU fills up to 4 GiB with zeros: no single
    // instruction of a guest may hold the emulator up for seconds.
    const u64 available = selected_item_ ? selected_item_->size() - offset_ : 0;
    if (length > available + kMaxPadding) return false;
    std::array<u8, 4096> zeros{};
    while (length != 0) {
      const u64 left = selected_item_ ? selected_item_->size() - offset_ : 0;
      const u8* from = left != 0 ? selected_item_->data() + offset_ : zeros.data();
      const u32 chunk = static_cast<u32>(std::min<u64>(length, left != 0 ? left : zeros.size()));
      memory_.write(address, {from, chunk});
      if (left != 0) offset_ += chunk;
      address += chunk;
      length -= chunk;
    }
    return true;
  }
  if (control & kWrite) return false;  // no item here is the guest's to write
  if ((control & kSkip) && selected_item_)
    offset_ = static_cast<u32>(std::min<u64>(u64{offset_} + length, selected_item_->size()));
  return true;
}

void FwCfg::reset() {
  select(fw_cfg_key::kSignature);
  descriptor_high_ = 0;
}

void FwCfg::sync(StateIo& io) {
  io.section("fw_cfg");
  u64 digest = 0;
  for (const auto& [key, item_digest] : digests_) {
    const u64 words[] = {digest, key, item_digest};
    digest = hash_bytes({reinterpret_cast<const u8*>(words), sizeof words});
  }
  u64 saved = digest;
  u16 selected = selected_;
  u32 offset = offset_;
  io.fields(saved, selected, offset, descriptor_high_);
  if (!io.loading()) return;
  if (saved != digest) io.damaged("fw_cfg: this machine's items are not those of the saved one");
  select(selected);
  const u64 size = selected_item_ ? selected_item_->size() : 0;
  if (offset > size) {
    io.damaged("fw_cfg: the position is past the item's end");
    offset = 0;
  }
  offset_ = offset;
}

}  // namespace callgate
