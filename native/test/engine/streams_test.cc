// Bodies in pieces through one engine: pieces and credit in both directions, every way a stream can end, and what hostile
// ends may try.
#include <gtest/gtest.h>

#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

WireFrame first_piece(uint64_t id, uint32_t whole, size_t piece) {
  WireFrame frame = request(id, {.service = "s"}, std::string(piece, 'a'));
  frame.fixed.flags = kFlagMore;
  frame.fixed.value = whole;
  return frame;
}
WireFrame chunk(uint64_t id, size_t bytes, bool more, bool reply = false) {
  WireFrame frame = control(FrameType::kChunk, id);
  frame.fixed.flags = static_cast<uint8_t>((more ? kFlagMore : 0) | (reply ? kFlagReply : 0));
  frame.body = std::string(bytes, 'b');
  return frame;
}
WireFrame credit(uint64_t id, uint32_t bytes, bool reply = false) {
  WireFrame frame = control(FrameType::kCredit, id);
  frame.fixed.flags = reply ? kFlagReply : 0;
  frame.fixed.value = bytes;
  return frame;
}
WireFrame first_reply(uint64_t id, uint32_t whole, size_t piece) {
  WireFrame frame = response(id, std::string(piece, 'r'));
  frame.fixed.flags = kFlagMore;
  frame.fixed.value = whole;
  return frame;
}

struct Streams : Mesh {
  Wire server_wire;
  explicit Streams(EngineOptions options = {}) : Mesh(std::move(options)) {
    server_wire = server("server");
    serve_by({"server"});
  }
  void send(const WireFrame& frame) {
    caller.send(frame);
    box.turn();
  }
  void reply(const WireFrame& frame) {
    server_wire.send(frame);
    box.turn();
  }
  void expect_nothing_left() {
    const Stats stats = box.stats();
    EXPECT_EQ(stats.limits.at("pending").first, 0u);
    EXPECT_EQ(stats.limits.at("parked").first, 0u);
    EXPECT_EQ(stats.limits.at("parkedBytes").first, 0u);
  }
};

