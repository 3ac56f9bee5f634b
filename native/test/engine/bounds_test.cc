// Every bound of the engine: what is full answers with a clear status, and the link that ran into it goes on.
#include <gtest/gtest.h>

#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

void expect_exhausted(const WireFrame& reply, const char* limit, bool not_run = true) {
  EXPECT_EQ(reply.code(), Code::kResourceExhausted);
  EXPECT_NE(reply.text().find(limit), std::string::npos) << reply.text();
  EXPECT_EQ(reply.not_run(), not_run);
}

TEST(Bounds, Pending) {
  EngineOptions options;
  options.max_pending = 10;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  // One link stops at four fifths, so that others find room.
  for (uint64_t id = 1; id <= 9; id++) mesh.call(id);
  expect_exhausted(mesh.answer(), "limits.pending");
  EXPECT_EQ(mesh.box.engine.counters().refused_pending_full, 1u);
  EXPECT_EQ(mesh.box.stats().limits["pending"].first, 8u);
  server.send(response(server.take().id()));
  EXPECT_EQ(mesh.answer().id(), 1u);
  mesh.call(10);
  for (int i = 0; i < 8; i++) EXPECT_EQ(server.take().fixed.type, FrameType::kRequest);
  EXPECT_FALSE(mesh.caller.has_frame());
}

