// Addresses of other agents: shared by their instances, and left alone for a while after a failure.
#include "native/engine/upstreams.h"

#include <gtest/gtest.h>

namespace ringside {
namespace {

TEST(Upstreams, AnAddressIsSharedAndFreedWithItsLastUser) {
  Upstreams table;
  const uint32_t a = table.acquire("127.0.0.1:80", LinkProtocol::kMesh);
  EXPECT_EQ(table.acquire("127.0.0.1:80", LinkProtocol::kMesh), a);
  const uint32_t b = table.acquire("[::1]:80", LinkProtocol::kMesh);
  EXPECT_NE(a, b);
  EXPECT_FALSE(table.release(a));
  EXPECT_TRUE(table.release(a));
  table.at(b).failures = 3;
  const uint32_t c = table.acquire("127.0.0.2:80", LinkProtocol::kMesh);
  EXPECT_EQ(c, a) << "the slot is used again";
  EXPECT_EQ(table.at(c).failures, 0u);
  EXPECT_EQ(table.at(c).address, "127.0.0.2:80");
}

TEST(Upstreams, APathIsTheAddressOfAUnixSocket) {
  Upstreams table;
  const uint32_t slot = table.acquire("/run/app.sock", LinkProtocol::kLegacy);
  ASSERT_NE(slot, UINT32_MAX);
  EXPECT_TRUE(table.at(slot).socket_address.is_unix());
  EXPECT_NE(table.acquire("/" + std::string(106, 'x'), LinkProtocol::kMesh), UINT32_MAX);
  EXPECT_EQ(table.acquire("/" + std::string(107, 'x'), LinkProtocol::kMesh), UINT32_MAX) << "a socket's address ends with a zero";
}

TEST(Upstreams, WhatIsNoAddressIsRefused) {
  Upstreams table;
  for (const char* text : {"", ":", "80", "localhost:80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:8x",
                           "[::1]", "[::1:80", "127.0.0.1:-1", "1.2.3:80"}) {
    EXPECT_EQ(table.acquire(text, LinkProtocol::kMesh), UINT32_MAX) << text;
  }
}

TEST(Upstreams, TheWaitDoublesUpToFiveSecondsAndAtMostHalfIsTakenOff) {
  constexpr int64_t kNow = 1'000'000'000;
  for (uint64_t seed = 1; seed <= 50; seed++) {
    Random random(seed);
    Upstreams table;
    const uint32_t slot = table.acquire("127.0.0.1:80", LinkProtocol::kMesh);
    int64_t ceiling_ms = 50;
    for (int failure = 0; failure < 40; failure++) {
      table.failed(slot, "why", 0, kNow, &random);
      const int64_t wait_ms = (table.at(slot).next_attempt_ns - kNow) / kNsPerMs;
      ASSERT_GE(wait_ms, ceiling_ms / 2) << failure;
      ASSERT_LE(wait_ms, ceiling_ms) << failure;
      ceiling_ms = std::min<int64_t>(ceiling_ms * 2, 5000);
    }
    EXPECT_EQ(table.at(slot).last_error, "why");
    table.connected(slot);
    EXPECT_EQ(table.at(slot).last_error, "");
    table.failed(slot, "at once", 4'000 * kNsPerMs, kNow, &random);
    EXPECT_GE(table.at(slot).next_attempt_ns, kNow + 2500 * kNsPerMs) << "a peer that lets in and breaks off is no better";
    table.connected(slot);
    table.failed(slot, "again", 5'001 * kNsPerMs, kNow, &random);
    EXPECT_LE(table.at(slot).next_attempt_ns, kNow + 50 * kNsPerMs);
  }
}

TEST(Upstreams, WaitsAreJittered) {
  std::vector<int64_t> waits;
  Random random(1);
  Upstreams table;
  const uint32_t slot = table.acquire("127.0.0.1:80", LinkProtocol::kMesh);
  for (int i = 0; i < 30; i++) {
    table.failed(slot, "", 0, 0, &random);
    if (i >= 8) waits.push_back(table.at(slot).next_attempt_ns);
  }
  std::sort(waits.begin(), waits.end());
  EXPECT_GT(waits.back() - waits.front(), 1000 * kNsPerMs);
}

}  // namespace
}  // namespace ringside
