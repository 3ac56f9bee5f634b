// The table of pending requests: replies by generation, requests by their sender's id, and both lists of links.
#include "native/engine/pending.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

namespace ringside {
namespace {

constexpr Handle kApp{1, 1};
constexpr Handle kPeer{2, 1};

std::set<uint32_t> slots_of(PendingTable& table, const PendingList& list, bool up) {
  std::set<uint32_t> slots;
  uint32_t previous = kNoPending;
  for (uint32_t at = list.head; at != kNoPending; at = up ? table.at(at).up_next : table.at(at).down_next) {
    EXPECT_EQ(up ? table.at(at).up_previous : table.at(at).down_previous, previous);
    EXPECT_TRUE(slots.insert(at).second) << "a circle";
    previous = at;
  }
  EXPECT_EQ(slots.size(), list.count);
  return slots;
}

TEST(Pending, AReplyFindsItsRequestOnceAndNeverASuccessor) {
  PendingTable table(1, 5);
  PendingList down;
  PendingList up;
  const uint32_t slot = table.open(kApp, 77, &down);
  ASSERT_NE(slot, kNoPending);
  table.attach_upstream(slot, kPeer, &up);
  const uint64_t id = table.request_id(slot);
  EXPECT_EQ(table.find_reply(id), slot);
  EXPECT_EQ(table.find_reply(id + (uint64_t{1} << 32)), kNoPending);
  EXPECT_EQ(table.find_reply(id + 1), kNoPending) << "beyond the table";
  EXPECT_EQ(table.find_reply(UINT64_MAX), kNoPending);
  table.close(slot, &down, &up);
  EXPECT_EQ(table.find_reply(id), kNoPending);

  ASSERT_EQ(table.open(kApp, 78, &down), slot) << "the slot is in use again";
  EXPECT_EQ(table.find_reply(id), kNoPending) << "a late reply must not answer another request";
  EXPECT_NE(table.request_id(slot), id);
}

TEST(Pending, GenerationsSkipZeroWhenTheyWrap) {
  PendingTable table(1, 5);
  PendingList down;
  const uint32_t slot = table.open(kApp, 1, &down);
  table.at(slot).generation = UINT32_MAX;
  table.close(slot, &down, nullptr);
  EXPECT_EQ(table.at(slot).generation, 1u);
}

TEST(Pending, AFullTableOpensNothing) {
  PendingTable table(3, 5);
  PendingList down;
  for (uint64_t id = 0; id < 3; id++) ASSERT_NE(table.open(kApp, id, &down), kNoPending);
  EXPECT_EQ(table.open(kApp, 3, &down), kNoPending);
  EXPECT_EQ(down.count, 3u);
  EXPECT_EQ(table.size(), 3u);
  table.close(table.find_request(kApp, 1), &down, nullptr);
  EXPECT_NE(table.open(kApp, 3, &down), kNoPending);
}

TEST(Pending, RequestsAreToldApartByLinkGenerationAndId) {
  PendingTable table(10, 5);
  PendingList down;
  const uint32_t a = table.open(kApp, 1, &down);
  const uint32_t b = table.open(Handle{kApp.slot, 2}, 1, &down);
  const uint32_t c = table.open(kApp, 2, &down);
  EXPECT_EQ(table.find_request(kApp, 1), a);
  EXPECT_EQ(table.find_request(Handle{kApp.slot, 2}, 1), b);
  EXPECT_EQ(table.find_request(kApp, 2), c);
  EXPECT_EQ(table.find_request(kPeer, 1), kNoPending);
}

TEST(Pending, AnIdOpenedTwiceIsFoundUntilBothAreClosed) {
  PendingTable table(10, 5);
  PendingList down;
  const uint32_t a = table.open(kApp, 1, &down);
  const uint32_t b = table.open(kApp, 1, &down);
  table.close(a, &down, nullptr);
  EXPECT_EQ(table.find_request(kApp, 1), b);
  table.close(b, &down, nullptr);
  EXPECT_EQ(table.find_request(kApp, 1), kNoPending);
}

TEST(Pending, RandomRequestsAgreeWithAModel) {
  constexpr uint32_t kCapacity = 200;
  constexpr uint32_t kLinks = 6;
  struct Open {
    Handle down;
    uint64_t id;
    int up = -1;
    uint64_t request_id;
  };
  std::mt19937 random(11);
  PendingTable table(kCapacity, 42);
  std::vector<PendingList> down(kLinks);
  std::vector<PendingList> up(kLinks);
  std::map<uint32_t, Open> model;
  std::vector<uint64_t> dead_ids;
  uint64_t next_id = 1;
  const auto link_of = [](uint32_t i) { return Handle{i, 1 + i}; };
  for (int step = 0; step < 100'000; step++) {
    const uint32_t what = random() % 10;
    if (what < 4) {
      const uint32_t link = random() % kLinks;
      const uint64_t id = next_id++ * (random() % 2 ? 1 : 1ull << 32);
      const uint32_t slot = table.open(link_of(link), id, &down[link]);
      ASSERT_EQ(slot == kNoPending, model.size() == kCapacity);
      if (slot == kNoPending) continue;
      ASSERT_FALSE(model.contains(slot));
      model[slot] = Open{link_of(link), id, -1, table.request_id(slot)};
    } else if (!model.empty()) {
      auto at = model.lower_bound(random() % kCapacity);
      if (at == model.end()) at = model.begin();
      auto& [slot, open] = *at;
      if (what < 6 && open.up < 0) {
        open.up = static_cast<int>(random() % kLinks);
        table.attach_upstream(slot, link_of(static_cast<uint32_t>(open.up)), &up[static_cast<size_t>(open.up)]);
      } else if (what == 6 && open.up >= 0) {
        table.detach_upstream(slot, &up[static_cast<size_t>(open.up)]);
        open.up = -1;
      } else if (what > 6) {
        dead_ids.push_back(open.request_id);
        table.close(slot, &down[open.down.slot], open.up < 0 ? nullptr : &up[static_cast<size_t>(open.up)]);
        ASSERT_EQ(table.find_request(open.down, open.id), kNoPending);
        model.erase(at);
      }
    }
    ASSERT_EQ(table.size(), model.size());
    if (step % 500 != 0) continue;
    std::vector<std::set<uint32_t>> downs(kLinks);
    std::vector<std::set<uint32_t>> ups(kLinks);
    for (const auto& [slot, open] : model) {
      ASSERT_EQ(table.find_request(open.down, open.id), slot);
      ASSERT_EQ(table.find_reply(open.request_id), slot);
      downs[open.down.slot].insert(slot);
      if (open.up >= 0) ups[static_cast<size_t>(open.up)].insert(slot);
    }
    for (const uint64_t id : dead_ids) ASSERT_EQ(table.find_reply(id), kNoPending);
    dead_ids.clear();
    for (uint32_t i = 0; i < kLinks; i++) {
      ASSERT_EQ(slots_of(table, down[i], false), downs[i]);
      ASSERT_EQ(slots_of(table, up[i], true), ups[i]);
    }
  }
}

}  // namespace
}  // namespace ringside