TEST(Bounds, ParkedByNumberAndBytes) {
  EngineOptions options;
  options.max_parked = 10;
  options.max_parked_bytes = 100'000;
  Mesh mesh(std::move(options));
  for (uint64_t id = 1; id <= 9; id++) mesh.call(id);
  expect_exhausted(mesh.answer(), "limits.parked");
  EXPECT_EQ(mesh.box.stats().limits["parked"].first, 8u);
  for (uint64_t id = 1; id <= 8; id++) mesh.caller.send(control(FrameType::kCancel, id));
  mesh.box.turn();
  mesh.call(14, std::string(60'000, 'x'));
  mesh.call(15, std::string(60'000, 'x'));
  expect_exhausted(mesh.answer(), "limits.parkedBytes");
  EXPECT_EQ(mesh.box.engine.counters().refused_parked_full, 2u);
  EXPECT_EQ(mesh.box.stats().limits["parked"].first, 1u);
}

TEST(Bounds, NewKindsOfRequestsPerSecondAndLink) {
  EngineOptions options;
  options.upcalls_per_second_per_link = 10;
  Mesh mesh(std::move(options));
  const auto ask = [&](Wire& wire, uint64_t id) {
    wire.send(request(id, {.service = "service-" + std::to_string(id)}));
    mesh.box.turn();
  };
  for (uint64_t id = 0; id < 10; id++) ask(mesh.caller, id);
  EXPECT_EQ(mesh.box.events.upcalls.size(), 10u);
  ask(mesh.caller, 10);
  expect_exhausted(mesh.answer(), "limits.upcallsPerSecondPerLink");
  mesh.caller.send(request(50, {.service = "service-3"}));
  mesh.box.turn();
  EXPECT_FALSE(mesh.caller.has_frame()) << "that was asked already";
  Wire other = mesh.box.app("other");
  ask(other, 11);
  EXPECT_EQ(mesh.box.events.upcalls.size(), 11u) << "each link has its own";
  mesh.box.advance_ms(250);
  for (uint64_t id = 20; id < 23; id++) ask(mesh.caller, id);
  EXPECT_EQ(mesh.box.events.upcalls.size(), 13u);
  EXPECT_EQ(mesh.answer().id(), 22u);
  EXPECT_EQ(mesh.box.engine.counters().refused_miss_rate, 2u);
  mesh.box.advance_ms(3'600'000);  // more than a second's worth is not saved up
  mesh.caller.receive();
  mesh.caller.frames.clear();
  for (uint64_t id = 100; id < 111; id++) ask(mesh.caller, id);
  EXPECT_EQ(mesh.box.events.upcalls.size(), 23u);
}

TEST(Bounds, UpcallsThatNobodyReadsEvenWhenTheirRequestsAreCancelled) {
  EngineOptions options;
  options.max_parked_bytes = 1 << 20;
  Mesh mesh(std::move(options));
  SetFlow flow = set_flow("s", 1);
  flow.action.upcall = true;
  mesh.box.apply(set_service("s"), std::move(flow));
  mesh.box.deaf = true;
  const HeaderFields large{.service = "s", .attachments = {{"k", std::string(15'000, 'v')}}};
  bool refused = false;
  for (uint64_t id = 1; id <= 2000 && !refused; id++) {
    mesh.caller.send(request(id, large));
    mesh.caller.send(control(FrameType::kCancel, id));
    mesh.box.turn();
    refused = mesh.caller.has_frame();
  }
  ASSERT_TRUE(refused);
  expect_exhausted(mesh.caller.take(), "main thread");
  EXPECT_EQ(mesh.box.engine.counters().refused_upcalls_full, 1u);
  EXPECT_LT(mesh.box.mailbox.waiting(), size_t{8} << 20);
  mesh.box.deaf = false;
  mesh.box.collect();
  mesh.caller.send(request(3000, large));
  mesh.box.turn();
  EXPECT_FALSE(mesh.caller.has_frame());
}

TEST(Bounds, OutboundBytesOfASlowServer) {
  EngineOptions options;
  options.max_outbound_bytes = 1 << 20;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  uint64_t sent = 0;
  while (!mesh.caller.has_frame() && sent < 200) mesh.call(++sent, std::string(kMaxFrameBodyBytes, 'x'));
  WireFrame reply = mesh.caller.take();
  EXPECT_EQ(reply.id(), sent);
  expect_exhausted(reply, "limits.outboundBytesPerLink");
  // Small ones fill what is left, so that not even cancellations would find room within the bound.
  const uint64_t large = sent - 1;
  uint64_t refused = 1;
  while (!mesh.caller.has_frame()) mesh.call(++sent);
  refused++;
  mesh.caller.take();
  Stats stats = mesh.box.stats();
  EXPECT_LE(stats.links.at(1).outbound_bytes, uint64_t{1} << 20);
  EXPECT_EQ(stats.links.at(1).up, sent - refused);
  EXPECT_EQ(stats.clusters.at(0).endpoints.at(0).in_flight, sent - refused);
  // One-way requests are dropped, and counted.
  WireFrame one_way = request(0, {.service = "s"}, std::string(kMaxFrameBodyBytes, 'x'));
  one_way.fixed.type = FrameType::kOneWay;
  mesh.caller.send(one_way);
  mesh.box.turn();
  EXPECT_EQ(mesh.box.engine.counters().one_ways_dropped, 1u);
  // Cancellations always get through: the link must not die of its slowness.
  mesh.box.advance_ms(60'000);
  mesh.caller.receive();
  EXPECT_EQ(mesh.caller.frames.size(), sent - refused);
  EXPECT_TRUE(mesh.box.events.downs.empty());
  // It reads again: all that was taken arrives, in order, each behind the other.
  uint64_t got = 0;
  uint64_t cancels = 0;
  mesh.box.turn_until([&] {
    server.receive();
    for (; !server.frames.empty(); server.frames.pop_front()) {
      const bool cancel = server.frames.front().fixed.type == FrameType::kCancel;
      (cancel ? cancels : got)++;
      EXPECT_EQ(server.frames.front().body.size(), !cancel && got <= large ? kMaxFrameBodyBytes : 0) << got;
    }
    return cancels == sent - refused;
  });
  EXPECT_EQ(got, sent - refused);
  EXPECT_EQ(mesh.box.stats().links.at(1).outbound_bytes, 0u);
}

TEST(Bounds, OutboundBytesOfASlowCaller) {
  EngineOptions options;
  options.max_outbound_bytes = 512 << 10;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  constexpr uint64_t kCalls = 100;
  for (uint64_t id = 1; id <= kCalls; id++) mesh.call(id);
  server.receive();
  for (; !server.frames.empty(); server.frames.pop_front()) {
    server.send(response(server.frames.front().id(), std::string(kMaxFrameBodyBytes, 'y')));
    mesh.box.turn(2);
  }
  std::map<Code, uint64_t> codes;
  mesh.box.turn_until([&] {
    mesh.caller.receive();
    for (; !mesh.caller.frames.empty(); mesh.caller.frames.pop_front()) {
      const WireFrame& reply = mesh.caller.frames.front();
      codes[reply.code()]++;
      EXPECT_FALSE(reply.not_run()) << "it ran";
    }
    return codes[Code::kOk] + codes[Code::kResourceExhausted] == kCalls;
  });
  EXPECT_GT(codes[Code::kOk], 5u);
  EXPECT_GT(codes[Code::kResourceExhausted], 5u);
  EXPECT_EQ(mesh.box.stats().limits["pending"].first, 0u);
}

TEST(Bounds, ACallerThatNeverReadsItsRefusalsIsClosed) {
  EngineOptions options;
  options.max_outbound_bytes = 64 << 10;
  options.max_pending = 100;
  Mesh mesh(std::move(options));
  SetFlow flow = set_flow("s", 0);
  flow.action.kind = FlowAction::Kind::kReject;
  flow.action.code = Code::kUnavailable;
  mesh.box.apply(set_service("s"), std::move(flow));
  std::string burst;
  for (uint64_t id = 0; id < 1000; id++) burst += request(id, {.service = "s"}).bytes();
  uint64_t worst = 0;
  for (int i = 0; i < 200 && mesh.box.events.downs.empty(); i++) {
    mesh.caller.send_bytes(burst);
    mesh.box.turn(2);
    for (const LinkStats& link : mesh.box.stats().links) worst = std::max(worst, link.outbound_bytes);
  }
  ASSERT_EQ(mesh.box.events.downs.size(), 1u);
  EXPECT_EQ(mesh.box.events.downs[0].reason, "the peer sends requests but does not read the replies");
  EXPECT_LT(worst, uint64_t{128} << 10);
}

TEST(Bounds, ACallerThatIsSlowWithBodiesInPiecesKeepsItsLinkWhenMoreIsRefused) {
  EngineOptions options;
  options.max_outbound_bytes = 64 << 10;
  options.max_pending = 400;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  constexpr uint64_t kStreams = 4, kLarge = 40, kCalls = 250;
  for (uint64_t id = 1; id <= kCalls; id++) mesh.call(id);
  server.receive();
  ASSERT_EQ(server.frames.size(), kCalls);
  for (uint64_t i = 0; i < kCalls; i++) {
    // Small ones at the end, so that the queue is full to the last byte.
    WireFrame reply = response(server.frames[i].id(), std::string(i < kStreams || i > kLarge ? 600 : 60'000, 'y'));
    if (i < kStreams) {  // the first piece of a body for which there is room of its own
      reply.fixed.flags = kFlagMore;
      reply.fixed.value = 200'000;
    }
    server.send(reply);
    mesh.box.turn(2);
  }
  EXPECT_GT(mesh.box.stats().links.at(0).outbound_bytes, uint64_t{200} << 10) << "others use the room of the streams";
  EXPECT_GT(mesh.box.engine.counters().refused_outbound_full, 5u);
  std::map<Code, uint64_t> codes;
  mesh.box.turn_until([&] {
    mesh.caller.receive();
    for (; !mesh.caller.frames.empty(); mesh.caller.frames.pop_front()) codes[mesh.caller.frames.front().code()]++;
    return codes[Code::kOk] + codes[Code::kResourceExhausted] == kCalls || mesh.caller.has_ended();
  });
  EXPECT_FALSE(mesh.caller.has_ended());
  EXPECT_GT(codes[Code::kOk], 5u);
  EXPECT_GT(codes[Code::kResourceExhausted], 5u);
}

TEST(Bounds, APeerThatPingsWithoutReadingIsClosed) {
  EngineOptions options;
  options.max_outbound_bytes = 64 << 10;
  EngineBox box(std::move(options));
  box.listen_unix_socket();
  Wire app = box.app("app");
  std::string burst;
  for (uint64_t id = 0; id < 1000; id++) burst += control(FrameType::kPing, id).bytes();
  for (int i = 0; i < 200 && box.events.downs.empty(); i++) {
    app.send_bytes(burst);
    box.turn(2);
  }
  ASSERT_EQ(box.events.downs.size(), 1u);
}

TEST(Bounds, RecordsAreDroppedWhileNobodyReadsAndComeBackAfterwards) {
  EngineOptions options;
  options.max_records = 50;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  const auto fail = [&](uint64_t id) {
    mesh.call(id);
    WireFrame reply = response(server.take().id(), "", Code::kInternal);
    uint8_t text[400];
    const size_t n = encode_status_message(text, sizeof text, std::string(300, 't'));
    reply.header.assign(reinterpret_cast<const char*>(text), n);
    server.send(reply);
    EXPECT_EQ(mesh.answer().code(), Code::kInternal);
  };
  fail(1);
  ASSERT_EQ(mesh.box.events.records.size(), 1u);
  const RecordEvent& record = mesh.box.events.records[0];
  EXPECT_EQ(record.code, static_cast<uint8_t>(Code::kInternal));
  EXPECT_EQ(record.service, "s");
  EXPECT_EQ(record.app, "caller");
  EXPECT_EQ(record.text, std::string(kMaxNameBytes, 't'));
  mesh.box.deaf = true;
  for (uint64_t id = 2; mesh.box.engine.counters().dropped_records == 0; id++) {
    ASSERT_LT(id, 20'000u);
    fail(id);
  }
  EXPECT_LT(mesh.box.mailbox.waiting(), size_t{2} << 20);
  mesh.box.deaf = false;
  mesh.box.collect();
  mesh.box.turn();
  const size_t before = mesh.box.events.records.size();
  fail(30'000);
  EXPECT_EQ(mesh.box.events.records.size(), before + 1);
}

TEST(Bounds, SlowRequestsLeaveARecordAlthoughTheySucceed) {
  EngineOptions options;
  options.slow_request_ms = 100;
  Mesh mesh(std::move(options));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  for (const int64_t ms : {100, 101}) {
    mesh.call(1);
    mesh.box.clock->advance_ms(ms);
    server.send(response(server.take().id()));
    EXPECT_EQ(mesh.answer().code(), Code::kOk);
  }
  ASSERT_EQ(mesh.box.events.records.size(), 1u);
  EXPECT_EQ(mesh.box.events.records[0].latency_us, 101'000);
  EXPECT_NE(mesh.box.events.records[0].upstream.find("pid"), std::string::npos);
}

constexpr const char* kTraceId = "0af7651916cd43dd8448eb211c80319c";

TEST(Bounds, ARecordNamesTheMethodAndTheTraceOfItsRequest) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  const auto fail = [&](uint64_t id, std::string method, std::string traceparent) -> RecordEvent {
    mesh.caller.send(request(id, {.service = "s", .method = std::move(method), .traceparent = std::move(traceparent)}));
    mesh.box.turn();
    server.send(response(server.take().id(), "", Code::kInternal));
    mesh.answer();
    return mesh.box.events.records.back();
  };
  const std::string trace = std::string("00-") + kTraceId + "-b7ad6b7169203331-01";
  EXPECT_EQ(fail(1, "get", trace).method, "get");
  EXPECT_EQ(fail(2, "get", trace).trace_id, kTraceId);
  const RecordEvent without = fail(3, "", "");
  EXPECT_EQ(without.method + without.trace_id, "") << "not those of the request that had this slot before";
  EXPECT_EQ(fail(4, std::string(62, 'm') + std::string(kMaxNameBytes - 62, 'n'), trace).method, std::string(62, 'm')) << "the beginning of a long one";
  for (const char* odd : {"00", "00-0af7", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-00", "00-0af7651916cd43dd8448eb211c80319c"}) {
    EXPECT_EQ(fail(5, "m", odd).trace_id, "") << odd;
  }
}

TEST(Bounds, ARecordOfARequestWhoseDeadlinePassedNamesThemToo) {
  Mesh mesh;
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  mesh.caller.send(request(1, {.service = "s", .method = "get", .traceparent = std::string("00-") + kTraceId + "-b7ad6b7169203331-01"}, {}, 500));
  mesh.box.turn();
  mesh.box.clock->advance_ms(501);
  mesh.box.turn();
  EXPECT_EQ(mesh.answer().code(), Code::kDeadlineExceeded);
  ASSERT_EQ(mesh.box.events.records.size(), 1u);
  EXPECT_EQ(mesh.box.events.records[0].method, "get");
  EXPECT_EQ(mesh.box.events.records[0].trace_id, kTraceId);
}

TEST(Bounds, TheMailboxWakesItsReaderOncePerEmptying) {
  Mesh mesh;
  mesh.box.deaf = true;
  const int before = mesh.box.wakes;
  mesh.caller.send(request(1, {.service = "a"}));
  mesh.box.turn();
  mesh.caller.send(request(2, {.service = "b"}));
  mesh.box.turn();
  EXPECT_EQ(mesh.box.wakes, before + 1);
  mesh.box.deaf = false;
  mesh.box.collect();
  EXPECT_EQ(mesh.box.events.upcalls.size(), 2u);
  mesh.caller.send(request(3, {.service = "c"}));
  mesh.box.turn();
  EXPECT_EQ(mesh.box.wakes, before + 2);
}

}  // namespace
}  // namespace ringside
