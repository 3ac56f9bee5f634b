// Whether the worker looks for events a little while before it sleeps (busy polling). Who sleeps has to be woken: an interrupt to another core, which had perhaps
// halted, and two switches, more than all the work of a message. That is spared where the next event is about to come. Whether it is, is
// learnt from the waits before: apart for waits with requests under way (the next event is mostly a reply) and without (a request).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace ringside {

class BusyPoll {
 public:
  /// @param longest_ns how long to look; 0: never
  explicit BusyPoll(int64_t longest_ns) : longest_ns_(longest_ns) {}

  /// For how many nanoseconds to look before this wait; 0 where that has mostly been in vain.
  int64_t before_wait(bool requests_under_way) const { return score_[requests_under_way] >= kWorthwhile ? longest_ns_ : 0; }
  /// After a wait that took so long.
  void waited(bool requests_under_way, int64_t ns) {
    int32_t& score = score_[requests_under_way];
    score = ns <= longest_ns_ ? std::min(score + 1, kHighest) : std::max(score - kLoss, 0);
  }
  bool enabled() const { return longest_ns_ > 0; }

 private:
  // A look in vain costs the whole of longest_ns, one that finds something spares about as much: worthwhile where two of three find something.
  static constexpr int32_t kLoss = 2;
  static constexpr int32_t kWorthwhile = 8;
  static constexpr int32_t kHighest = 16;

  int64_t longest_ns_;
  std::array<int32_t, 2> score_{};
};

}  // namespace ringside
