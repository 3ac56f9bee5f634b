#include "native/engine/timers.h"

namespace ringside {

void TimerHeap::set(TimerNode* node, int64_t deadline_ns) {
  if (node->armed()) {
    const uint32_t index = node->heap_index;
    const bool earlier = deadline_ns < node->deadline_ns;
    node->deadline_ns = deadline_ns;
    if (earlier) {
      sift_up(index, {deadline_ns, node});
    } else {
      sift_down(index, {deadline_ns, node});
    }
    return;
  }
  node->deadline_ns = deadline_ns;
  heap_.push_back({deadline_ns, node});
  sift_up(static_cast<uint32_t>(heap_.size() - 1), {deadline_ns, node});
}

void TimerHeap::clear(TimerNode* node) {
  if (!node->armed()) return;
  remove_at(node->heap_index);
}

TimerNode* TimerHeap::pop_expired(int64_t now_ns) {
  if (heap_.empty() || heap_.front().deadline_ns > now_ns) return nullptr;
  TimerNode* node = heap_.front().node;
  remove_at(0);
  return node;
}

void TimerHeap::remove_at(uint32_t index) {
  heap_[index].node->heap_index = TimerNode::kIdle;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  if (index > 0 && last.deadline_ns < heap_[(index - 1) / 2].deadline_ns) {
    sift_up(index, last);
  } else {
    sift_down(index, last);
  }
}

void TimerHeap::sift_up(uint32_t index, Entry entry) {
  while (index > 0) {
    const uint32_t parent = (index - 1) / 2;
    if (heap_[parent].deadline_ns <= entry.deadline_ns) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, entry);
}

void TimerHeap::sift_down(uint32_t index, Entry entry) {
  const uint32_t n = static_cast<uint32_t>(heap_.size());
  for (;;) {
    uint32_t child = 2 * index + 1;
    if (child >= n) break;
    if (child + 1 < n && heap_[child + 1].deadline_ns < heap_[child].deadline_ns) child++;
    if (entry.deadline_ns <= heap_[child].deadline_ns) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, entry);
}

}  // namespace ringside
