// The heap of deadlines against a std::multimap that does the same slowly, under random operations.
#include "native/engine/timers.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

namespace ringside {
namespace {

TEST(Timers, AnEmptyHeapNeverExpires) {
  TimerHeap heap;
  EXPECT_EQ(heap.next_ns(), INT64_MAX);
  EXPECT_EQ(heap.pop_expired(INT64_MAX), nullptr);
  TimerNode node;
  heap.clear(&node);
  EXPECT_EQ(heap.size(), 0u);
}

TEST(Timers, PopsInOrderOfDeadlineAndOnlyWhatIsDue) {
  TimerHeap heap;
  std::vector<TimerNode> nodes(3);
  heap.set(&nodes[0], 30);
  heap.set(&nodes[1], 10);
  heap.set(&nodes[2], 20);
  EXPECT_EQ(heap.next_ns(), 10);
  EXPECT_EQ(heap.pop_expired(9), nullptr);
  EXPECT_EQ(heap.pop_expired(20), &nodes[1]);
  EXPECT_EQ(heap.pop_expired(20), &nodes[2]);
  EXPECT_EQ(heap.pop_expired(20), nullptr);
  EXPECT_TRUE(nodes[0].armed());
  EXPECT_FALSE(nodes[1].armed());
}

TEST(Timers, SettingAgainMovesInBothDirections) {
  TimerHeap heap;
  std::vector<TimerNode> nodes(2);
  heap.set(&nodes[0], 10);
  heap.set(&nodes[1], 20);
  heap.set(&nodes[0], 30);
  EXPECT_EQ(heap.next_ns(), 20);
  heap.set(&nodes[0], 5);
  EXPECT_EQ(heap.pop_expired(100), &nodes[0]);
  EXPECT_EQ(heap.size(), 1u);
}

TEST(Timers, RandomOperationsAgreeWithAMultimap) {
  constexpr size_t kNodes = 300;
  std::mt19937 random(7);
  TimerHeap heap;
  std::vector<TimerNode> nodes(kNodes);
  std::multimap<int64_t, TimerNode*> model;
  const auto forget = [&](TimerNode* node) {
    for (auto [at, end] = model.equal_range(node->deadline_ns); at != end; ++at) {
      if (at->second == node) {
        model.erase(at);
        return;
      }
    }
  };
  int64_t now = 0;
  for (int i = 0; i < 100'000; i++) {
    TimerNode* node = &nodes[random() % kNodes];
    switch (random() % 4) {
      case 0:
      case 1: {
        if (node->armed()) forget(node);
        const int64_t deadline = now + random() % 1000;
        heap.set(node, deadline);
        model.emplace(deadline, node);
        break;
      }
      case 2:
        if (node->armed()) forget(node);
        heap.clear(node);
        break;
      default:
        now += random() % 20;
        while (TimerNode* due = heap.pop_expired(now)) {
          ASSERT_FALSE(model.empty());
          ASSERT_EQ(due->deadline_ns, model.begin()->first);  // of equal ones any may be first
          forget(due);
          ASSERT_FALSE(due->armed());
        }
        ASSERT_TRUE(model.empty() || model.begin()->first > now);
    }
    ASSERT_EQ(heap.size(), model.size());
    ASSERT_EQ(heap.next_ns(), model.empty() ? INT64_MAX : model.begin()->first);
  }
  std::set<TimerNode*> armed;
  for (const auto& [deadline, node] : model) armed.insert(node);
  for (TimerNode& node : nodes) EXPECT_EQ(node.armed(), armed.contains(&node));
}

}  // namespace
}  // namespace ringside
