// Where the contents of frames come from that RAM does not hold yet: a snapshot's file, for one. They are brought when
// somebody first touches them.
#pragma once

#include "base/types.h"

namespace callgate {

class Ram;

class PageSource {
 public:
  virtual ~PageSource() = default;
  /// A frame that is absent is about to be touched: hands its contents to Ram::put_absent, and perhaps others' too.
  virtual void bring(u32 frame, Ram& ram) = 0;
  /// Whether the frame had contents of the source's at first; all others were zero.
  virtual bool has(u32 frame) const = 0;
  /// What these contents were. At any time.
  virtual void read(u32 frame, u8* to) = 0;
};

}  // namespace callgate
