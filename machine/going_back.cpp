// SNAPSHOT and RESTORE of a guest: what of the machine is kept, what goes back, and what goes on. Goes back: RAM, processors, devices,
// guest time. Goes on: the count of retired instructions, each processor's, and with it the journal, recordings and the debugger's
// timeline, to all of which a RESTORE is an instruction like any other; the test's input; what was kept.
#include <cstring>
#include <utility>

#include "base/verify.h"
#include "machine/machine_impl.h"

namespace callgate {

namespace {
constexpr u64 kMostDevices = 16 << 20;  ///< bytes
}

// The machine stands behind the instruction that asked, and nothing of that moment has been looked at yet.
void Machine::Impl::grant_wish() {
  GuestSnapshots& own = board.guest_snapshots;
  switch (std::exchange(own.wish, GuestSnapshots::Wish::None)) {
    case GuestSnapshots::Wish::None: return;
    case GuestSnapshots::Wish::Keep: return keep_for_guest();
    case GuestSnapshots::Wish::Forget: own.slots[own.slot] = nullptr; return;
    case GuestSnapshots::Wish::GoBack: return go_back_for_guest();
  }
}

void Machine::Impl::keep_for_guest() {
  GuestSnapshots& own = board.guest_snapshots;
  own.slots[own.slot] = nullptr;  // before more memory is taken
  if (!guests_writes.on) guests_writes.begin(board.memory.ram().frames());
  guests_writes.add(settle());
  StateHasher hasher;
  sync(hasher);
  board.paravirt->going_back();
  std::vector<u8> devices = save_devices();
  board.paravirt->went_back(std::vector<u64>(board.processors.size()));
  own.slots[own.slot] = std::make_shared<GuestSnapshot>(
      GuestSnapshot{ram_then, std::move(devices), hasher.digest(), own.processor, board.processors[own.processor]->cpu.bits64()});
}

void Machine::Impl::go_back_for_guest() {
  GuestSnapshots& own = board.guest_snapshots;
  const std::shared_ptr<const GuestSnapshot> place = own.slots[own.slot];
  if (!guests_writes.on) guests_writes.begin(board.memory.ram().frames());
  guests_writes.add(put_back_ram(place->ram));

  std::vector<u64> counts, moved;
  for (const auto& p : board.processors) counts.push_back(p->cpu.s.retired);
  board.paravirt->going_back();
  const auto restored = restore_devices(place->devices);
  VERIFY(restored.has_value(), "a snapshot in memory could not be read");
  for (std::size_t n = 0; n < counts.size(); n++) {
    u64& retired = board.processors[n]->cpu.s.retired;
    moved.push_back(counts[n] - retired);
    retired = counts[n];
  }
  board.paravirt->went_back(moved);

  Cpu& c = board.processors[place->processor]->cpu;
  if (place->wide) c.s.gpr[RBX] = own.value;
  else c.set_gpr<u32>(RBX, own.value);
  own.restored_at = count();
}

// A machine in which no guest ever asked for one has no further state.
void Machine::Impl::hash_guest_snapshots(StateIo& io) {
  GuestSnapshots& own = board.guest_snapshots;
  if (!own.any()) return;
  io.section("guest's snapshots");
  for (u32 slot = 0; slot < own.slots.size(); slot++) {
    if (!own.slots[slot]) continue;
    u64 hash = own.slots[slot]->hash;
    io.fields(slot, hash);
  }
}

// In a file RAM is kept as it differs from the machine's, which is there already when this is read.
void Machine::Impl::save_guest_snapshots(StateIo& io) {
  if (!board.paravirt) return;
  if (!guests_writes.on) guests_writes.begin(board.memory.ram().frames());
  guests_writes.add(settle());
  io.section("guest's snapshots");
  for (const auto& slot : board.guest_snapshots.slots) {
    bool there = slot != nullptr;
    io.field(there);
    if (!there) continue;
    GuestSnapshot s = *slot;
    std::vector<u32> frames = PageTree::difference(ram_then, s.ram);
    u32 count = static_cast<u32>(frames.size());
    io.fields(s.hash, s.processor, s.wide, count);
    io.blob(s.devices, kMostDevices, "");
    for (u32& frame : frames) {
      u8 contents[kPageSize] = {};
      if (const PageCopy* page = s.ram.page(frame)) std::memcpy(contents, page->bytes, kPageSize);
      else if (source != nullptr && source->has(frame)) source->read(frame, contents);
      io.field(frame);
      io.bytes(contents, kPageSize);
    }
  }
}

void Machine::Impl::restore_guest_snapshots(StateIo& io) {
  GuestSnapshots& own = board.guest_snapshots;
  own = {};
  if (!board.paravirt) return;
  guests_writes.begin(board.memory.ram().frames());
  guests_writes.add(settle());
  io.section("guest's snapshots");
  const std::vector<u8> here = save_devices();
  for (auto& slot : own.slots) {
    bool there = false;
    io.field(there);
    if (!there) continue;
    GuestSnapshot s{ram_then, {}, 0, 0, false};
    u32 count = 0;
    io.fields(s.hash, s.processor, s.wide, count);
    io.limit(s.processor, static_cast<u32>(board.processors.size() - 1), "a snapshot of the guest's is a processor's that there is not");
    io.limit(count, board.memory.ram().frames(), "a snapshot of the guest's has more pages than there are");
    io.blob(s.devices, kMostDevices, "a snapshot of the guest's has too large devices");
    std::vector<PageTree::Change> changes;
    for (u32 n = 0, least = 0; n < count; n++) {
      u32 frame = 0;
      u8 contents[kPageSize];
      io.field(frame);
      io.bytes(contents, kPageSize);
      if (frame < least || frame >= board.memory.ram().frames()) return io.damaged("a page of a snapshot of the guest's is out of range or order");
      least = frame + 1;
      changes.push_back({frame, std::make_shared<PageCopy>(contents, page_account.get())});
    }
    if (!changes.empty()) s.ram = s.ram.with(changes);
    // What is damaged is found now, not when the guest goes there.
    if (const auto tried = restore_devices(s.devices); !tried) io.damaged(tried.error().message);
    else slot = std::make_shared<GuestSnapshot>(std::move(s));
  }
  const auto back = restore_devices(here);
  VERIFY(back.has_value(), "a state in memory could not be read");
}

}  // namespace callgate
