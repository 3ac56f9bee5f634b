// When the worker waits for who runs on its core, and when it stops doing so.
#include "native/engine/batch_scheduling.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <thread>

namespace ringside {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr uint64_t kMs = 1'000'000;

/// Drives a decision window by window.
struct Drive {
  BatchDecision decision;
  RunQueueTimes times;
  int64_t now_ns = 0;

  bool window(uint64_t waited_ns, uint64_t runs, int64_t length_ns = BatchDecision::kWindowNs) {
    now_ns += length_ns;
    times.waited_ns += waited_ns;
    times.runs += runs;
    return decision.observe(now_ns, times);
  }
};

TEST(BatchDecision, StaysWhileWaitsAreShortHoweverMany) {
  Drive drive;
  for (int i = 0; i < 1000; i++) {
    EXPECT_TRUE(drive.window(200'000, 20));       // ten microseconds each, as behind an app that goes to sleep
    EXPECT_TRUE(drive.window(5 * kMs, 100));      // many calls on two busy cores
    EXPECT_TRUE(drive.window(1'500'000, 1));      // one long one
  }
}

TEST(BatchDecision, EndsAtTheFirstWindowInWhichSomebodyKeptTheCore) {
  Drive drive;
  EXPECT_TRUE(drive.window(200'000, 20));
  EXPECT_FALSE(drive.window(3 * kMs, 20));
  EXPECT_FALSE(drive.decision.batch());
}

TEST(BatchDecision, ComesBackAndLaterEachTimeThatWasSoonWrong) {
  Drive drive;
  int64_t hold = kSecond / 2;
  for (int round = 0; round < 10; round++) {
    ASSERT_FALSE(drive.window(10 * kMs, 1)) << "round " << round;
    EXPECT_FALSE(drive.window(0, 10, hold - 1)) << "round " << round;
    EXPECT_TRUE(drive.window(0, 10, 1)) << "round " << round;
    hold = std::min(2 * hold, 16 * kSecond);
  }
}

TEST(BatchDecision, AQuietTimeForgives) {
  Drive drive;
  for (int round = 0; round < 5; round++) {
    ASSERT_FALSE(drive.window(10 * kMs, 1));
    ASSERT_TRUE(drive.window(0, 1, 16 * kSecond));
  }
  EXPECT_TRUE(drive.window(0, 1, 64 * kSecond));
  EXPECT_FALSE(drive.window(10 * kMs, 1));
  EXPECT_TRUE(drive.window(0, 1, kSecond / 2));
}

TEST(BatchScheduling, ChangesTheCallingThreadOnly) {
  const int before = sched_getscheduler(0);  // the whole test may have been started in another class
  std::thread([] {
    BatchScheduling scheduling;
    if (!scheduling.start(0)) GTEST_SKIP() << "this kernel tells no waiting times, or forbids the class";
    EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
    EXPECT_TRUE(scheduling.batch());
    EXPECT_FALSE(scheduling.after_turn(1)) << "before the first window is over";
  }).join();
  EXPECT_EQ(sched_getscheduler(0), before);
}

TEST(BatchScheduling, AnUrgentThreadWaitsForNobody) {
  std::thread([] {
    BatchScheduling scheduling;
    if (!scheduling.start(0)) GTEST_SKIP() << "this kernel tells no waiting times, or forbids the class";
    scheduling.set_urgent(true);
    EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
    scheduling.after_turn(kSecond);
    EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
    scheduling.set_urgent(false);
    EXPECT_EQ(sched_getscheduler(0), scheduling.batch() ? SCHED_BATCH : SCHED_OTHER);
  }).join();
}

TEST(BatchScheduling, LeavesAClassAloneThatSomebodyElseChose) {
  std::thread([] {
    const sched_param param{};
    ASSERT_EQ(sched_setscheduler(0, SCHED_IDLE, &param), 0);
    BatchScheduling scheduling;
    EXPECT_FALSE(scheduling.start(0));
    scheduling.set_urgent(true);
    EXPECT_FALSE(scheduling.after_turn(10 * kSecond));
    EXPECT_EQ(sched_getscheduler(0), SCHED_IDLE);
  }).join();
}

}  // namespace
}  // namespace ringside
