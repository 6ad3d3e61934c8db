// A machine's state as a whole: hashed, saved, kept in memory, put back, changed by a journal.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/verify.h"
#include "machine/machine_impl.h"
#include "machine/teeth.h"

namespace callgate {

namespace {
/// Where firmware leaves something: below 1 MiB.
constexpr u32 kLowFrames = 256;
/// Pages in one record of a changed state.
constexpr u32 kPagesInState = 2000;
}  // namespace

// The frames written since the last hash are about to be forgotten as such: checkpoints want to know them.
void Machine::Impl::note_changes() {
  since_place.add(board.memory.ram().dirty());
  for (const u32 frame : board.memory.ram().dirty()) {
    if (is_changed[frame]) continue;
    is_changed[frame] = true;
    changed.push_back(frame);
  }
}

// Only what differs is written: code and translations that stay right are kept.
void Machine::Impl::put_back(u32 frame, const u8* contents) {
  constexpr u32 kPiece = 64;
  static constexpr u8 kZeros[kPageSize] = {};
  if (contents == nullptr) contents = kZeros;
  const u8* now = board.memory.ram().frame(frame);
  const auto same = [&](u32 at) { return std::memcmp(now + at, contents + at, kPiece) == 0; };
  for (u32 at = 0; at < kPageSize; at += kPiece) {
    if (same(at)) continue;
    const u32 from = at;
    while (at < kPageSize && !same(at)) at += kPiece;
    board.memory.write(board.memory.physical_of(frame) + from, {contents + from, at - from});
  }
}

// What a checkpoint's tree has no page of is as it was at first.
void Machine::Impl::put_back(u32 frame, const PageCopy* page) {
  if (page != nullptr) return put_back(frame, page->bytes);
  if (board.memory.ram().absent(frame)) return;
  u8 first[kPageSize];
  const bool zero = source == nullptr || !source->has(frame);
  if (!zero) source->read(frame, first);
  put_back(frame, zero ? nullptr : first);
}

// Everything but RAM's contents.
std::vector<u8> Machine::Impl::save_devices() {
  StateWriter writer;
  sync_devices(writer);
  return writer.take();
}

namespace {
/// Tooth::LostField: leaves out the initial count of the local APIC's timer.
class ForgetfulReader final : public StateIo {
 public:
  explicit ForgetfulReader(StateReader& in) : in_(in) {}
  bool loading() const override { return true; }
  void bytes(void* data, std::size_t size) override {
    std::vector<u8> lost(size);
    in_.bytes(fields_left_-- == 0 ? lost.data() : data, size);
  }
  void section(std::string_view name) override {
    fields_left_ = name == "local_apic" ? 12 : ~u64{0};
    in_.section(name);
  }
  void damaged(std::string_view why) override { in_.damaged(why); }

