// The ring between two honest ends: batches, wrap and pad, full and empty, both sleeping flags, taking over.
#include "native/shm/ring.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>

#include "native/test/shm/ring_fixture.h"

namespace ringside {
namespace {

using testing::RingPair;

constexpr uint32_t kRingBytes = 256;

TEST(Ring, NothingIsVisibleBeforePublish) {
  RingPair ring(kRingBytes);
  ASSERT_TRUE(ring.put("one"));
  EXPECT_TRUE(ring.producer.has_unpublished());
  EXPECT_TRUE(ring.is_empty());
  EXPECT_EQ(ring.memory.head(), 0u);
  ring.producer.publish();
  EXPECT_FALSE(ring.producer.has_unpublished());
  EXPECT_EQ(ring.take(), "one");
  EXPECT_TRUE(ring.is_empty());
}

TEST(Ring, ABatchArrivesInOrderAndRingsOnce) {
  RingPair ring(kRingBytes);
  ASSERT_TRUE(ring.consumer.arm_waiting());
  ASSERT_TRUE(ring.put("one"));
  ASSERT_TRUE(ring.put(""));
  ASSERT_TRUE(ring.put("three"));
  EXPECT_TRUE(ring.producer.publish());
  EXPECT_EQ(ring.memory.consumer_waiting(), 0u);
  EXPECT_FALSE(ring.producer.publish());
  ASSERT_TRUE(ring.put("four"));
  EXPECT_FALSE(ring.producer.publish());
  EXPECT_EQ(ring.take(), "one");
  EXPECT_EQ(ring.take(), "");
  EXPECT_EQ(ring.take(), "three");
  EXPECT_EQ(ring.take(), "four");
}

TEST(Ring, CommitWithoutReservationAndReserveWithoutCommitWriteNothing) {
  RingPair ring(kRingBytes);
  ring.producer.commit();
  ASSERT_NE(ring.producer.reserve(100), nullptr);
  ASSERT_TRUE(ring.put("kept"));
  ring.producer.commit();
  ring.producer.publish();
  EXPECT_EQ(ring.take(), "kept");
  EXPECT_TRUE(ring.is_empty());
  EXPECT_EQ(ring.producer.position(), 16u);
}

TEST(Ring, AnUnattachedRingIsEmptyAndFull) {
  RingProducer producer;
  RingConsumer consumer;
  RecordView view;
  EXPECT_EQ(producer.reserve(0), nullptr);
  EXPECT_FALSE(producer.publish());
  EXPECT_EQ(producer.max_payload(), 0u);
  EXPECT_EQ(producer.used_bytes(), 0u);
  EXPECT_EQ(consumer.next(&view), RingRead::kEmpty);
  EXPECT_FALSE(consumer.release());
  EXPECT_TRUE(consumer.arm_waiting());
  consumer.disarm();
}

TEST(Ring, TheLargestRecordFitsAnEmptyRingWhereverItStands) {
  for (uint64_t position = 0; position < kRingBytes; position += 8) {
    RingPair ring(kRingBytes);
    ring.stand_at(position);
    const std::string largest(ring.producer.max_payload(), 'm');
    ASSERT_TRUE(ring.put(largest)) << position;
    EXPECT_EQ(ring.producer.reserve(ring.producer.max_payload() + 1), nullptr);
    ring.producer.publish();
    EXPECT_EQ(ring.take(), largest) << position;
    ring.consumer.release();
    EXPECT_EQ(ring.producer.used_bytes(), 0u);
  }
}

TEST(Ring, ARecordThatJustFitsTheRestNeedsNoPad) {
  RingPair ring(kRingBytes);
  ring.stand_at(kRingBytes - 32);
  ASSERT_TRUE(ring.put(std::string(24, 'x')));
  EXPECT_EQ(ring.producer.position(), uint64_t{kRingBytes});
  ring.producer.publish();
  EXPECT_EQ(ring.take(), std::string(24, 'x'));
}

TEST(Ring, AOneWordRestIsPadded) {
  RingPair ring(kRingBytes);
  ring.stand_at(kRingBytes - 8);
  ASSERT_TRUE(ring.put("x"));
  ring.producer.publish();
  EXPECT_EQ(load_u32(ring.memory.data() + kRingBytes - 8), 0u);
  EXPECT_EQ(load_u32(ring.memory.data() + kRingBytes - 4), shm::kKindPad);
  EXPECT_EQ(ring.take(), "x");
  ring.consumer.release();
  EXPECT_EQ(ring.memory.tail(), kRingBytes + 16u);
}

TEST(Ring, FullMeansFullToTheLastByte) {
  RingPair ring(kRingBytes);
  for (uint32_t i = 0; i < kRingBytes / 16; ++i) ASSERT_TRUE(ring.put("12345678"));
  EXPECT_EQ(ring.producer.reserve(0), nullptr);
  EXPECT_EQ(ring.producer.used_bytes(), size_t{kRingBytes});
  ring.producer.publish();
  EXPECT_EQ(ring.take(), "12345678");
  EXPECT_EQ(ring.producer.reserve(8), nullptr) << "not released yet";
  ring.consumer.release();
  EXPECT_TRUE(ring.put("again"));
}

TEST(Ring, SpaceWantedIsAnsweredByTheNextRelease) {
  RingPair ring(kRingBytes);
  while (ring.put("12345678")) {
  }
  EXPECT_FALSE(ring.producer.violated());
  ring.producer.publish();
  EXPECT_TRUE(ring.producer.arm_space_wanted(8));
  EXPECT_EQ(ring.memory.space_wanted(), 1u);
  EXPECT_FALSE(ring.consumer.release()) << "nothing was read, so nothing is released";
  ring.take();
  EXPECT_TRUE(ring.consumer.release());
  EXPECT_EQ(ring.memory.space_wanted(), 0u);
  EXPECT_FALSE(ring.producer.arm_space_wanted(8));
  EXPECT_NE(ring.producer.reserve(8), nullptr) << "false promises room";
}

TEST(Ring, ArmWaitingSeesWhatCameBefore) {
  RingPair ring(kRingBytes);
  ASSERT_TRUE(ring.put("one"));
  ring.producer.publish();
  EXPECT_FALSE(ring.consumer.arm_waiting());
  ring.consumer.disarm();
  EXPECT_EQ(ring.memory.consumer_waiting(), 0u);
  ring.take();
  EXPECT_TRUE(ring.consumer.arm_waiting());
  EXPECT_EQ(ring.memory.consumer_waiting(), 1u);
}

TEST(Ring, TheTailProvesWhatWasNeverPassed) {
  RingPair ring(kRingBytes);
  ASSERT_TRUE(ring.put("one"));
  const uint64_t behind_one = ring.producer.position();
  ASSERT_TRUE(ring.put("two"));
  ring.producer.publish();
  ring.take();
  EXPECT_EQ(ring.producer.consumer_position(), 0u) << "returned is not released";
  ring.consumer.release();
  EXPECT_EQ(ring.producer.consumer_position(), behind_one);
}

TEST(Ring, BothEndsContinueAtARestoredPosition) {
  RingPair ring(kRingBytes);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(ring.put(std::to_string(i)));
    ring.producer.publish();
    RingProducer next_producer;
    RingConsumer next_consumer;
    next_producer.attach(ring.memory.control(), ring.memory.data(), kRingBytes);
    next_consumer.attach(ring.memory.control(), ring.memory.data(), kRingBytes);
    ASSERT_TRUE(next_producer.restore(ring.producer.position()));
    next_consumer.restore(ring.consumer.position());
    EXPECT_EQ(next_consumer.published_position(), ring.producer.position());
    ring.producer = next_producer;
    ring.consumer = next_consumer;
    EXPECT_EQ(ring.take(), std::to_string(i));
    ring.consumer.release();
  }
}

// Against a queue as the oracle, over many wraps and all sizes.
TEST(Ring, BehavesLikeABoundedQueue) {
  std::mt19937 random(20240817);
  for (const uint32_t capacity : {64u, 256u, 4096u}) {
    RingPair ring(capacity);
    std::deque<std::string> expected;
    for (int step = 0; step < 20000; ++step) {
      if (random() % 2 == 0) {
        std::string payload(random() % (ring.producer.max_payload() + 1), static_cast<char>('a' + step % 26));
        if (ring.put(payload)) {
          expected.push_back(std::move(payload));
        } else {
          ASSERT_FALSE(expected.empty()) << "an empty ring takes every record";
        }
        if (random() % 3 != 0) ring.producer.publish();
      } else {
        RecordView view;
        while (random() % 4 != 0 && ring.consumer.next(&view) == RingRead::kRecord) {
          ASSERT_FALSE(expected.empty());
          ASSERT_EQ(std::string(reinterpret_cast<const char*>(view.data), view.size), expected.front());
          expected.pop_front();
        }
        ASSERT_EQ(ring.consumer.violation(), nullptr);
        ring.consumer.release();
        // Records held back by the batch would otherwise keep an emptied ring full.
        if (expected.empty() || random() % 8 == 0) ring.producer.publish();
      }
      ASSERT_FALSE(ring.producer.violated());
    }
    EXPECT_GT(ring.producer.position(), uint64_t{capacity} * 10);
  }
}

}  // namespace
}  // namespace ringside
