#include "native/engine/batch_scheduling.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace ringside {

namespace {

// Somebody kept the core: a wait this long in one window, and not merely many short ones.
constexpr uint64_t kLongWaitNs = 2'000'000;
constexpr uint64_t kLongMeanWaitNs = 100'000;
// Back to batch after half a second; after twice as long if that soon turns out wrong again.
constexpr int64_t kFirstNormalNs = 500'000'000;
constexpr int64_t kLongestNormalNs = 32 * kFirstNormalNs;

bool set_class(int policy) {
  const sched_param param{};
  return sched_setscheduler(0, policy, &param) == 0;  // 0: the calling thread
}

}  // namespace

bool BatchDecision::observe(int64_t now_ns, const RunQueueTimes& times) {
  const uint64_t waited = times.waited_ns - last_.waited_ns;
  const uint64_t runs = std::max<uint64_t>(times.runs - last_.runs, 1);
  last_ = times;
  if (!batch_) {
    if (now_ns - since_ns_ < normal_for_ns_) return false;
    batch_ = true;
    since_ns_ = now_ns;
    return true;
  }
  if (waited < kLongWaitNs || waited / runs < kLongMeanWaitNs) return true;
  const bool soon = now_ns - since_ns_ < 4 * normal_for_ns_;
  normal_for_ns_ = soon ? std::min(2 * normal_for_ns_, kLongestNormalNs) : kFirstNormalNs;
  batch_ = false;
  since_ns_ = now_ns;
  return false;
}

bool BatchScheduling::start(int64_t now_ns) {
  schedstat_.reset(open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC));
  RunQueueTimes times;
  // Only ever from the normal class: who set another one meant it.
  if (sched_getscheduler(0) != SCHED_OTHER || !read_times(&times) || !set_class(SCHED_BATCH)) {
    schedstat_.reset();
    return false;
  }
  decision_.observe(now_ns, times);
  next_ns_ = now_ns + BatchDecision::kWindowNs;
  return true;
}

bool BatchScheduling::review(int64_t now_ns) {
  next_ns_ = now_ns + BatchDecision::kWindowNs;
  const bool before = decision_.batch();
  RunQueueTimes times;
  if (!read_times(&times)) return false;
  const bool after = decision_.observe(now_ns, times);
  if (after == before) return false;
  return urgent_ || set_class(after ? SCHED_BATCH : SCHED_OTHER);
}

void BatchScheduling::enter_urgency(bool urgent) {
  urgent_ = urgent;
  set_class(!urgent && decision_.batch() ? SCHED_BATCH : SCHED_OTHER);
}

bool BatchScheduling::read_times(RunQueueTimes* times) const {
  char text[96];
  const ssize_t n = schedstat_.valid() ? pread(schedstat_.get(), text, sizeof text, 0) : -1;
  if (n <= 0) return false;
  // "<ns running> <ns waiting> <runs>"
  const char* const end = text + n;
  uint64_t ran_ns = 0;
  auto at = std::from_chars(text, end, ran_ns);
  if (at.ec != std::errc{} || at.ptr == end) return false;
  at = std::from_chars(at.ptr + 1, end, times->waited_ns);
  if (at.ec != std::errc{} || at.ptr == end) return false;
  at = std::from_chars(at.ptr + 1, end, times->runs);
  return at.ec == std::errc{};
}

}  // namespace ringside