 private:
  StateReader& in_;
  u64 fields_left_ = ~u64{0};
};
}  // namespace

Result<> Machine::Impl::restore_devices(std::span<const u8> saved) {
  StateReader reader(saved);
  if (ForgetfulReader forgetful(reader); teeth::active == teeth::Tooth::LostField) sync_devices(forgetful);
  else sync_devices(reader);
  if (reader.good() && !reader.at_end()) reader.damaged("the saved state is longer than it should be");
  if (!reader.good()) return fail(ErrorKind::BadFile, "the saved state is damaged: " + reader.error());
  idle_reported = false;
  return {};
}

// The journal says that the machine was changed by hand at this count. Whatever became of the changed state here until
// then is in the change.
bool Machine::Impl::take_state() {
  const InputRecord* record = input.take_state(count());
  if (record == nullptr) return false;
  if (const std::string wrong = apply_state(*record); !wrong.empty() && damage.empty())
    damage = fmt::format("the journal is damaged: the change at count {}: {}", record->count, wrong);
  return true;
}

// --- the public face ------------------------------------------------------------------------------------------

u64 Machine::hash() {
  impl_->note_changes();
  StateHasher hasher;
  impl_->sync(hasher);
  impl_->hash_guest_snapshots(hasher);
  return hasher.digest();
}

std::vector<u8> Machine::save() {
  StateWriter writer;
  impl_->sync(writer);
  impl_->save_guest_snapshots(writer);
  return writer.take();
}

Result<> Machine::restore(std::span<const u8> saved) {
  // What was not zero may be so afterwards; what is not zero then is written.
  for (u32 frame = 0; frame < ram().frames(); frame++)
    if (!impl_->is_changed[frame] && !ram().is_zero(frame)) {
      impl_->is_changed[frame] = true;
      impl_->changed.push_back(frame);
    }
  StateReader reader(saved);
  impl_->sync(reader);
  impl_->restore_guest_snapshots(reader);
  if (reader.good() && !reader.at_end()) reader.damaged("the saved state is longer than it should be");
  if (!reader.good()) return fail(ErrorKind::BadFile, "the saved state is damaged: " + reader.error());
  impl_->idle_reported = false;
  return {};
}

// From now on ram_then is RAM as it is. Gives the frames written since the last time, in order.
std::vector<u32> Machine::Impl::settle() {
  note_changes();
  board.memory.hash();  // watches for what is written from now on
  Ram& ram = board.memory.ram();
  std::vector<u32> written = std::exchange(changed, {});
  std::sort(written.begin(), written.end());
  std::vector<PageTree::Change> changes;
  for (const u32 frame : written) {
    is_changed[frame] = false;
    const PageCopy* before = ram_then.page(frame);
    // No page means as at first, and that is zero when there is no source of anything else.
    const bool zero = (source == nullptr || !source->has(frame)) && ram.is_zero(frame);
    if (before == nullptr ? zero : std::memcmp(before->bytes, ram.frame(frame), kPageSize) == 0) continue;
    changes.push_back({frame, zero ? nullptr : std::make_shared<PageCopy>(ram.frame(frame), page_account.get())});
  }
  if (!changes.empty()) ram_then = ram_then.with(changes);
  return written;
}

// RAM becomes what it was. Gives the frames that were written, or may have been, since it was so.
std::vector<u32> Machine::Impl::put_back_ram(const PageTree& then) {
  note_changes();
  std::vector<u32> frames = PageTree::difference(ram_then, then);
  frames.insert(frames.end(), changed.begin(), changed.end());
  for (const u32 frame : changed) is_changed[frame] = false;
  std::sort(frames.begin(), frames.end());
  frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
  for (const u32 frame : frames) put_back(frame, then.page(frame));
  ram_then = then;
  since_place.add(board.memory.ram().dirty());
  // What was put back is as it was then: it did not change since, though it is to be hashed again.
  board.memory.hash();
  changed.clear();
  return frames;
}

std::shared_ptr<const Checkpoint> Machine::checkpoint() {
  std::vector<u32> written = impl_->settle();
  if (FrameSet& more = impl_->guests_writes; more.on) {
    written.insert(written.end(), more.frames.begin(), more.frames.end());
    std::sort(written.begin(), written.end());
    written.erase(std::unique(written.begin(), written.end()), written.end());
    more = {};
  }
  return std::make_shared<Checkpoint>(count(), impl_->input.taken(), impl_->save_devices(), impl_->page_account, impl_->ram_then,
                                      std::move(written), impl_->board.guest_snapshots);
}

void Machine::restore(const Checkpoint& checkpoint) {
  impl_->put_back_ram(checkpoint.ram);
  impl_->guests_writes = {};
  const auto restored = impl_->restore_devices(checkpoint.devices);
  VERIFY(restored.has_value(), "a checkpoint in memory could not be read");
  impl_->board.guest_snapshots = checkpoint.guests_own;
  impl_->input.rewind(checkpoint.taken);
}

Ram& Machine::ram() { return impl_->board.memory.ram(); }
void Machine::begin_with(std::shared_ptr<PageSource> source, std::span<const FrameHash> contents) {
  PhysicalMap& memory = impl_->board.memory;
  // The firmware's leavings go: what is not in the contents is zero.
  memory.hash();
  for (u32 frame = 0; frame < std::min(ram().frames(), kLowFrames); frame++)
    if (ram().hash_of(frame) != 0) impl_->put_back(frame, static_cast<const u8*>(nullptr));
  memory.hash();
  impl_->source = std::move(source);
  ram().bring_from(impl_->source.get());
  for (const FrameHash& f : contents) ram().make_absent(f.frame, f.hash);
}
std::vector<u8> Machine::save_devices() { return impl_->save_devices(); }
Result<> Machine::restore_devices(std::span<const u8> saved) { return impl_->restore_devices(saved); }
std::vector<u8> Machine::save_guest_snapshots() {
  StateWriter writer;
  if (impl_->board.guest_snapshots.any()) impl_->save_guest_snapshots(writer);
  return writer.take();
}
Result<> Machine::restore_guest_snapshots(std::span<const u8> saved) {
  StateReader reader(saved);
  impl_->restore_guest_snapshots(reader);
  if (reader.good() && !reader.at_end()) reader.damaged("the guest's own snapshots are longer than they should be");
  if (!reader.good()) return fail(ErrorKind::BadFile, reader.error());
  return {};
}
void Machine::note_place() {
  impl_->note_changes();
  impl_->board.memory.hash();
  impl_->since_place.begin(ram().frames());
}

// A record: pages (u32), each frame (u32) and its contents; whether everything else follows (u8); everything else.
std::vector<InputRecord> Machine::state_since_place() {
  impl_->note_changes();
  impl_->board.memory.hash();
  std::vector<u32> frames = impl_->since_place.frames;
  std::sort(frames.begin(), frames.end());
  std::vector<InputRecord> records;
  std::size_t at = 0;
  do {
    const u32 pages = static_cast<u32>(std::min<std::size_t>(frames.size() - at, kPagesInState));
    bool last = at + pages == frames.size();
    StateWriter writer;
    u32 many = pages;
    writer.field(many);
    for (const u32 end = static_cast<u32>(at) + pages; at < end; at++) {
      writer.field(frames[at]);
      writer.bytes(ram().frame(frames[at]), kPageSize);
    }
    writer.field(last);
    std::vector<u8> bytes = writer.take();
    if (last) {
      const std::vector<u8> devices = impl_->save_devices();
      bytes.insert(bytes.end(), devices.begin(), devices.end());
    }
    records.push_back({InputChannel::State, count(), now(), std::move(bytes)});
  } while (at < frames.size());
  return records;
}

std::string Machine::Impl::apply_state(const InputRecord& record) {
  StateReader reader(record.bytes);
  u32 pages = 0;
  reader.field(pages);
  if (pages > kPagesInState) return "it has too many pages";
  u8 contents[kPageSize];
  for (u32 i = 0; i < pages; i++) {
    u32 frame = 0;
    reader.field(frame);
    reader.bytes(contents, kPageSize);
    if (!reader.good()) return reader.error();
    if (frame >= board.memory.ram().frames()) return "a page of it is out of range";
    put_back(frame, contents);
  }
  bool more = false;
  reader.field(more);
  if (!reader.good()) return reader.error();
  const std::size_t head = 5 + std::size_t{pages} * (4 + kPageSize);
  const u64 before = count();
  if (!more) return record.bytes.size() == head ? "" : "it is longer than it should be";
  if (const auto restored = restore_devices(std::span(record.bytes).subspan(head)); !restored) return restored.error().message;
  return count() == before ? "" : "it is of another count";
}

}  // namespace callgate
