// Connections of the legacy protocol move like any other: old clients with commands half read and replies that wait for earlier ones, old servers with
// requests under way, in every state that one can be in between two turns; and a state that none can be in is refused.
#include <gtest/gtest.h>

#include <algorithm>

#include "native/codec/protobuf_fields.h"
#include "native/test/engine/handover.h"
#include "native/test/engine/old_peers.h"

namespace ringside {
namespace {

using namespace testing;

/// Two engines, an old client of the first and an old server behind it: `s` is served by an app, `old` by the old server.
struct OldHandover : Handover {
  OldServer old_server;
  uint16_t port;
  Plain client;

  explicit OldHandover(EngineOptions options = one_connection()) : Handover("s", options) {
    new_options = options;
    serve_also = [this](EngineBox& box) {
      box.apply(set_cluster(2, {old_server.endpoint()}, "old"), set_service("old"), set_flow("old", 2));
    };
    serve_also(*old_one);
    port = old_one->listen_tcp_port(LinkRole::kApp);
    client = connect_to(port);
  }
  static EngineOptions one_connection() {
    EngineOptions options;
    options.legacy_connections_per_instance = 1;
    return options;
  }
  void call_old(uint64_t id, std::string body, uint32_t timeout_ms = 0) {
    caller.send(request(id, {.service = "old", .method = "m"}, std::move(body), timeout_ms));
  }
  /// What the old server's only connection brought, when it is as much as this.
  std::string& asked(size_t bytes) {
    until([&] {
      old_server.receive();
      return !old_server.connections.empty() && old_server.connections[0].got.size() >= bytes;
    });
    return old_server.connections[0].got;
  }
  void expect_asked(const std::string& bytes) { EXPECT_EQ(std::exchange(asked(bytes.size()), {}), bytes); }
  void answer(std::string_view bytes) { old_server.connections[0].send(bytes); }
  void expect_answered(const std::string& bytes) {
    until([&] { return client.receive().size() >= bytes.size() || client.ended; });
    EXPECT_EQ(std::exchange(client.got, {}), bytes);
  }
  uint64_t held() { return new_one->stats().limits.at("legacyBytes").first; }
};

TEST(HandoffLegacyCaller, RepliesStayInTheOrderOfTheCommands) {
  OldHandover world;
  world.client.send(call("[1]") + "PING\r\n" + call("[2]") + call("[3]"));
  std::vector<WireFrame> requests;
  for (int i = 0; i < 3; i++) requests.push_back(world.at(world.server));
  world.server.send(response(requests[2].id(), "3"));
  world.old_one->turn(3);
  world.take_over();
  world.server.send(response(requests[1].id(), "2"));
  world.new_one->turn(3);
  EXPECT_EQ(world.client.receive(), "");
  EXPECT_GT(world.held(), 0u);
  world.server.send(response(requests[0].id(), "1"));
  world.expect_answered(bulk(ok("1")) + "+PONG\r\n" + bulk(ok("2")) + bulk(ok("3")));
  EXPECT_EQ(world.held(), 0u);
  world.client.send(call("[4]"));
  const WireFrame next = world.at(world.server);
  EXPECT_EQ(next.body, "[4]");
  world.server.send(response(next.id(), "4"));
  world.expect_answered(bulk(ok("4")));
  EXPECT_EQ(world.new_one->engine.counters().links_opened, 3u) << "counts go on";
  EXPECT_EQ(world.old_one->engine.counters().links_closed, 0u);
}

TEST(HandoffLegacyCaller, ATransactionIsQueuedHereAndRunsThere) {
  OldHandover world;
  world.client.send("MULTI\r\n" + call("[1]") + "PING\r\n");
  world.old_one->turn_until([&] { return world.client.receive().ends_with("+QUEUED\r\n+QUEUED\r\n"); });
  world.client.got.clear();
  world.take_over();
  EXPECT_GT(world.held(), 0u);
  world.client.send(call("[2]") + "EXEC\r\n");
  world.server.send(response(world.at(world.server).id(), "1"));
  world.server.send(response(world.at(world.server).id(), "2"));
  world.expect_answered("+QUEUED\r\n*3\r\n" + bulk(ok("1")) + "+PONG\r\n" + bulk(ok("2")));
  EXPECT_EQ(world.held(), 0u);
}

TEST(HandoffLegacyCaller, ATransactionThatHasBegunToRunGoesOn) {
  OldHandover world;
  std::string all;
  for (int i = 0; i < 1000; i++) all += call("[1]");
  all += "MULTI\r\n";
  for (int i = 0; i < 500; i++) all += call("[2]");
  world.client.send(all + "EXEC\r\n" + call("[3]"));
  // As many as may be under way: of the 1,000 some are answered, so that the transaction has begun.
  std::vector<WireFrame> asked;
  for (int i = 0; i < 1000; i++) asked.push_back(world.at(world.server));
  const auto answer_asked = [&](int from, int to) {
    for (int i = from; i < to; i++) {
      world.server.send(response(asked[i].id(), "0"));
      // A few at a time, as a socket takes only so many.
      if (i % 100 == 99) world.until([&] { return world.client.receive().size() >= bulk(ok("0")).size() * static_cast<size_t>(i + 1); });
    }
  };
  answer_asked(0, 600);
  world.old_one->turn_until([&] { world.server.receive(); return world.server.has_frame() && world.server.frames.back().body == "[2]"; });
  world.take_over();
  answer_asked(600, 1000);
  for (int i = 0; i < 501; i++) {
    const WireFrame next = world.at(world.server);
    EXPECT_EQ(next.body, i < 500 ? "[2]" : "[3]") << i;
    world.server.send(response(next.id(), "0"));
    world.new_one->turn(1);
  }
  const std::string one = bulk(ok("0"));
  std::string expected;
  for (int i = 0; i < 1000; i++) expected += one;
  expected += "+OK\r\n";
  for (int i = 0; i < 500; i++) expected += "+QUEUED\r\n";
  expected += "*500\r\n";
  for (int i = 0; i < 501; i++) expected += one;
  world.until([&] { return world.client.receive().size() >= expected.size() || world.client.ended; });
  EXPECT_TRUE(world.client.got == expected);
}

TEST(HandoffLegacyCaller, AHalfReadCommandIsReadOn) {
  for (const size_t size : {size_t{10}, size_t{300'000}}) {
    OldHandover world;
    const std::string args = "[\"" + std::string(size, 'x') + "\"]";
    const std::string whole = call(args);
    const size_t half = whole.size() / 2;
    for (size_t at = 0; at < half; at += 60'000) {
      world.client.send(std::string_view(whole).substr(at, std::min<size_t>(60'000, half - at)));
      world.old_one->turn(3);
    }
    world.take_over();
    EXPECT_EQ(world.held(), half);
    std::string body;
    size_t at = half;
    world.until([&] {
      const ssize_t n = ::send(world.client.fd.get(), whole.data() + at, whole.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) at += static_cast<size_t>(n);
      while (world.server.has_frame()) {
        const WireFrame frame = world.server.take();
        body += frame.body;
        WireFrame credit = control(FrameType::kCredit, frame.id());
        credit.fixed.value = static_cast<uint32_t>(frame.body.size());
        if (body.size() < args.size()) world.server.send(credit);
      }
      return body.size() >= args.size();
    });
    EXPECT_EQ(body, args);
  }
}

TEST(HandoffLegacyCaller, RepliesThatItHasNotReadLeaveInOrder) {
  OldHandover world;
  constexpr int kReplies = 100;
  const std::string large = "\"" + std::string(60'000, 'y') + "\"";
  for (int i = 0; i < kReplies; i++) {
    world.client.send(call("[]"));
    world.server.send(response(world.at(world.server).id(), large));
  }
  world.old_one->turn(5);
  world.take_over();
  EXPECT_GT(world.held(), 0u);
  std::string expected;
  for (int i = 0; i < kReplies; i++) expected += bulk(ok(large));
  world.expect_answered(expected);
  EXPECT_EQ(world.held(), 0u);
}

TEST(HandoffLegacyCaller, BodiesInPiecesGoOnWithTheirCredit) {
  OldHandover world;
  const std::string args = "[\"" + std::string(400'000, 'x') + "\"]";
  const std::string whole = call(args);
  for (size_t at = 0; at < whole.size(); at += 60'000) {
    world.client.send(std::string_view(whole).substr(at, 60'000));
    world.old_one->turn(3);
  }
  std::string body;
  uint64_t id = 0;
  const auto read_pieces = [&] {
    while (world.server.has_frame()) {
      const WireFrame frame = world.server.take();
      id = frame.id();
      body += frame.body;
    }
    return body.size();
  };
  world.until([&] { return read_pieces() == kStreamWindowBytes; });
  world.take_over();
  EXPECT_EQ(world.held(), args.size() - kStreamWindowBytes);
  WireFrame credit = control(FrameType::kCredit, id);
  credit.fixed.value = kStreamWindowBytes;
  world.server.send(credit);
  world.until([&] { return read_pieces() >= args.size(); });
  EXPECT_EQ(body, args);

}

TEST(HandoffLegacyCaller, AReplyInPiecesIsJoinedOn) {
  OldHandover world;
  world.client.send(call("[1]"));
  const uint64_t id = world.at(world.server).id();
  WireFrame first = response(id, std::string(65'536, ' '));
  first.fixed.flags = kFlagMore;
  first.fixed.value = 65'536 + 4;
  world.server.send(first);
  world.old_one->turn();
  world.take_over();
  EXPECT_EQ(world.held(), first.fixed.value);
  const WireFrame credit = world.at(world.server);
  EXPECT_EQ(credit.fixed.type, FrameType::kCredit);
  EXPECT_EQ(credit.fixed.value, 65'536u);
  WireFrame last = control(FrameType::kChunk, id);
  last.fixed.flags = kFlagReply;
  last.body = "true";
  world.server.send(last);
  world.expect_answered(bulk(ok(std::string(65'536, ' ') + "true")));
  EXPECT_EQ(world.held(), 0u);
}

TEST(HandoffLegacyCaller, WhoHasShownTheTokenNeedNotAgainAndOthersMust) {
  EngineOptions options;
  options.loopback_token = "secret-token";
  OldHandover world(options);
  Plain stranger = connect_to(world.port);
  world.client.send("AUTH secret-token\r\n");
  stranger.send("PING\r\n");
  world.until([&] { return !world.client.receive().empty() && !stranger.receive().empty(); });
  world.client.got.clear();
  stranger.got.clear();
  world.take_over();
  world.client.send("PING\r\n");
  world.expect_answered("+PONG\r\n");
  stranger.send("PING\r\n");
  world.until([&] { return !stranger.receive().empty(); });
  EXPECT_EQ(stranger.got.substr(0, 7), "-NOAUTH");
}

TEST(HandoffLegacyCaller, OneThatSaidQuitEndsBehindItsLastReply) {
  OldHandover world;
  world.client.send(call("[1]") + "QUIT\r\n");
  const WireFrame got = world.at(world.server);
  world.take_over();
  world.server.send(response(got.id(), "1"));
  world.until([&] {
    world.client.receive();
    return world.client.ended;
  });
  EXPECT_EQ(world.client.got, bulk(ok("1")) + "+OK\r\n");
  EXPECT_EQ(world.new_one->events.downs.back().reason, "the client said QUIT");
}

TEST(HandoffLegacyCaller, AQuestionToTheAgentItselfIsAskedAgain) {
  OldHandover world;
  world.client.send(get(R"({"action":"/service/lookup","params":{"m":"getService","args":["/service/x","redis"]}})"));
  world.until([&] { return !world.old_one->events.upcalls.empty(); });
  world.take_over();
  ASSERT_EQ(world.new_one->events.upcalls.size(), 1u);
  Resolve answer = resolve(world.new_one->events.upcalls[0].token, Resolve::Verdict::kAnswer);
  answer.body = "{}";
  world.new_one->apply(std::move(answer));
  world.expect_answered(bulk(ok("{}")));
}

TEST(HandoffLegacyCallee, ItsRequestsGoOnOneAfterTheOther) {
  OldHandover world;
  for (uint64_t id = 1; id <= 3; id++) world.call_old(id, "[" + std::to_string(id) + "]");
  world.expect_asked(call("[1]", "m", "old"));
  const std::string reply = bulk(ok("1"));
  world.answer(reply.substr(0, 10));
  world.old_one->turn(3);
  world.take_over();
  EXPECT_GT(world.held(), 0u);
  world.answer(reply.substr(10));
  EXPECT_EQ(world.at(world.caller).body, "1");
  world.expect_asked(call("[2]", "m", "old"));
  world.answer(bulk(ok("2")));
  const WireFrame second = world.at(world.caller);
  EXPECT_EQ(second.id(), 2u);
  EXPECT_EQ(second.body, "2");
  world.expect_asked(call("[3]", "m", "old"));
  world.answer(bulk(R"({"ec":502,"em":"no such method"})"));
  EXPECT_EQ(world.at(world.caller).code(), Code::kUnimplemented);
  EXPECT_EQ(world.held(), 0u);
  EXPECT_EQ(world.old_server.connections.size(), 1u);
  world.call_old(4, "[4]");
  world.expect_asked(call("[4]", "m", "old"));
  EXPECT_EQ(world.old_server.connections.size(), 1u) << "the pool has found its connection again";
}

TEST(HandoffLegacyCallee, ARequestThatItsServerDoesNotReadLeavesWhole) {
  OldHandover world;
  // More than a socket takes, in pieces, joined by then.
  const std::string args = "[\"" + std::string(7'000'000, 'x') + "\"]";
  Plain writer = connect_to(world.port);
  const std::string whole = call(args, "m", "old");
  const size_t pieces = (args.size() + kMaxFrameBodyBytes - 1) / kMaxFrameBodyBytes;
  size_t at = 0;
  world.until([&] {
    const ssize_t n = ::send(writer.fd.get(), whole.data() + at, whole.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) at += static_cast<size_t>(n);
    world.old_server.accept();
    return at == whole.size() && world.old_one->engine.counters().chunks == pieces - 1 && !world.old_server.connections.empty();
  });
  world.take_over();
  EXPECT_GT(world.held(), 0u);
  world.expect_asked(whole);
  world.answer(bulk(ok("true")));
  world.until([&] { return !writer.receive().empty(); });
  EXPECT_EQ(writer.got, bulk(ok("true")));
  EXPECT_EQ(world.held(), 0u);
}

TEST(HandoffLegacyCallee, ABodyInPiecesIsJoinedOn) {
  OldHandover world;
  WireFrame first = request(1, {.service = "old", .method = "m"}, "[\"" + std::string(1'000, 'a'));
  first.fixed.flags = kFlagMore;
  first.fixed.value = 2'004;
  world.caller.send(first);
  world.old_one->turn(5);
  world.take_over();
  EXPECT_EQ(world.held(), 2'004u);
  WireFrame rest = control(FrameType::kChunk, 1);
  rest.body = std::string(1'000, 'b') + "\"]";
  world.caller.send(rest);
  world.expect_asked(call("[\"" + std::string(1'000, 'a') + std::string(1'000, 'b') + "\"]", "m", "old"));
}

TEST(HandoffLegacyCallee, OneWhoseRequestTimesOutAfterwardsIsNotUsedAgain) {
  OldHandover world;
  world.call_old(1, "[1]", 50);
  world.call_old(2, "[2]", 5'000);
  world.expect_asked(call("[1]", "m", "old"));
  world.take_over();
  world.clock.advance_ms(60);
  EXPECT_EQ(world.at(world.caller).code(), Code::kDeadlineExceeded);
  // The one that waited behind it never left, so it goes over a fresh connection.
  world.until([&] {
    world.old_server.receive();
    return world.old_server.connections.size() == 2 && !world.old_server.connections[1].got.empty();
  });
  EXPECT_TRUE(world.old_server.connections[0].ended);
  EXPECT_EQ(world.old_server.connections[1].got, call("[2]", "m", "old"));
  world.old_server.connections[1].send(bulk(ok("2")));
  EXPECT_EQ(world.at(world.caller).body, "2");
}

TEST(HandoffLegacyCallee, OneThatStillConnectsHasRunNothing) {
  OldHandover world;
  // Nobody accepts, and there is room for one connection in the backlog.
  ASSERT_EQ(::listen(world.old_server.listening.fd.get(), 0), 0);
  Plain first = connect_to(world.old_server.listening.port), second = connect_to(world.old_server.listening.port);
  world.call_old(1, "[1]");
  world.old_one->turn(3);
  world.take_over();
  world.clock.advance_ms(1'001);
  const WireFrame answer = world.at(world.caller);
  EXPECT_EQ(answer.code(), Code::kUnavailable);
  EXPECT_TRUE(answer.not_run());
  EXPECT_NE(answer.text().find("timeouts.connectMs"), std::string::npos) << answer.text();
}

TEST(HandoffLegacyCallee, ConnectionsOverALowerBoundEndWithTheirRequests) {
  EngineOptions options;
  options.legacy_connections_per_instance = 2;
  OldHandover world(options);
  world.new_options.legacy_connections_per_instance = 1;
  world.call_old(1, "[1]");
  world.call_old(2, "[2]");
  world.until([&] {
    world.old_server.receive();
    const auto& all = world.old_server.connections;
    return all.size() == 2 && !all[0].got.empty() && !all[1].got.empty();
  });
  world.take_over();
  for (Plain& connection : world.old_server.connections) connection.send(bulk(ok("true")));
  EXPECT_EQ(world.at(world.caller).body, "true");
  EXPECT_EQ(world.at(world.caller).body, "true");
  const auto ended = [&] {
    world.old_server.receive();
    return std::count_if(world.old_server.connections.begin(), world.old_server.connections.end(), [](const Plain& one) { return one.ended; });
  };
  world.until([&] { return ended() == 1; });
  world.new_one->turn(3);
  EXPECT_EQ(ended(), 1);
}

TEST(HandoffLegacy, WhatIsHeldCountsAgainstALowerBoundUntilItIsGone) {
  OldHandover world;
  world.new_options.max_legacy_bytes = 128 << 10;
  const std::string whole = call("[\"" + std::string(250'000, 'x') + "\"]");
  for (size_t at = 0; at < 200'000; at += 50'000) {
    world.client.send(std::string_view(whole).substr(at, 50'000));
    world.old_one->turn(3);
  }
  Plain other = connect_to(world.port);
  other.send("PING\r\n");
  world.until([&] { return !other.receive().empty(); });
  world.take_over();
  EXPECT_EQ(world.held(), 200'000u);
  const std::string begin = call("[\"" + std::string(100'000, 'y') + "\"]").substr(0, 70'000);
  other.got.clear();
  other.send(begin.substr(0, 10));
  world.new_one->turn(3);
  other.send(begin.substr(10));
  world.until([&] {
    other.receive();
    return other.ended;
  });
  EXPECT_NE(other.got.find("limits.legacyBytes"), std::string::npos) << other.got;
  EXPECT_EQ(world.new_one->stats().counters.at("refused_legacy_full"), 1u);
}

TEST(HandoffLegacy, AnOlderBuildThatCannotTakeThemIsRefusedInWords) {
  EngineOptions options;
  options.oldest_handoff_version = 1;
  OldHandover world(options);
  world.new_options.handoff_version = world.new_options.oldest_handoff_version = 1;
  world.client.send(call("[1]"));
  const WireFrame got = world.at(world.server);
  world.ask();
  world.new_one->apply(TakeOverReady{});
  world.until([&] { return !world.new_one->events.handoff_failures.empty() && !world.old_one->events.handoff_failures.empty(); });
  for (const EngineBox* box : {world.old_one.get(), world.new_one.get()}) {
    EXPECT_NE(box->events.handoff_failures[0].find("connections of the legacy protocol"), std::string::npos) << box->events.handoff_failures[0];
  }
  world.server.send(response(got.id(), "1"));
  world.expect_answered(bulk(ok("1")));
}

}  // namespace
}  // namespace ringside
