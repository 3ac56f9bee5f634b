// Deadlines of one worker as an intrusive binary heap: a node lives inside what it times (a pending request, a
// parked one, a link), so that setting and clearing a timer allocates nothing. The heap's array grows to the number of
// live timers, which the tables that embed the nodes bound. The worker sleeps until the earliest deadline; no tick.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringside {

enum class TimerKind : uint8_t { kPending, kParked, kLink, kGoAway, kHandoff, kParting, kWaiting, kWaitingRetry };

struct TimerNode {
  int64_t deadline_ns = 0;
  uint32_t heap_index = kIdle;
  TimerKind kind = TimerKind::kPending;
  uint32_t slot = 0;  // which entry of the kind's table

  static constexpr uint32_t kIdle = UINT32_MAX;
  bool armed() const { return heap_index != kIdle; }
};

class TimerHeap {
 public:
  /// Arms `node` for `deadline_ns`, or moves it there when it is armed already.
  void set(TimerNode* node, int64_t deadline_ns);
  /// Disarms; harmless when not armed.
  void clear(TimerNode* node);
  /// The earliest deadline, or INT64_MAX.
  int64_t next_ns() const { return heap_.empty() ? INT64_MAX : heap_.front().deadline_ns; }
  /// Disarms and returns the earliest node whose deadline is at or before `now_ns`; nullptr when there is none.
  TimerNode* pop_expired(int64_t now_ns);
  size_t size() const { return heap_.size(); }

 private:
  struct Entry {  // the deadline beside the pointer: sifting touches no other cache line
    int64_t deadline_ns;
    TimerNode* node;
  };
  void place(uint32_t index, Entry entry) {
    heap_[index] = entry;
    entry.node->heap_index = index;
  }
  void sift_up(uint32_t index, Entry entry);
  void sift_down(uint32_t index, Entry entry);
  void remove_at(uint32_t index);

  std::vector<Entry> heap_;
};

}  // namespace ringside
