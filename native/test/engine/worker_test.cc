// The worker's thread: batches go in and events come out from another thread, and it ends when told. Run under the thread
// sanitizer, too.
#include "native/engine/worker.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "native/test/engine/event_reader.h"

namespace ringside {
namespace {

using testing::Events;

constexpr std::chrono::seconds kPatience{20};

struct WorkerFixture {
  std::mutex mutex;
  std::condition_variable woken;
  int wakes = 0;
  Worker worker{EngineOptions{}, [this] {
                  const std::lock_guard lock(mutex);
                  wakes++;
                  woken.notify_all();
                }};
  Events events;

  /// Reads events until the condition holds; each read waits for a wake-up.
  template <typename Condition>
  void read_until(Condition condition) {
    while (!condition()) {
      {
        std::unique_lock lock(mutex);
        ASSERT_TRUE(woken.wait_for(lock, kPatience, [&] { return wakes > 0; })) << "nobody woke us";
        wakes = 0;
      }
      events.read(worker.take_events());
    }
  }
};

std::vector<uint8_t> read_stats(uint32_t id) {
  ByteWriter out;
  out.u8(9);
  out.u32(4);
  out.u32(id);
  return out.take();
}

TEST(Worker, AnswersEveryBatchInOrderAlsoOnesFromBeforeItsStart) {
  WorkerFixture f;
  const auto submit = [&](uint32_t id) {
    const std::vector<uint8_t> batch = read_stats(id);
    ASSERT_TRUE(f.worker.submit(batch.data(), batch.size()));
  };
  submit(1);
  ASSERT_TRUE(f.worker.start());
  f.read_until([&] { return f.events.stats.size() == 1; });
  for (uint32_t id = 2; id <= 300; id++) submit(id);
  f.read_until([&] { return f.events.stats.size() == 300; });
  for (uint32_t i = 0; i < 300; i++) EXPECT_EQ(f.events.stats[i].id, i + 1);
}

TEST(Worker, ABatchThatDoesNotDecodeIsRefusedToItsCaller) {
  WorkerFixture f;
  ASSERT_TRUE(f.worker.start());
  std::vector<uint8_t> bad = read_stats(1);
  bad.push_back(9);
  const Result<Unit> submitted = f.worker.submit(bad.data(), bad.size());
  ASSERT_FALSE(submitted);
  EXPECT_EQ(submitted.error().code, Code::kInvalidArgument);
  f.worker.post(ReadStats{7});
  f.read_until([&] { return !f.events.stats.empty(); });
  EXPECT_EQ(f.events.stats[0].id, 7u) << "nothing of the bad batch was applied";
}

TEST(Worker, TakesBatchesFromSeveralThreads) {
  WorkerFixture f;
  ASSERT_TRUE(f.worker.start());
  constexpr uint32_t kEach = 100;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 3; t++) {
    threads.emplace_back([&f, t] {
      for (uint32_t i = 0; i < kEach; i++) f.worker.post(AwaitIdle{t * kEach + i});
    });
  }
  for (std::thread& thread : threads) thread.join();
  f.read_until([&] { return f.events.idle.size() == 3 * kEach; });
  std::sort(f.events.idle.begin(), f.events.idle.end());
  for (uint32_t i = 0; i < 3 * kEach; i++) EXPECT_EQ(f.events.idle[i], i);
}

TEST(Worker, StopsMoreThanOnceAndWithoutHavingStarted) {
  WorkerFixture never;
  never.worker.stop();
  WorkerFixture f;
  ASSERT_TRUE(f.worker.start());
  f.worker.stop();
  f.worker.stop();
  f.worker.post(ReadStats{1});
  EXPECT_TRUE(f.worker.take_events().empty());
}

}  // namespace
}  // namespace ringside
