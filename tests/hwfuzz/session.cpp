#include "tests/hwfuzz/session.h"

#include "cpu/table/table.h"
#include "tests/hwfuzz/simplify.h"

namespace callgate::hwfuzz {

namespace {

/// A difference must show this many times: the host's kernel may switch tasks in between, and AMD's FXSAVE then loses
/// the x87 pointers.
constexpr unsigned kConfirmations = 3;
/// One case in this many is one instruction; the others are runs.
constexpr u64 kRunsIn = 4;

}  // namespace

Session::Session(Host& host, u64 seed, Subject subject)
    : host_(host),
      engine_(subject),
      generator_(seed, true),
      random_(seed + 1),
      counts_(generator_.rows().size()),
      batch_(kBatch),
      ours_(kBatch),
      row_(kBatch) {
  for (unsigned i = 0; i < counts_.size(); i++) chosen_.push_back(i);
}

void Session::choose(const std::string& row) {
  chosen_.clear();
  for (unsigned i = 0; i < counts_.size(); i++)
    if (mnemonic(*generator_.rows()[i]) == row || generator_.rows()[i]->encoding == row) chosen_.push_back(i);
}

void Session::batch(const std::function<void(const Find&)>& found) {
  if (chosen_.empty()) return;
  for (unsigned i = 0; i < kBatch; i++) {
    row_[i] = chosen_[next_++ % chosen_.size()];
    const bool run = random_.below(kRunsIn) == 0;
    generator_.make(batch_[i], row_[i], run ? 2 + static_cast<unsigned>(random_.below(kMostInstructions - 1)) : 1);
    host_.cases()[i] = batch_[i];
  }
  host_.start(kBatch);
  for (unsigned i = 0; i < kBatch; i++) engine_.run(batch_[i], ours_[i]);
  host_.finish();

  std::vector<unsigned> differ;
  for (unsigned i = 0; i < kBatch; i++) {
    const Outcome& host = host_.outcomes()[i];
    cases_++;
    instructions_ += batch_[i].instructions;
    RowCount& count = counts_[row_[i]];
    if (host.ending == Ending::Lost || host.ending == Ending::Endless)
      unclear_++;
    else if (batch_[i].instructions > 1)
      count.in_runs++;
    else
      (host.ending == Ending::Finished ? count.finished : count.faulted)++;
    const Quirk* quirk = nullptr;
    if (!judge(engine_, batch_[i], host, ours_[i], quirk).empty())
      differ.push_back(i);
    else if (quirk != nullptr)
      excused_[quirk->name]++;
  }
  for (const unsigned i : differ) {
    Outcome host;
    bool real = true;
    for (unsigned n = 0; n < kConfirmations && real; n++) real = !try_again(batch_[i], host).empty();
    if (!real) continue;
    counts_[row_[i]].differed++;
    found(make_small(batch_[i]));
  }
}

std::string Session::try_again(const Case& c, Outcome& host) {
  host = host_.run(c);
  Outcome ours;
  engine_.run(c, ours);
  const Quirk* quirk = nullptr;
  return judge(engine_, c, host, ours, quirk);
}

Find Session::make_small(const Case& c) {
  Find f;
  f.made = c;
  // The first instruction that differs, alone if its state can be set up.
  for (unsigned n = 1; n < c.instructions; n++) {
    const Case head = truncated(c, n);
    if (try_again(head, f.host).empty()) continue;
    f.made = head;
    break;
  }
  if (f.made.instructions > 1) {
    Outcome before = host_.run(truncated(f.made, f.made.instructions - 1u));
    Case alone;
    if (single_instruction(f.made, f.made.instructions - 1u, before, alone) && !try_again(alone, f.host).empty())
      f.made = alone;
  }
  simplify(f.made, [&](const Case& t) { return !try_again(t, f.host).empty(); });
  f.what = try_again(f.made, f.host);
  return f;
}

}  // namespace callgate::hwfuzz
