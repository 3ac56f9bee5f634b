// Requests that wait for a decision: chains of the same question, taking one out anywhere, and the bound on bytes.
#include "native/engine/parked.h"

#include <gtest/gtest.h>

#include <random>

#include "native/base/bytes.h"
#include "native/codec/frame.h"

namespace ringside {
namespace {

constexpr Handle kSender{3, 1};

std::vector<uint8_t> frame(uint64_t id, size_t bytes = kFixedBytes) {
  std::vector<uint8_t> out(bytes);
  FixedPart fixed;
  fixed.request_id = id;
  fixed.body_bytes = static_cast<uint32_t>(bytes - kFixedBytes);
  encode_fixed(fixed, out.data());
  return out;
}

TEST(Parked, RequestsWithTheSameKeyShareAnUpcallInOrder) {
  ParkedTable table(10, 1000);
  const uint32_t upcall = table.open_upcall(UpcallKind::kMiss, "key");
  EXPECT_EQ(table.find_upcall("key"), upcall);
  EXPECT_EQ(table.find_upcall("other"), UINT32_MAX);
  std::vector<uint32_t> slots;
  for (uint64_t id = 0; id < 4; id++) slots.push_back(table.park(upcall, kSender, frame(id)));
  const Handle token = table.token(upcall);
  EXPECT_TRUE(table.is_open(token));
  EXPECT_EQ(table.close_upcall(upcall), slots);
  EXPECT_FALSE(table.is_open(token));
  EXPECT_EQ(table.find_upcall("key"), UINT32_MAX);
  EXPECT_EQ(table.size(), 4u) << "they are still parked";
  for (const uint32_t slot : slots) table.remove(slot);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.bytes(), 0u);
}

TEST(Parked, OnesTakenOutAtEitherEndOrInTheMiddleLeaveTheChainWhole) {
  for (int gone = 0; gone < 3; gone++) {
    ParkedTable table(10, 1000);
    const uint32_t upcall = table.open_upcall(UpcallKind::kMiss, "key");
    std::vector<uint32_t> slots;
    for (uint64_t id = 0; id < 3; id++) slots.push_back(table.park(upcall, kSender, frame(id)));
    table.remove(slots[static_cast<size_t>(gone)]);
    slots.erase(slots.begin() + gone);
    slots.push_back(table.park(upcall, kSender, frame(9)));
    EXPECT_EQ(table.close_upcall(upcall), slots) << gone;
  }
}

TEST(Parked, TheLastRequestTakesItsUpcallWithIt) {
  ParkedTable table(2, 1000);
  const uint32_t upcall = table.open_upcall(UpcallKind::kMiss, "key");
  const Handle token = table.token(upcall);
  const uint32_t a = table.park(upcall, kSender, frame(1));
  const uint32_t b = table.park(upcall, kSender, frame(2));
  table.remove(a);
  EXPECT_TRUE(table.is_open(token));
  table.remove(b);
  EXPECT_FALSE(table.is_open(token));
  EXPECT_EQ(table.find_upcall("key"), UINT32_MAX);
  const uint32_t again = table.open_upcall(UpcallKind::kMiss, "key");
  table.park(again, kSender, frame(3));
  EXPECT_FALSE(table.is_open(token)) << "a decision on the first question is stale";
  EXPECT_TRUE(table.is_open(table.token(again)));
}

TEST(Parked, OnlyMissesAreFoundByKey) {
  ParkedTable table(4, 1000);
  const uint32_t filter = table.open_upcall(UpcallKind::kFilter, "");
  table.park(filter, kSender, frame(1));
  const uint32_t control = table.open_upcall(UpcallKind::kControl, "");
  const uint32_t slot = table.park(control, kSender, frame(2));
  EXPECT_EQ(table.find_upcall(""), UINT32_MAX);
  const uint32_t miss = table.open_upcall(UpcallKind::kMiss, "");
  table.park(miss, kSender, frame(3));
  table.remove(slot);
  EXPECT_EQ(table.find_upcall(""), miss);
}

TEST(Parked, NumberAndBytesAreBounded) {
  ParkedTable table(3, 1000);
  EXPECT_TRUE(table.has_room(1000));
  EXPECT_FALSE(table.has_room(1001));
  const uint32_t upcall = table.open_upcall(UpcallKind::kMiss, "key");
  const uint32_t a = table.park(upcall, kSender, frame(1, 600));
  EXPECT_EQ(table.bytes(), 600u);
  EXPECT_TRUE(table.has_room(400));
  EXPECT_FALSE(table.has_room(401));
  const std::vector<uint8_t> piece = frame(1, 100);
  EXPECT_TRUE(table.append(a, piece.data(), kFixedBytes, piece.data() + kFixedBytes, 100 - kFixedBytes));
  EXPECT_EQ(table.bytes(), 700u);
  EXPECT_EQ(table.at(a).frame.size(), 700u);
  const std::vector<uint8_t> large = frame(1, 301);
  EXPECT_FALSE(table.append(a, large.data(), kFixedBytes, large.data() + kFixedBytes, 301 - kFixedBytes));
  EXPECT_EQ(table.bytes(), 700u);
  EXPECT_EQ(table.at(a).frame.size(), 700u) << "nothing of it was taken";
  table.park(upcall, kSender, frame(2));
  table.park(upcall, kSender, frame(3));
  EXPECT_FALSE(table.has_room(1)) << "as many as there may be";
  table.remove(a);
  EXPECT_EQ(table.bytes(), 2 * kFixedBytes);
  EXPECT_TRUE(table.has_room(1000 - 2 * kFixedBytes));
}

TEST(Parked, ARequestIsFoundByLinkAndId) {
  ParkedTable table(4, 1000);
  const uint32_t upcall = table.open_upcall(UpcallKind::kMiss, "key");
  const uint32_t a = table.park(upcall, kSender, frame(5));
  const uint32_t b = table.park(upcall, Handle{3, 2}, frame(5));
  EXPECT_EQ(table.find_request(kSender, 5), a);
  EXPECT_EQ(table.find_request(Handle{3, 2}, 5), b);
  EXPECT_EQ(table.find_request(kSender, 6), kNoHeld);
  table.remove(a);
  EXPECT_EQ(table.find_request(kSender, 5), kNoHeld);
}

TEST(Parked, RandomComingsAndGoingsAgreeWithAModel) {
  constexpr uint32_t kCapacity = 40;
  constexpr uint64_t kBytes = 4000;
  std::mt19937 random(5);
  ParkedTable table(kCapacity, kBytes);
  std::vector<std::vector<uint32_t>> chains(6);  // by key
  std::vector<uint32_t> upcalls(chains.size(), UINT32_MAX);
  uint64_t bytes = 0;
  size_t count = 0;
  for (int i = 0; i < 50'000; i++) {
    const size_t key = random() % chains.size();
    std::vector<uint32_t>& chain = chains[key];
    const size_t what = random() % 8;
    if (what < 5) {
      const size_t n = kFixedBytes + random() % 150;
      ASSERT_EQ(table.has_room(n), count < kCapacity && bytes + n <= kBytes);
      if (!table.has_room(n)) continue;
      const uint32_t found = table.find_upcall(std::to_string(key));
      ASSERT_EQ(found == UINT32_MAX, chain.empty());
      upcalls[key] = chain.empty() ? table.open_upcall(UpcallKind::kMiss, std::to_string(key)) : found;
      chain.push_back(table.park(upcalls[key], kSender, frame(1, n)));
      bytes += n;
      count++;
    } else if (what < 7 && !chain.empty()) {
      const size_t at = random() % chain.size();
      bytes -= table.at(chain[at]).frame.size();
      count--;
      table.remove(chain[at]);
      chain.erase(chain.begin() + static_cast<std::ptrdiff_t>(at));
    } else if (!chain.empty()) {
      ASSERT_EQ(table.close_upcall(upcalls[key]), chain);
      for (const uint32_t slot : chain) {
        bytes -= table.at(slot).frame.size();
        count--;
        table.remove(slot);
      }
      chain.clear();
    }
    ASSERT_EQ(table.bytes(), bytes);
    ASSERT_EQ(table.size(), count);
  }
}

}  // namespace
}  // namespace ringside
