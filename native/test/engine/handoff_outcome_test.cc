// What came of a handoff, and that both sides agree on it: versions that do not fit, a new process that hangs in the freeze, and the race at the
// deadline, where the last word of one side crosses the shutdown of the other.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <random>
#include <thread>

#include "native/codec/protobuf_fields.h"
#include "native/engine/handoff.h"
#include "native/test/engine/handover.h"

namespace ringside {
namespace {

using namespace testing;

/// An engine of another build: it reads and writes these versions of the state.
EngineOptions build(uint32_t oldest, uint32_t newest) {
  EngineOptions options;
  options.oldest_handoff_version = oldest;
  options.handoff_version = newest;
  return options;
}

void expect_taken_over(const EngineOptions& old_one, const EngineOptions& new_one) {
  Handover world("s", old_one);
  world.new_options = new_one;
  world.take_over();
  world.call(1);
  world.at(world.server);
}

TEST(HandoffVersions, ANewerBuildReadsTheVersionBefore) { expect_taken_over(build(1, 1), build(1, 2)); }

TEST(HandoffVersions, ADowngradeIsServedInTheVersionBefore) { expect_taken_over(build(1, 2), build(1, 1)); }

TEST(HandoffVersions, WhatNoneOfBothKnowsIsRefusedInWords) {
  const struct {
    EngineOptions old_one, new_one;
    std::string words;
  } cases[] = {{build(2, 3), build(1, 1), "writes state versions 2 to 3, the new process reads 1 to 1"},
               {build(1, 2), build(3, 4), "writes state versions 1 to 2, the new process reads 3 to 4"}};
  for (const auto& [old_one, new_one, words] : cases) {
    Handover world("s", old_one);
    world.new_one = std::make_unique<EngineBox>(new_one, &world.clock);
    world.new_one->apply(TakeOver{world.path(), "test", 10'000});
    world.until([&] { return world.new_one->events.handoff_failures.size() == 1; });
    EXPECT_NE(world.new_one->events.handoff_failures[0].find(words), std::string::npos) << world.new_one->events.handoff_failures[0];
    EXPECT_TRUE(world.old_one->events.asked.empty()) << "TypeScript need not even know";
    world.call(1);
    world.at(world.server);
  }
}

TEST(HandoffVersions, AnOfferInAnUnknownVersionIsTurnedDown) {
  Handover world("s", build(1, 9));
  world.new_one = std::make_unique<EngineBox>(build(1, 1), &world.clock);
  // As an old agent would that did not look at what it was told.
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
  HandoffTaker taker(&world.new_one->engine, UniqueFd(ends[0]));
  HandoffSocket old_side{UniqueFd(ends[1])};
  taker.begin("test");
  HandoffMessage offer;
  offer.step = HandoffStep::kOffer;
  offer.version = 2;
  ASSERT_TRUE(old_side.send(offer));
  taker.on_readable();
  EXPECT_TRUE(taker.over());
  world.new_one->turn();
  ASSERT_EQ(world.new_one->events.handoff_failures.size(), 1u);
  EXPECT_NE(world.new_one->events.handoff_failures[0].find("this one reads 1 to 1"), std::string::npos);
}

TEST(HandoffVersions, FieldsOfALaterBuildAreSkipped) {
  Handover world;
  const EngineState state = world.old_one->engine.export_state();
  const std::string bytes = encode_fields(state);
  EngineState read;
  ASSERT_TRUE(decode_fields(bytes + std::string("\xf8\x07\x2a\xfa\x07\x03xyz"), &read));  // 127: 42, and 127: "xyz"
  EXPECT_EQ(encode_fields(read), bytes);
}

TEST(HandoffOutcome, ANewProcessThatHangsInTheFreezeIsNotWaitedForLong) {
  Handover world;
  world.call(81);
  const WireFrame got = world.at(world.server);
  RawTaker taker(world.path());
  taker.say(HandoffStep::kHello);
  world.until([&] { return !world.old_one->events.asked.empty(); });
  world.old_one->apply(OfferHandoff{"", 30});
  EXPECT_EQ(taker.hear(world).step, HandoffStep::kOffer);
  taker.say(HandoffStep::kReady);
  EXPECT_EQ(taker.hear(world).step, HandoffStep::kDescriptors);
  taker.say(HandoffStep::kReceived);
  world.until([&] { return world.old_one->events.handoff_failures.size() == 1; });
  HandoffMessage late;
  late.step = HandoffStep::kTaken;
  EXPECT_FALSE(taker.socket.send(late)) << "what cannot count must not be sent";
  world.server.send(response(got.id(), "thawed"));
  EXPECT_EQ(world.at(world.caller).body, "thawed");
}

TEST(HandoffOutcome, BothAgreeInTheRaceAtTheDeadline) {
  constexpr int kRounds = 2'000;
  constexpr uint32_t kFreezeMs = 1;
  std::mt19937_64 random(20'261'121);
  std::uniform_int_distribution<int> delay_us(0, 2'000 * kFreezeMs);
  int taken = 0, kept = 0;
  // Two thousand worlds: tables of the usual size would take most of the time.
  EngineOptions small;
  small.max_links = 16;
  small.max_pending = 16;
  small.max_parked = 16;
  small.max_flows = 16;
  small.max_clusters = 16;
  small.max_records = 16;
  auto world = std::make_unique<Handover>("s", small);
  for (int round = 0; round < kRounds; round++) {
    const auto delay = std::chrono::microseconds(delay_us(random));
    world->old_one->events.asked.clear();
    world->old_one->events.handoff_failures.clear();
    RawTaker taker(world->path());
    taker.say(HandoffStep::kHello);
    world->until([&] { return !world->old_one->events.asked.empty(); });
    world->old_one->apply(OfferHandoff{"", kFreezeMs});
    ASSERT_EQ(taker.hear(*world).step, HandoffStep::kOffer);
    taker.say(HandoffStep::kReady);
    ASSERT_EQ(taker.hear(*world).step, HandoffStep::kDescriptors);
    taker.say(HandoffStep::kReceived);
    bool sent = false;
    std::thread new_process([&] {
      HandoffMessage message;
      ReceivedFds fds;
      if (!taker.socket.wait_readable(10'000 * kNsPerMs) || taker.socket.receive(&message, &fds) != HandoffRead::kMessage) return;
      const auto frozen = std::chrono::steady_clock::now();
      while (std::chrono::steady_clock::now() - frozen < delay) std::this_thread::yield();
      HandoffMessage commit;
      commit.step = HandoffStep::kTaken;
      sent = taker.socket.send(commit);
    });
    world->until([&] { return world->old_one->events.handed_over + world->old_one->events.handoff_failures.size() > 0; });
    new_process.join();
    ASSERT_EQ(sent, world->old_one->events.handed_over == 1) << "round " << round << ", " << delay.count() << " us";
    (sent ? taken : kept)++;
    if (sent) world = std::make_unique<Handover>("s", small);
  }
  EXPECT_GT(taken, 0);
  EXPECT_GT(kept, 0);
}

}  // namespace
}  // namespace ringside
