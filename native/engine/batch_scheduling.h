// The worker's scheduling class. Under SCHED_BATCH a thread that is woken waits for the one on its core to sleep instead of interrupting it.
//
// Why: the one it would interrupt is most often who just woke it (an app behind its doorbell, another agent behind its socket) and is
// about to sleep by itself. Interrupted, it stays runnable; the kernel then counts two runnable threads on the core and places the next process
// of the call on another core, which had halted. Measured at 1,000 calls per second on an idle machine: two halted cores woken per call
// instead of none, and three times what the agents add.
// Waiting is wrong as soon as somebody computes on the core for milliseconds. So the worker watches how long it was made to wait, and goes back
// to the normal class for a while when that was long.
#pragma once

#include <cstdint>

#include "native/fd/unique_fd.h"

namespace ringside {

/// What the kernel says of a thread since it began (/proc/thread-self/schedstat).
struct RunQueueTimes {
  uint64_t waited_ns = 0;  // runnable, but not running
  uint64_t runs = 0;       // how often it got a core
};

/// Decides between the two classes. No I/O.
class BatchDecision {
 public:
  /// How often the times are worth reading, in nanoseconds.
  static constexpr int64_t kWindowNs = 10'000'000;

  /// Takes the times at `now_ns` and returns whether the batch class is right from here on.
  bool observe(int64_t now_ns, const RunQueueTimes& times);
  bool batch() const { return batch_; }

 private:
  bool batch_ = true;
  RunQueueTimes last_;
  int64_t since_ns_ = 0;  // when the present class was chosen
  int64_t normal_for_ns_ = 0;
};

/// The calling thread's class, kept right. All methods are called on that thread.
class BatchScheduling {
 public:
  /// Enters the batch class. False if the kernel does not let us, or does not tell how long threads wait: then the class stays as it was for good.
  bool start(int64_t now_ns);
  /// After each turn. Reads the times when a window is over. Returns whether the class changed.
  bool after_turn(int64_t now_ns) { return now_ns >= next_ns_ && review(now_ns); }
  bool batch() const { return decision_.batch(); }
  /// While `urgent`, the thread has the normal class whatever was decided: everybody waits for it, so it shall not wait itself.
  void set_urgent(bool urgent) {
    if (urgent != urgent_ && next_ns_ != INT64_MAX) enter_urgency(urgent);
  }

 private:
  bool review(int64_t now_ns);
  bool read_times(RunQueueTimes* times) const;
  void enter_urgency(bool urgent);

  BatchDecision decision_;
  UniqueFd schedstat_;
  int64_t next_ns_ = INT64_MAX;  // until started
  bool urgent_ = false;
};

}  // namespace ringside