TEST(StreamedBodies, PassInBothDirectionsWithCreditTheOtherWay) {
  Streams f;
  f.send(first_piece(5, 150'000, 60'000));
  f.send(chunk(5, 60'000, true));
  WireFrame got = f.server_wire.take();
  EXPECT_EQ(got.fixed.value, 150'000u);
  const uint64_t id = got.id();
  got = f.server_wire.take();
  EXPECT_EQ(got.fixed.type, FrameType::kChunk);
  EXPECT_EQ(got.id(), id);
  f.reply(credit(id, 100'000));
  got = f.caller.take();
  EXPECT_EQ(got.fixed.type, FrameType::kCredit);
  EXPECT_EQ(got.id(), 5u);
  EXPECT_EQ(got.fixed.value, 100'000u);
  f.send(chunk(5, 30'000, false));
  EXPECT_EQ(f.server_wire.take().body.size(), 30'000u);

  f.reply(first_reply(id, 100'000, 50'000));
  f.reply(chunk(id, 50'000, false, true));
  got = f.caller.take();
  EXPECT_EQ(got.id(), 5u);
  EXPECT_EQ(got.fixed.value, 100'000u);
  got = f.caller.take();
  EXPECT_EQ(got.fixed.type, FrameType::kChunk);
  EXPECT_EQ(got.fixed.flags, kFlagReply);
  f.expect_nothing_left();
}

TEST(StreamedBodies, PiecesOfAWaitingRequestWaitWithItAndFollowInOrder) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.caller.send(first_piece(5, 100'000, 50'000));
  mesh.caller.send(chunk(5, 30'000, true));
  mesh.caller.send(chunk(5, 20'000, false));
  mesh.box.turn();
  EXPECT_GT(mesh.box.stats().limits["parkedBytes"].first, 100'000u);
  mesh.serve_by({"server"});
  mesh.box.apply(resolve(mesh.box.events.upcalls.at(0).token));
  EXPECT_EQ(server.take().body.size(), 50'000u);
  EXPECT_EQ(server.take().body.size(), 30'000u);
  EXPECT_EQ(server.take().fixed.flags, 0);
}

TEST(StreamedBodies, ARejectionWhileItWaitedLeavesLatePiecesUnanswered) {
  Mesh mesh;
  mesh.caller.send(first_piece(5, 100'000, 50'000));
  mesh.caller.send(chunk(5, 30'000, true));
  mesh.box.turn();
  Resolve verdict = resolve(mesh.box.events.upcalls.at(0).token, Resolve::Verdict::kReject);
  verdict.code = Code::kNotFound;
  mesh.box.apply(std::move(verdict));
  mesh.caller.send(chunk(5, 20'000, false));
  EXPECT_EQ(mesh.answer().code(), Code::kNotFound);
  mesh.box.turn();
  EXPECT_FALSE(mesh.caller.has_frame());
  EXPECT_FALSE(mesh.caller.has_ended());
  EXPECT_EQ(mesh.box.engine.counters().stale_chunks, 2u);
}

TEST(StreamedBodies, TooManyWaitingBytesAreRefused) {
  EngineOptions options;
  options.max_parked_bytes = 100'000;
  Mesh mesh(std::move(options));
  mesh.caller.send(first_piece(5, 200'000, 50'000));
  mesh.caller.send(chunk(5, 60'000, true));
  WireFrame reply = mesh.answer();
  EXPECT_EQ(reply.code(), Code::kResourceExhausted);
  EXPECT_TRUE(reply.not_run());
  EXPECT_EQ(mesh.box.stats().limits["parkedBytes"].first, 0u);
}

TEST(StreamedBodies, LengthsMustAgreeWithWhatWasSaid) {
  struct Case {
    WireFrame last;
    Code code;
    bool reply;
  };
  for (const Case& c : {Case{chunk(0, 50'001, false), Code::kInvalidArgument, false},
                        Case{chunk(0, 49'999, false), Code::kInvalidArgument, false},
                        Case{chunk(0, 50'000, true), Code::kInvalidArgument, false},
                        Case{chunk(0, 50'001, false, true), Code::kDataLoss, true},
                        Case{chunk(0, 1, false, true), Code::kDataLoss, true}}) {
    Streams f;
    f.send(c.reply ? request(5, {.service = "s"}) : first_piece(5, 100'000, 50'000));
    const uint64_t id = f.server_wire.take().id();
    WireFrame last = c.last;
    last.fixed.request_id = c.reply ? id : 5;
    if (c.reply) {
      f.reply(first_reply(id, 100'000, 50'000));
      EXPECT_EQ(f.caller.take().fixed.flags, kFlagMore);
      f.reply(last);
    } else {
      f.send(last);
    }
    const WireFrame end = f.caller.take();
    EXPECT_EQ(end.fixed.type, c.reply ? FrameType::kChunk : FrameType::kResponse);
    EXPECT_EQ(end.code(), c.code);
    EXPECT_EQ(f.server_wire.take().fixed.type, FrameType::kCancel);
    f.expect_nothing_left();
  }
}

TEST(StreamedBodies, WhatBreaksTheRulesClosesTheLinkThatDid) {
  const auto expect_violation = [](const std::vector<WireFrame>& frames) {
    Streams f;
    f.send(first_piece(5, 1'000'000, 60'000));
    f.server_wire.take();
    for (const WireFrame& frame : frames) {
      EXPECT_FALSE(f.caller.has_ended());
      f.send(frame);
    }
    f.box.turn();
    EXPECT_TRUE(f.caller.has_ended());
    EXPECT_EQ(f.box.engine.counters().protocol_violations, 1u);
    f.expect_nothing_left();
  };
  expect_violation({chunk(5, 0, true)});
  expect_violation({chunk(5, 60'000, true), chunk(5, 60'000, true), chunk(5, 60'000, true), chunk(5, 60'000, true)});
  expect_violation({request(6, {.service = "s"}), chunk(6, 10, true)});
}

TEST(StreamedBodies, CreditForMoreThanWasSentOrForOthersIsAViolation) {
  for (const uint32_t bytes : {0u, 60'001u, UINT32_MAX}) {
    Streams f;
    f.send(first_piece(5, 1'000'000, 60'000));
    f.reply(credit(f.server_wire.take().id(), bytes));
    f.box.turn();
    EXPECT_TRUE(f.server_wire.has_ended()) << bytes;
    const WireFrame lost = f.caller.take();
    EXPECT_EQ(lost.code(), Code::kUnavailable);
    f.expect_nothing_left();
  }
  Streams f;
  Wire intruder = f.box.app("intruder");
  f.send(first_piece(5, 1'000'000, 60'000));
  intruder.send(credit(f.server_wire.take().id(), 1));
  f.box.turn(2);
  EXPECT_TRUE(intruder.has_ended());
  EXPECT_FALSE(f.caller.has_frame());
}

TEST(StreamedBodies, ARepliersDeathInTheMiddleEndsTheReplyWithAStatus) {
  Streams f;
  f.send(request(5, {.service = "s"}));
  f.reply(first_reply(f.server_wire.take().id(), 100'000, 50'000));
  EXPECT_EQ(f.caller.take().fixed.flags, kFlagMore);
  f.server_wire.close();
  f.box.turn(2);
  const WireFrame end = f.caller.take();
  EXPECT_EQ(end.fixed.type, FrameType::kChunk);
  EXPECT_EQ(end.id(), 5u);
  EXPECT_EQ(end.fixed.flags & (kFlagReply | kFlagMore), kFlagReply);
  EXPECT_EQ(end.code(), Code::kUnavailable);
  f.expect_nothing_left();
}

TEST(StreamedBodies, ACallersDeathInTheMiddleIsACancel) {
  Streams f;
  f.send(first_piece(5, 100'000, 50'000));
  const uint64_t id = f.server_wire.take().id();
  f.caller.close();
  f.box.turn(2);
  const WireFrame cancel = f.server_wire.take();
  EXPECT_EQ(cancel.fixed.type, FrameType::kCancel);
  EXPECT_EQ(cancel.id(), id);
  f.expect_nothing_left();
}

TEST(StreamedBodies, AreBoundedInLengthAndNumber) {
  EngineOptions options;
  options.max_body_bytes = 100'000;
  options.max_streams_per_link = 1;
  Streams f(std::move(options));
  f.send(first_piece(5, 100'001, 10));
  WireFrame reply = f.caller.take();
  EXPECT_EQ(reply.code(), Code::kResourceExhausted);
  EXPECT_TRUE(reply.not_run());
  f.send(first_piece(6, 10, 10));
  EXPECT_EQ(f.caller.take().code(), Code::kInvalidArgument) << "no more to come, but MORE";
  f.send(first_piece(7, 20, 10));
  f.send(first_piece(8, 20, 10));
  reply = f.caller.take();
  EXPECT_EQ(reply.id(), 8u);
  EXPECT_EQ(reply.code(), Code::kResourceExhausted);
  f.send(chunk(7, 10, false));
  f.send(first_piece(9, 20, 10));
  EXPECT_FALSE(f.caller.has_frame()) << "there is room again";
}

TEST(StreamedBodies, HeadersOfChunksAndTinyChunksCannotFillTheQueue) {
  EngineOptions options;
  options.max_outbound_bytes = 256 << 10;
  Streams f(std::move(options));
  f.send(first_piece(5, 1'000'000, 10));
  WireFrame tiny = chunk(5, 1, true);
  tiny.header = std::string(kMaxHeaderBytes, '\0');
  tiny.header[0] = 0x0a;  // whatever: it is not passed on
  uint64_t worst = 0;
  for (int i = 0; i < 3000; i++) {
    f.send(tiny);
    if (i % 100 == 0) worst = std::max(worst, f.box.stats().links.at(1).outbound_bytes);
  }
  EXPECT_LT(worst, uint64_t{200} << 10);
  tiny.header.clear();
  std::string burst;
  for (int i = 0; i < 1000; i++) burst += tiny.bytes();
  for (int i = 0; i < 100 && !f.caller.has_frame(); i++) {
    f.caller.send_bytes(burst);
    f.box.turn(2);
    worst = std::max(worst, f.box.stats().links.at(1).outbound_bytes);
  }
  EXPECT_EQ(f.caller.take().code(), Code::kResourceExhausted);
  EXPECT_LT(worst, uint64_t{1} << 20);
  EXPECT_TRUE(f.box.events.downs.empty());
}

}  // namespace
}  // namespace ringside
