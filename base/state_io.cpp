#include "base/state_io.h"

#include <xxhash.h>

#include "base/verify.h"

namespace callgate {

namespace {
u64 section_tag(std::string_view name) { return XXH3_64bits(name.data(), name.size()); }
}  // namespace

void StateWriter::bytes(void* data, std::size_t size) {
  const u8* p = static_cast<const u8*>(data);
  out_.insert(out_.end(), p, p + size);
}

void StateWriter::section(std::string_view name) {
  u64 tag = section_tag(name);
  bytes(&tag, sizeof tag);
}

void StateReader::bytes(void* data, std::size_t size) {
  if (size == 0) return;
  if (!good() || size > in_.size()) {
    damaged("the saved state ends early");
    std::memset(data, 0, size);
    return;
  }
  std::memcpy(data, in_.data(), size);
  in_ = in_.subspan(size);
}

void StateReader::section(std::string_view name) {
  u64 tag = 0;
  bytes(&tag, sizeof tag);
  if (good() && tag != section_tag(name)) damaged(std::string("the section \"") + std::string(name) + "\" is not where it should be");
}

void StateReader::damaged(std::string_view why) {
  if (error_.empty()) error_ = why;
}

struct StateHasher::Impl {
  XXH3_state_t* state;
};

StateHasher::StateHasher() : impl_(new Impl{XXH3_createState()}) {
  VERIFY(impl_->state != nullptr, "no memory for a hash state");
  XXH3_64bits_reset(impl_->state);
}

StateHasher::~StateHasher() {
  XXH3_freeState(impl_->state);
  delete impl_;
}

void StateHasher::bytes(void* data, std::size_t size) {
  if (size != 0) XXH3_64bits_update(impl_->state, data, size);
}

void StateHasher::section(std::string_view name) {
  u64 tag = section_tag(name);
  bytes(&tag, sizeof tag);
}

u64 StateHasher::digest() const { return XXH3_64bits_digest(impl_->state); }

u64 hash_bytes(std::span<const u8> data, u64 seed) { return XXH3_64bits_withSeed(data.data(), data.size(), seed); }

}  // namespace callgate
