// The ring against a hostile other end: every index and every length it can write, wrong in every way, ends in a
// violation and never in an access outside the ring. Run under the address sanitizer to mean it.
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "native/test/shm/ring_fixture.h"

namespace ringside {
namespace {

using testing::RingPair;

constexpr uint32_t kBrokenRingBytes = 256;
constexpr uint64_t kMaxU64 = std::numeric_limits<uint64_t>::max();
constexpr uint32_t kMaxU32 = std::numeric_limits<uint32_t>::max();

RingRead read_one(RingPair& ring) {
  RecordView view;
  return ring.consumer.next(&view);
}

TEST(RingViolation, HeadOutOfRange) {
  for (const uint64_t head : {uint64_t{kBrokenRingBytes} + 8, uint64_t{kBrokenRingBytes} * 2, uint64_t{4}, kMaxU64, kMaxU64 - 7}) {
    RingPair ring(kBrokenRingBytes);
    ring.memory.poke_head(head);
    EXPECT_EQ(read_one(ring), RingRead::kViolation) << head;
    EXPECT_STREQ(ring.consumer.violation(), "ring head out of range");
  }
}

TEST(RingViolation, HeadGoesBack) {
  RingPair ring(kBrokenRingBytes);
  ring.put("one");
  ring.put("two");
  ring.producer.publish();
  ring.take();
  ring.take();
  ring.memory.poke_head(16);
  EXPECT_FALSE(ring.consumer.arm_waiting()) << "never sleep on a violation";
  EXPECT_EQ(read_one(ring), RingRead::kViolation);
}

TEST(RingViolation, HeadGoesBackBehindRecordsAlreadySeen) {
  RingPair ring(kBrokenRingBytes);
  ring.put("one");
  ring.put("two");
  ring.producer.publish();
  ring.take();
  ring.memory.poke_head(8);
  EXPECT_EQ(ring.take(), "two") << "the head was read once for the whole batch";
  EXPECT_EQ(ring.consumer.published_position(), 32u);
  EXPECT_EQ(read_one(ring), RingRead::kViolation);
}

TEST(RingViolation, ReadingMoreThanTheRingBetweenTwoReleases) {
  RingPair ring(kBrokenRingBytes);
  for (uint32_t i = 0; i < kBrokenRingBytes / 16; ++i) ring.put("12345678");
  ring.producer.publish();
  for (uint32_t i = 0; i < kBrokenRingBytes / 16; ++i) ring.take();
  ring.memory.poke_head(kBrokenRingBytes + 16);
  EXPECT_EQ(read_one(ring), RingRead::kViolation);
}

struct BadRecord {
  const char* name;
  uint64_t position;
  uint64_t published_bytes;
  uint32_t length;
  uint32_t kind;
  const char* reason;
};

TEST(RingViolation, EveryBadRecord) {
  const BadRecord cases[] = {
      {"kind 0", 0, 64, 8, 0, "ring record of unknown kind"},
      {"kind 3", 0, 64, 8, 3, "ring record of unknown kind"},
      {"kind max", 0, 64, 8, kMaxU32, "ring record of unknown kind"},
      {"beyond published", 0, 64, 64, shm::kKindFrame, "ring record reaches beyond what is published"},
      {"beyond published by alignment", 0, 64, 57, shm::kKindFrame, "ring record reaches beyond what is published"},
      {"over half", 0, kBrokenRingBytes, kBrokenRingBytes / 2 - 7, shm::kKindFrame, "ring record larger than half the ring"},
      {"length max", 0, kBrokenRingBytes, kMaxU32, shm::kKindFrame, "ring record larger than half the ring"},
      {"length overflows when aligned", 0, kBrokenRingBytes, kMaxU32 - 7, shm::kKindFrame,
       "ring record larger than half the ring"},
      {"wraps", kBrokenRingBytes - 16, kBrokenRingBytes, 16, shm::kKindFrame, "ring record wraps"},
      {"pad in the middle", 64, 64, 8, shm::kKindPad, "ring pad does not end at the ring's end"},
      {"pad too short", kBrokenRingBytes - 32, 64, 16, shm::kKindPad, "ring pad does not end at the ring's end"},
      {"pad not aligned", kBrokenRingBytes - 32, 64, 23, shm::kKindPad, "ring pad does not end at the ring's end"},
      {"pad over the whole ring", 0, kBrokenRingBytes, kBrokenRingBytes - 8, shm::kKindPad, "ring record larger than half the ring"},
  };
  for (const BadRecord& bad : cases) {
    RingPair ring(kBrokenRingBytes);
    ring.stand_at(bad.position);
    ring.memory.poke_record(bad.position & (kBrokenRingBytes - 1), bad.length, bad.kind);
    ring.memory.poke_head(bad.position + bad.published_bytes);
    EXPECT_EQ(read_one(ring), RingRead::kViolation) << bad.name;
    EXPECT_STREQ(ring.consumer.violation(), bad.reason) << bad.name;
    EXPECT_EQ(read_one(ring), RingRead::kViolation) << "a violation stays: " << bad.name;
  }
}

TEST(RingViolation, PadsCannotFollowEachOther) {
  RingPair ring(kBrokenRingBytes);
  ring.stand_at(kBrokenRingBytes - 16);
  ring.memory.poke_record(kBrokenRingBytes - 16, 8, shm::kKindPad);
  ring.memory.poke_record(0, 8, shm::kKindPad);
  ring.memory.poke_head(kBrokenRingBytes + 64);
  EXPECT_EQ(read_one(ring), RingRead::kViolation);
}

TEST(RingViolation, TailOutOfRange) {
  // Published are 256 bytes from 256 on; the tail was last seen at 256 + 32.
  for (const uint64_t tail : {uint64_t{512 + 8}, uint64_t{256}, uint64_t{0}, uint64_t{292}, kMaxU64, kMaxU64 - 7}) {
    RingPair ring(kBrokenRingBytes);
    ring.stand_at(256);
    while (ring.put("12345678")) {
    }
    ring.producer.publish();
    ring.memory.poke_tail(256 + 32);
    ASSERT_EQ(ring.producer.consumer_position(), 288u);
    ASSERT_TRUE(ring.put("12345678"));
    ASSERT_TRUE(ring.put("12345678"));
    ring.memory.poke_tail(tail);
    EXPECT_EQ(ring.producer.reserve(8), nullptr) << tail;
    EXPECT_TRUE(ring.producer.violated()) << tail;
    EXPECT_EQ(ring.producer.consumer_position(), 288u) << "the last sensible one";
    EXPECT_TRUE(ring.producer.arm_space_wanted(8)) << "false would invite another reserve, for ever";
  }
}

TEST(RingViolation, TheTailMayNotPassWhatIsPublished) {
  RingPair ring(kBrokenRingBytes);
  ring.put("one");
  ring.memory.poke_tail(16);
  EXPECT_EQ(ring.producer.consumer_position(), 0u);
  EXPECT_TRUE(ring.producer.violated());
}

TEST(RingViolation, RestoreRefusesATailThatDoesNotFit) {
  for (const uint64_t tail : {uint64_t{1024 - kBrokenRingBytes - 8}, uint64_t{1032}, uint64_t{1020}, kMaxU64}) {
    RingPair ring(kBrokenRingBytes);
    ring.memory.poke_tail(tail);
    EXPECT_FALSE(ring.producer.restore(1024)) << tail;
  }
  RingPair ring(kBrokenRingBytes);
  ring.memory.poke_tail(1024);
  EXPECT_FALSE(ring.producer.restore(1028));
}

TEST(RingViolation, AnyFlagValueIsOnlyAFlag) {
  RingPair ring(kBrokenRingBytes);
  store_u32(ring.memory.control() + shm::kConsumerWaitingAt, kMaxU32);
  ring.put("one");
  EXPECT_TRUE(ring.producer.publish());
  store_u32(ring.memory.control() + shm::kSpaceWantedAt, kMaxU32);
  ring.take();
  EXPECT_TRUE(ring.consumer.release());
}

// Both ends with a peer that writes anything anywhere at any time: they stay inside the ring and come to an end.
TEST(RingViolation, RandomBytesNeverLeadOutside) {
  std::mt19937_64 random(7);
  size_t violations = 0;
  for (int round = 0; round < 3000; ++round) {
    RingPair ring(kBrokenRingBytes);
    ring.stand_at((random() % 64) * 8);
    for (int step = 0; step < 40; ++step) {
      switch (random() % 6) {
        case 0:
          ring.memory.poke_head(random() % 4 == 0 ? random() : ring.consumer.position() + random() % 40 * 8);
          break;
        case 1:
          ring.memory.poke_tail(random() % 4 == 0 ? random() : ring.producer.position() - random() % 40 * 8);
          break;
        case 2:
          ring.memory.poke_record(random() % (kBrokenRingBytes / 8) * 8,
                                  static_cast<uint32_t>(random() % 3 == 0 ? random() : random() % 64),
                                  static_cast<uint32_t>(random() % 4));
          break;
        case 3:
          ring.put(std::string(random() % 130, 'x'));
          ring.producer.publish();
          break;
        default: {
          RecordView view;
          size_t total = 0;
          RingRead read;
          while ((read = ring.consumer.next(&view)) == RingRead::kRecord) {
            ASSERT_GE(view.data, ring.memory.data());
            ASSERT_LE(view.data + view.size, ring.memory.data() + kBrokenRingBytes);
            total += view.size + shm::kRecordHeaderBytes;
            ASSERT_LE(total, kBrokenRingBytes);
          }
          if (read == RingRead::kViolation) ++violations;
          ring.consumer.release();
        }
      }
    }
  }
  EXPECT_GT(violations, 1000u) << "the test must reach the checks";
}

}  // namespace
}  // namespace ringside
