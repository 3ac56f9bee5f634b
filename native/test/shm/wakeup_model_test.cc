// Every interleaving of a producer and a consumer, their store buffers and their doorbells: no wake-up is lost, and
// each fence, each re-check and the order of clearing a doorbell is needed, since the model loses one without it.
#include <gtest/gtest.h>

#include <ostream>

#include "native/test/shm/wakeup_model.h"

namespace ringside {
namespace {

using testing::Explorer;
using testing::Memory;
using testing::Model;
using testing::Verdict;

constexpr Memory kMemories[] = {Memory::kSequential, Memory::kTso, Memory::kPso};

Verdict explore(Memory memory, uint32_t mutations, uint8_t records, uint8_t capacity) {
  Model model;
  model.memory = memory;
  model.mutations = mutations;
  model.records = records;
  model.capacity = capacity;
  return Explorer(model).explore();
}

// Over small sizes, because a lost wake-up may need a certain one to show.
bool loses_wakeup(Memory memory, uint32_t mutations) {
  for (uint8_t capacity = 1; capacity <= 2; ++capacity) {
    for (uint8_t records = 1; records <= 3; ++records) {
      if (explore(memory, mutations, records, capacity).lost_wakeup) return true;
    }
  }
  return false;
}

TEST(WakeupModel, NoWakeupIsEverLost) {
  for (const Memory memory : kMemories) {
    for (uint8_t capacity = 1; capacity <= 3; ++capacity) {
      for (uint8_t records = 1; records <= 4; ++records) {
        const Verdict verdict = explore(memory, testing::kNone, records, capacity);
        EXPECT_FALSE(verdict.lost_wakeup) << int(memory) << ' ' << int(records) << ' ' << int(capacity);
        EXPECT_FALSE(verdict.overran) << int(memory) << ' ' << int(records) << ' ' << int(capacity);
        EXPECT_TRUE(verdict.finished);
        EXPECT_GT(verdict.states, 10u);
      }
    }
  }
}

struct Needed {
  testing::Mutation without;
  const char* name;
  bool even_sequentially;  // shows without any store buffer
};
void PrintTo(const Needed& needed, std::ostream* out) { *out << needed.name; }

class WakeupModelNeeds : public ::testing::TestWithParam<Needed> {};

TEST_P(WakeupModelNeeds, ElseAWakeupIsLost) {
  const Needed& needed = GetParam();
  EXPECT_EQ(loses_wakeup(Memory::kSequential, needed.without), needed.even_sequentially);
  EXPECT_TRUE(loses_wakeup(Memory::kTso, needed.without));
  EXPECT_TRUE(loses_wakeup(Memory::kPso, needed.without));
}

INSTANTIATE_TEST_SUITE_P(
    EachStep, WakeupModelNeeds,
    ::testing::Values(Needed{testing::kNoFenceAfterHead, "FenceAfterHead", false},
                      Needed{testing::kNoFenceAfterWaiting, "FenceAfterWaiting", false},
                      Needed{testing::kNoRecheckOfHead, "RecheckOfHead", true},
                      Needed{testing::kNoFenceAfterTail, "FenceAfterTail", false},
                      Needed{testing::kNoFenceAfterWanted, "FenceAfterWanted", false},
                      Needed{testing::kNoRecheckOfTail, "RecheckOfTail", true},
                      Needed{testing::kClearsBellAfterArming, "ClearingTheBellBeforeArming", true},
                      Needed{testing::kSleepsUnarmed, "ArmingBeforeEverySleep", true},
                      Needed{testing::kWaitsWithUnpublished, "PublishingBeforeWaitingForSpace", true},
                      Needed{testing::kLooksBeforeHead, "LookingAtTheFlagAfterPublishing", true}),
    [](const auto& needed) { return needed.param.name; });

}  // namespace
}  // namespace ringside
