// When it is worth looking for events before sleeping.
#include "native/engine/busy_poll.h"

#include <gtest/gtest.h>

namespace ringside {
namespace {

constexpr int64_t kLongestNs = 25'000;

void wait_often(BusyPoll& poll, bool under_way, int64_t ns, int times) {
  for (int i = 0; i < times; i++) poll.waited(under_way, ns);
}

TEST(BusyPoll, LooksOnceWaitsHaveBeenShort) {
  BusyPoll poll(kLongestNs);
  EXPECT_EQ(poll.before_wait(true), 0) << "nothing is known yet";
  wait_often(poll, true, kLongestNs, 20);
  EXPECT_EQ(poll.before_wait(true), kLongestNs);
}

TEST(BusyPoll, StopsSoonWhereItIsInVain) {
  BusyPoll poll(kLongestNs);
  wait_often(poll, true, 10'000, 1000);
  wait_often(poll, true, 1'000'000, 5);
  EXPECT_EQ(poll.before_wait(true), 0);
}

TEST(BusyPoll, DoesNotLookWhereEveryOtherWaitIsLong) {
  BusyPoll poll(kLongestNs);
  for (int i = 0; i < 1000; i++) {
    poll.waited(true, 1'000);
    poll.waited(true, 1'000'000);
    EXPECT_EQ(poll.before_wait(true), 0);
  }
}

TEST(BusyPoll, KnowsWaitsForRepliesFromWaitsForRequests) {
  BusyPoll poll(kLongestNs);
  wait_often(poll, true, 10'000, 20);
  wait_often(poll, false, 1'000'000, 20);
  EXPECT_EQ(poll.before_wait(true), kLongestNs);
  EXPECT_EQ(poll.before_wait(false), 0);
}

TEST(BusyPoll, NeverWhereItIsOff) {
  BusyPoll poll(0);
  EXPECT_FALSE(poll.enabled());
  wait_often(poll, true, 0, 20);
  EXPECT_EQ(poll.before_wait(true), 0);
}

}  // namespace
}  // namespace ringside
