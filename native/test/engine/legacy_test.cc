// The legacy protocol through an engine: old clients on its listeners, old servers behind its clusters, and both at once.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "native/link/legacy_transaction.h"
#include "native/test/engine/old_peers.h"

namespace ringside {
namespace {

using namespace testing;

struct OldWorld {
  EngineBox box;
  uint16_t port;
  Plain client;

  explicit OldWorld(EngineOptions options = {}) : box(std::move(options)) {
    box.listen_unix_socket();
    port = box.listen_tcp_port(LinkRole::kApp);
    client = connect_to(port);
  }
  std::string answer(size_t bytes) {
    box.turn_until([&] { return client.receive().size() >= bytes || client.ended; });
    return std::exchange(client.got, {});
  }
  std::string answer_to(std::string_view bytes, std::string_view end = "\r\n") {
    client.send(bytes);
    box.turn_until([&] { return client.receive().ends_with(end) || client.ended; });
    return std::exchange(client.got, {});
  }
};

TEST(LegacyCaller, IsAnsweredAsStockClientsExpect) {
  OldWorld old;
  EXPECT_EQ(old.answer_to("PING\r\n"), "+PONG\r\n");
  EXPECT_EQ(old.answer_to("*2\r\n" + bulk("ping") + bulk("x")), bulk("x"));
  EXPECT_EQ(old.answer_to("*2\r\n" + bulk("HELLO") + bulk("3")).substr(0, 4), "%7\r\n");
  EXPECT_EQ(old.answer_to("HELLO 4\r\n"), "-NOPROTO unsupported protocol version\r\n");
  EXPECT_EQ(old.answer_to("HELLO\r\n").substr(0, 5), "*14\r\n");
  EXPECT_EQ(old.answer_to("*4\r\n" + bulk("CLIENT") + bulk("SETINFO") + bulk("LIB-NAME") + bulk("x")), "+OK\r\n");
  EXPECT_EQ(old.answer_to("COMMAND DOCS\r\n"), "*0\r\n");
  EXPECT_EQ(old.answer_to("SELECT 0\r\n"), "+OK\r\n");
  EXPECT_EQ(old.answer_to("SELECT 1\r\n").substr(0, 4), "-ERR");
  EXPECT_EQ(old.answer_to("AUTH x\r\n"), "+OK\r\n");
  EXPECT_EQ(old.answer_to("*3\r\n" + bulk("SET") + bulk("a'\r\n") + bulk("b")).substr(0, 26), "-ERR unknown command 'SET'");
  EXPECT_NE(old.answer_to("INFO\r\n").find(R"("server":"ringside")"), std::string::npos);
  EXPECT_EQ(old.answer_to("\r\n\r\nPING\r\n"), "+PONG\r\n");
  EXPECT_EQ(old.answer_to("QUIT\r\n"), "+OK\r\n");
  old.box.turn_until([&] { old.client.receive(); return old.client.ended; });
}

TEST(LegacyCaller, ABreachOfTheProtocolIsSaidAndEndsTheConnection) {
  OldWorld old;
  EXPECT_EQ(old.answer_to("*x\r\n"), "-ERR Protocol error: invalid multibulk length\r\n");
  old.box.turn_until([&] { old.client.receive(); return old.client.ended; });
  old.client = connect_to(old.port);
  old.client.send("POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n");
  old.box.turn_until([&] { old.client.receive(); return old.client.ended; });
  EXPECT_EQ(old.client.got, "");
}

TEST(LegacyCaller, MalformedJsonIsAnswered) {
  OldWorld old;
  EXPECT_NE(old.answer_to(get("{")).find(R"("ec":302)"), std::string::npos);
  EXPECT_NE(old.answer_to(get("{}")).find(R"("ec":401)"), std::string::npos);
  EXPECT_EQ(old.answer_to("PING\r\n"), "+PONG\r\n");
}

TEST(LegacyCaller, AsksForTheTokenOfTheLoopbackPort) {
  EngineOptions options;
  options.loopback_token = "secret-token";
  OldWorld old(options);
  EXPECT_EQ(old.answer_to("PING\r\n").substr(0, 7), "-NOAUTH");
  EXPECT_EQ(old.answer_to(call("[]")).substr(0, 7), "-NOAUTH");
  EXPECT_EQ(old.answer_to("AUTH wrong-token\r\n").substr(0, 10), "-WRONGPASS");
  EXPECT_EQ(old.answer_to("AUTH secret-token\r\n"), "+OK\r\n");
  EXPECT_EQ(old.answer_to("PING\r\n"), "+PONG\r\n");
  Plain other = connect_to(old.port);
  other.send("HELLO 2 AUTH default secret-token\r\n");
  old.box.turn_until([&] { return !other.receive().empty(); });
  EXPECT_EQ(other.got.substr(0, 3), "*14");
}

TEST(LegacyCaller, ReachesAMeshServerAndGetsRepliesInOrder) {
  OldWorld old;
  Wire server = old.box.app("server");
  old.box.apply(set_cluster(1, {local_endpoint(200, old.box.link_of("server"))}), set_service("s"), set_flow("s", 1));
  old.client.send(call("[1]") + "PING\r\n" + call("[2]") + call("[3]"));
  old.box.turn_until([&] { server.receive(); return server.frames.size() == 3; });
  std::vector<WireFrame> requests;
  for (int i = 0; i < 3; i++) requests.push_back(server.take());
  EXPECT_EQ(requests[0].body, "[1]");
  EXPECT_EQ(requests[0].view().service, "s");
  EXPECT_EQ(requests[0].view().method, "m");
  server.send(response(requests[2].id(), "\"three\""));
  server.send(response(requests[1].id(), "no json"));
  old.box.turn(3);
  EXPECT_EQ(old.client.receive(), "");
  server.send(response(requests[0].id(), "\"one\""));
  const std::string expected = bulk(ok("\"one\"")) + "+PONG\r\n" +
                               bulk(R"({"ec":3021,"em":"the service answered with something that is not JSON","result":null})") +
                               bulk(ok("\"three\""));
  EXPECT_EQ(old.answer(expected.size()), expected);
  EXPECT_EQ(old.box.stats().limits.at("pending").first, 0u);
}

TEST(LegacyCaller, ATransactionRunsAtExecAndIsAnsweredAsAnArray) {
  OldWorld old;
  Wire server = old.box.app("server");
  old.box.apply(set_cluster(1, {local_endpoint(200, old.box.link_of("server"))}), set_service("s"), set_flow("s", 1));
  EXPECT_EQ(old.answer_to("MULTI\r\n"), "+OK\r\n");
  EXPECT_EQ(old.answer_to(call("[1]")), "+QUEUED\r\n");
  EXPECT_EQ(old.answer_to("PING\r\n"), "+QUEUED\r\n");
  EXPECT_EQ(old.answer_to("SELECT 7\r\n"), "+QUEUED\r\n");
  EXPECT_EQ(old.answer_to(get("{}")), "+QUEUED\r\n");
  EXPECT_FALSE(server.has_frame()) << "nothing runs before EXEC";
  old.client.send("EXEC\r\nPING\r\n");
  old.box.turn_until([&] { server.receive(); return server.has_frame(); });
  server.send(response(server.take().id(), "\"one\""));
  const std::string expected = "*4\r\n" + bulk(ok("\"one\"")) + "+PONG\r\n-ERR DB index is out of range: there is only 0\r\n";
  std::string got = old.answer_to("", "+PONG\r\n");
  EXPECT_EQ(got.substr(0, expected.size()), expected);
  EXPECT_NE(got.find(R"("ec":401)"), std::string::npos) << "an element may be a failure: " << got;
  EXPECT_EQ(old.box.stats().limits.at("legacyBytes").first, 0u);
}

TEST(LegacyCaller, ATransactionWithAMistakeIsRefusedWhole) {
  OldWorld old;
  Wire server = old.box.app("server");
  old.box.apply(set_cluster(1, {local_endpoint(200, old.box.link_of("server"))}), set_service("s"), set_flow("s", 1));
  const auto expect_aborted = [&](const std::string& mistake) {
    EXPECT_EQ(old.answer_to("MULTI\r\n"), "+OK\r\n");
    EXPECT_EQ(old.answer_to(call("[1]")), "+QUEUED\r\n");
    EXPECT_EQ(old.answer_to(mistake).substr(0, 4), "-ERR") << mistake;
    EXPECT_EQ(old.answer_to("EXEC\r\n").substr(0, 10), "-EXECABORT") << mistake;
  };
  expect_aborted("SET a b\r\n");
  expect_aborted("*3\r\n" + bulk("GET") + bulk("a") + bulk("b"));
  expect_aborted("AUTH x\r\n");
  EXPECT_FALSE(server.has_frame());
  EXPECT_EQ(old.answer_to("EXEC\r\n"), "-ERR EXEC without MULTI\r\n");
  EXPECT_EQ(old.answer_to("discard\r\n"), "-ERR DISCARD without MULTI\r\n");
  EXPECT_EQ(old.answer_to("WATCH a\r\n").substr(0, 29), "-ERR WATCH is not supported: ");
  EXPECT_EQ(old.answer_to("UNWATCH\r\n"), "+OK\r\n");
  EXPECT_EQ(old.answer_to("MULTI\r\n"), "+OK\r\n");
  EXPECT_EQ(old.answer_to("MULTI\r\n"), "-ERR MULTI calls can not be nested\r\n");
  EXPECT_EQ(old.answer_to("WATCH a\r\n"), "-ERR WATCH inside MULTI is not allowed\r\n");
  EXPECT_EQ(old.answer_to("DISCARD\r\n"), "+OK\r\n");
  EXPECT_EQ(old.answer_to("MULTI\r\n"), "+OK\r\n");
  EXPECT_EQ(old.answer_to("EXEC\r\n"), "*0\r\n");
  EXPECT_EQ(old.answer_to("MULTI\r\n"), "+OK\r\n");
  EXPECT_EQ(old.answer_to("QUIT\r\n"), "+OK\r\n") << "QUIT is not queued";
}

TEST(LegacyCaller, ATransactionIsBoundedInCommandsAndBytes) {
  EngineOptions options;
  options.max_legacy_message_bytes = 4096;
  OldWorld old(options);
  EXPECT_EQ(old.answer_to("MULTI\r\n"), "+OK\r\n");
  std::string refused;
  for (int i = 0; i < 3 && refused.empty(); i++) {
    const std::string said = old.answer_to(call('"' + std::string(1500, 'x') + '"'));
    if (said != "+QUEUED\r\n") refused = said;
  }
  EXPECT_NE(refused.find("limits.legacyMessageBytes"), std::string::npos) << refused;
  EXPECT_EQ(old.answer_to("EXEC\r\n").substr(0, 10), "-EXECABORT");
  EXPECT_EQ(old.answer_to("MULTI\r\n"), "+OK\r\n");
  std::string many;
  for (size_t i = 0; i < kMaxQueuedCommands / 2; i++) many += "PING\r\n";
  std::string answers;
  for (int i = 0; i < 3; i++) {
    old.client.send(many);
    old.box.turn_until([&] { return old.client.receive().ends_with("\r\n") && old.client.got.size() >= 9 * kMaxQueuedCommands / 2; });
    answers = std::exchange(old.client.got, {});
  }
  EXPECT_NE(answers.find("-ERR too many commands in one transaction"), std::string::npos);
  EXPECT_EQ(old.answer_to("EXEC\r\n").substr(0, 10), "-EXECABORT");
}

TEST(LegacyCaller, AnExecLongerThanThePipelineRunsInSteps) {
  OldWorld old;
  Wire server = old.box.app("server");
  old.box.apply(set_cluster(1, {local_endpoint(200, old.box.link_of("server"))}), set_service("s"), set_flow("s", 1));
  // 600 under way, and 1,000 more in the transaction: over the 1,024 that a connection may have.
  std::string all;
  for (int i = 0; i < 600; i++) all += call("[1]");
  all += "MULTI\r\n";
  for (int i = 0; i < 1000; i++) all += call("[2]");
  all += "EXEC\r\n";
  old.client.send(all);
  ::shutdown(old.client.fd.get(), SHUT_WR);
  int asked = 0;
  old.box.turn_until([&] {
    server.receive();
    // A few at a time, as a socket takes only so many.
    for (int i = 0; i < 100 && server.has_frame(); i++, asked++) server.send(response(server.take().id(), "0"));
    old.client.receive();
    return old.client.ended;
  });
  EXPECT_EQ(asked, 1600);
  const std::string one = bulk(ok("0"));
  std::string expected;
  for (int i = 0; i < 600; i++) expected += one;
  expected += "+OK\r\n";
  for (int i = 0; i < 1000; i++) expected += "+QUEUED\r\n";
  expected += "*1000\r\n";
  for (int i = 0; i < 1000; i++) expected += one;
  EXPECT_EQ(old.client.got.size(), expected.size());
  EXPECT_TRUE(old.client.got == expected);
}

TEST(LegacyCaller, WhoSendsAndClosesIsAnsweredFirst) {
  OldWorld old;
  Wire server = old.box.app("server");
  old.box.apply(set_cluster(1, {local_endpoint(200, old.box.link_of("server"))}), set_service("s"), set_flow("s", 1));
  old.client.send(call("[1]") + "PING\r\n*2\r\n$3");
  ::shutdown(old.client.fd.get(), SHUT_WR);
  old.box.turn_until([&] { server.receive(); return server.has_frame(); });
  old.box.turn(3);
  EXPECT_FALSE((old.client.receive(), old.client.ended));
  server.send(response(server.take().id(), "1"));
  old.box.turn_until([&] { old.client.receive(); return old.client.ended; });
  EXPECT_EQ(old.client.got, bulk(ok("1")) + "+PONG\r\n");
}

TEST(LegacyCaller, ItsConnectionEndsBetweenTwoRequestsWhenTheAgentGoesAway) {
  OldWorld old;
  Wire server = old.box.app("server");
  old.box.apply(set_cluster(1, {local_endpoint(200, old.box.link_of("server"))}), set_service("s"), set_flow("s", 1));
  Plain idle = connect_to(old.port);
  idle.send("PING\r\n");
  Plain halfway = connect_to(old.port);
  halfway.send("PING\r\n*2\r\n");
  old.client.send(call("[1]"));
  old.box.turn_until([&] { return server.has_frame() && !idle.receive().empty() && !halfway.receive().empty(); });
  GoAway service;
  service.id = 1;
  service.service = "s";
  service.apps = true;
  service.timeout_ms = 1000;
  old.box.apply(service);
  old.box.turn(3);
  idle.receive();
  EXPECT_FALSE(idle.ended) << "other services stay";
  GoAway all = service;
  all.id = 2;
  all.service.clear();
  old.box.apply(all);
  old.box.turn_until([&] { idle.receive(); return idle.ended; });
  halfway.receive();
  old.client.receive();
  EXPECT_FALSE(halfway.ended);
  EXPECT_FALSE(old.client.ended);
  server.send(response(server.take().id(), "1"));
  old.box.turn_until([&] { old.client.receive(); return old.client.ended; });
  EXPECT_EQ(old.client.got, bulk(ok("1")));
  halfway.send("$4\r\nECHO\r\n$2\r\nhi\r\n");
  old.box.turn_until([&] { halfway.receive(); return halfway.ended; });
  EXPECT_TRUE(halfway.got.ends_with(bulk("hi"))) << halfway.got;
}

TEST(LegacyCaller, TogetherTheyHoldNoMoreThanTheBound) {
  EngineOptions options;
  options.max_legacy_bytes = 1 << 20;
  OldWorld old(options);
  const auto held = [&] { return old.box.stats().limits.at("legacyBytes").first; };
  // Messages whose ends never come: one connection stops at four fifths.
  const std::string begin = "*2\r\n" + bulk("GET") + "$4000000\r\n";
  const std::string more(32 * 1024, 'x');
  std::vector<Plain> greedy;
  for (int i = 0; i < 3; i++) greedy.push_back(connect_to(old.port));
  for (Plain& client : greedy) client.send(begin);
  for (int round = 0; round < 64; round++) {
    for (Plain& client : greedy) ::send(client.fd.get(), more.data(), more.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    old.box.turn(2);
    ASSERT_LE(held(), uint64_t{1} << 20);
  }
  for (Plain& client : greedy) {
    old.box.turn_until([&] { client.receive(); return client.ended; });
    EXPECT_NE(client.got.find("limits.legacyBytes"), std::string::npos) << client.got;
  }
  EXPECT_EQ(held(), 0u);
  EXPECT_EQ(old.box.stats().counters.at("refused_legacy_full"), 3u);
  EXPECT_EQ(old.answer_to("PING\r\n"), "+PONG\r\n");
}

TEST(LegacyCaller, AReplyThatFindsNoRoomIsAFailure) {
  EngineOptions options;
  options.max_legacy_bytes = 128 << 10;
  OldWorld old(options);
  Wire server = old.box.app("server");
  old.box.apply(set_cluster(1, {local_endpoint(200, old.box.link_of("server"))}), set_service("s"), set_flow("s", 1));
  old.client.send(call("[1]"));
  old.box.turn_until([&] { return server.has_frame(); });
  WireFrame first = response(server.take().id(), std::string(65536, ' '));
  first.fixed.flags = kFlagMore;
  first.fixed.value = 200'000;
  server.send(first);
  old.box.turn_until([&] { return old.client.receive().ends_with("}\r\n"); });
  EXPECT_NE(old.client.got.find("limits.legacyBytes"), std::string::npos) << old.client.got;
  old.box.turn_until([&] { return server.has_frame(); });
  EXPECT_EQ(server.take().fixed.type, FrameType::kCancel);
  EXPECT_EQ(old.box.stats().limits.at("legacyBytes").first, 0u);
}

TEST(LegacyCaller, LargeBodiesPassInPieces) {
  OldWorld old;
  Wire server = old.box.app("server");
  old.box.apply(set_cluster(1, {local_endpoint(200, old.box.link_of("server"))}), set_service("s"), set_flow("s", 1));
  const std::string args = "[\"" + std::string(1'000'000, 'x') + "\"]";
  const std::string whole = call(args);
  size_t sent = 0;
  std::string body;
  uint64_t id = 0;
  old.box.turn_until([&] {
    const ssize_t n = ::send(old.client.fd.get(), whole.data() + sent, whole.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<size_t>(n);
    while (server.has_frame()) {
      const WireFrame frame = server.take();
      id = frame.id();
      body += frame.body;
      WireFrame credit = control(FrameType::kCredit, id);
      credit.fixed.value = static_cast<uint32_t>(frame.body.size());
      server.send(credit);
    }
    return body.size() == args.size();
  });
  EXPECT_EQ(body, args);
  WireFrame first = response(id, std::string(65536, ' '));
  first.fixed.flags = kFlagMore;
  first.fixed.value = 65536 + 4;
  server.send(first);
  WireFrame last = control(FrameType::kChunk, id);
  last.fixed.flags = kFlagReply;
  last.body = "true";
  server.send(last);
  const std::string expected = bulk(ok(std::string(65536, ' ') + "true"));
  EXPECT_EQ(old.answer(expected.size()), expected);
}

TEST(LegacyCallee, TakesOneRequestAtATimePerConnection) {
  EngineOptions options;
  options.legacy_connections_per_instance = 2;
  Mesh mesh(options);
  OldServer server;
  mesh.box.apply(set_cluster(1, {server.endpoint()}), set_service("s"), set_flow("s", 1));
  for (uint64_t id = 1; id <= 3; id++) mesh.call(id, "[" + std::to_string(id) + "]");
  mesh.box.turn_until([&] {
    server.receive();
    return server.connections.size() == 2 && !server.connections[0].got.empty() && !server.connections[1].got.empty();
  });
  mesh.box.turn(3);
  server.receive();
  EXPECT_EQ(server.connections[0].got, call("[1]"));
  EXPECT_EQ(server.connections[1].got, call("[2]"));
  server.connections[1].send(bulk(ok("\"two\"")));
  mesh.box.turn_until([&] { return mesh.caller.has_frame(); });
  const WireFrame second = mesh.caller.take();
  EXPECT_EQ(second.id(), 2u);
  EXPECT_EQ(second.body, "\"two\"");
  server.connections[0].send(bulk(R"({"ec":502,"em":"no such method"})"));
  mesh.box.turn_until([&] { return mesh.caller.has_frame(); });
  const WireFrame first = mesh.caller.take();
  EXPECT_EQ(first.code(), Code::kUnimplemented);
  EXPECT_EQ(first.text(), "no such method");
  mesh.box.turn_until([&] {
    server.receive();
    return server.connections[0].got.size() + server.connections[1].got.size() == 3 * call("[1]").size();
  });
}

TEST(LegacyCallee, ARequestThatFindsNoRoomHasNotRun) {
  EngineOptions options;
  options.max_legacy_bytes = 128 << 10;
  Mesh mesh(std::move(options));
  OldServer server;
  mesh.box.apply(set_cluster(1, {server.endpoint()}), set_service("s"), set_flow("s", 1));
  WireFrame large = request(1, {.service = "s", .method = "m"}, std::string(65536, ' '));
  large.fixed.flags = kFlagMore;
  large.fixed.value = 200'000;
  mesh.caller.send(large);
  mesh.box.turn_until([&] { server.receive(); return mesh.caller.has_frame(); });
  const WireFrame reply = mesh.caller.take();
  EXPECT_EQ(reply.code(), Code::kResourceExhausted);
  EXPECT_TRUE(reply.not_run());
  EXPECT_EQ(mesh.box.stats().limits.at("legacyBytes").first, 0u);
}

TEST(LegacyCallee, AConnectionWhoseRequestTimedOutIsNotUsedAgain) {
  EngineOptions options;
  options.legacy_connections_per_instance = 1;
  Mesh mesh(options);
  OldServer server;
  mesh.box.apply(set_cluster(1, {server.endpoint()}), set_service("s"), set_flow("s", 1));
  mesh.call(1, "[1]", 50);
  mesh.call(2, "[2]", 5000);
  mesh.box.turn_until([&] { server.receive(); return !server.connections.empty() && !server.connections[0].got.empty(); });
  mesh.box.advance_ms(60);
  mesh.box.turn_until([&] { return mesh.caller.has_frame(); });
  EXPECT_EQ(mesh.caller.take().code(), Code::kDeadlineExceeded);
  // The one that waited behind it never left, so it goes over a fresh connection.
  mesh.box.turn_until([&] { server.receive(); return server.connections.size() == 2 && !server.connections[1].got.empty(); });
  EXPECT_TRUE(server.connections[0].ended);
  EXPECT_EQ(server.connections[0].got, call("[1]"));
  EXPECT_EQ(server.connections[1].got, call("[2]"));
  server.connections[1].send(bulk(ok("2")));
  mesh.box.turn_until([&] { return mesh.caller.has_frame(); });
  EXPECT_EQ(mesh.caller.take().body, "2");
}

TEST(LegacyCallee, ALargeRequestThatWaitedIsSentWhole) {
  EngineOptions options;
  options.legacy_connections_per_instance = 1;
  Mesh mesh(options);
  OldServer server;
  mesh.box.apply(set_cluster(1, {server.endpoint()}), set_service("s"), set_flow("s", 1));
  mesh.call(1, "[1]");
  const std::string args = "[\"" + std::string(100'000, 'x') + "\"]";
  WireFrame first = request(2, {.service = "s", .method = "m"}, args.substr(0, 65'536));
  first.fixed.flags = kFlagMore;
  first.fixed.value = static_cast<uint32_t>(args.size());
  mesh.caller.send(first);
  WireFrame rest = control(FrameType::kChunk, 2);
  rest.body = args.substr(65'536);
  mesh.caller.send(rest);
  mesh.box.turn_until([&] { server.receive(); return !server.connections.empty() && !server.connections[0].got.empty(); });
  mesh.box.turn(5);
  EXPECT_EQ(std::exchange(server.connections[0].got, {}), call("[1]"));
  server.connections[0].send(bulk(ok("1")));
  mesh.box.turn_until([&] { server.receive(); return server.connections[0].got.size() >= call(args).size() || mesh.caller.frames.size() > 2; });
  EXPECT_EQ(server.connections[0].got, call(args));
}

TEST(LegacyCallee, OneThatIsNamedNoMoreWhileItConnectsDoesItsRequest) {
  Mesh mesh;
  OldServer server;
  mesh.box.apply(set_cluster(1, {server.endpoint()}), set_service("s"), set_flow("s", 1));
  mesh.call(1, "[1]");
  mesh.box.apply(set_cluster(1, {}));
  mesh.box.turn_until([&] { server.receive(); return !server.connections.empty() && !server.connections[0].got.empty(); });
  server.connections[0].send(bulk(ok("1")));
  mesh.box.turn_until([&] { return mesh.caller.has_frame(); });
  EXPECT_EQ(mesh.caller.take().body, "1");
  mesh.box.turn_until([&] { server.receive(); return server.connections[0].ended; });
}

TEST(LegacyCallee, WhatIsNoArrayOfArgumentsIsNotSent) {
  Mesh mesh;
  OldServer server;
  mesh.box.apply(set_cluster(1, {server.endpoint()}), set_service("s"), set_flow("s", 1));
  mesh.call(1, R"([]},"action":"other","x":{"a":[])");
  mesh.box.turn_until([&] { server.accept(); return mesh.caller.has_frame(); });
  const WireFrame answer = mesh.caller.take();
  EXPECT_EQ(answer.code(), Code::kInvalidArgument);
  EXPECT_TRUE(answer.not_run());
}

TEST(LegacyCallee, AnAnswerThatIsNoneIsAFailureAndABreachEndsTheLink) {
  Mesh mesh;
  OldServer server;
  mesh.box.apply(set_cluster(1, {server.endpoint()}), set_service("s"), set_flow("s", 1));
  mesh.call(1, "[]");
  mesh.box.turn_until([&] { server.receive(); return !server.connections.empty() && !server.connections[0].got.empty(); });
  server.connections[0].send("-ERR what is GET\r\n");
  mesh.box.turn_until([&] { return mesh.caller.has_frame(); });
  EXPECT_EQ(mesh.caller.take().text(), "the old server refused: ERR what is GET");
  server.connections[0].send("+more\r\n");
  mesh.box.turn_until([&] { server.receive(); return server.connections[0].ended; });
}

/// Two calls over one connection to an old server: the first is under way, the second waits behind it.
struct OneConnection {
  Mesh mesh;
  OldServer server;

  static EngineOptions one_at_a_time() {
    EngineOptions options;
    options.legacy_connections_per_instance = 1;
    options.max_legacy_message_bytes = 100'000;
    return options;
  }
  OneConnection() : mesh(one_at_a_time()) {
    mesh.box.apply(set_cluster(1, {server.endpoint()}), set_service("s"), set_flow("s", 1));
    mesh.call(1, "[1]");
    mesh.call(2, "[2]");
    await_request(0);
  }
  void await_request(size_t connection) {
    mesh.box.turn_until([&] {
      server.receive();
      return server.connections.size() > connection && !server.connections[connection].got.empty();
    });
  }
  WireFrame answer() {
    mesh.box.turn_until([&] { return mesh.caller.has_frame(); });
    return mesh.caller.take();
  }
  /// The second call is asked on a connection of its own, at once, and gets its own answer.
  void expect_the_second_goes_on() {
    await_request(1);
    EXPECT_EQ(server.connections[1].got, call("[2]"));
    server.connections[1].send(bulk(ok("\"two\"")));
    const WireFrame second = answer();
    EXPECT_EQ(second.id(), 2u);
    EXPECT_EQ(second.code(), Code::kOk);
    EXPECT_EQ(second.body, "\"two\"");
    server.receive();
    EXPECT_TRUE(server.connections[0].ended);
  }
};

TEST(LegacyCallee, AnAnswerOverTheBoundCostsItsCallAndItsConnectionOnly) {
  OneConnection old;
  old.server.connections[0].send("$100001\r\n{");
  const WireFrame first = old.answer();
  EXPECT_EQ(first.id(), 1u);
  EXPECT_EQ(first.code(), Code::kResourceExhausted);
  EXPECT_FALSE(first.not_run());
  EXPECT_NE(first.text().find("limits.legacyMessageBytes"), std::string::npos) << first.text();
  old.expect_the_second_goes_on();
  EXPECT_EQ(old.mesh.box.engine.counters().protocol_violations, 0u);
}

TEST(LegacyCallee, ASecondAnswerIsNobodysAndCostsItsConnectionOnly) {
  OneConnection old;
  old.server.connections[0].send(bulk(ok("1")) + bulk(ok("\"not asked for\"")));
  const WireFrame first = old.answer();
  EXPECT_EQ(first.id(), 1u);
  EXPECT_EQ(first.body, "1");
  old.expect_the_second_goes_on();
  EXPECT_EQ(old.mesh.box.engine.counters().protocol_violations, 1u);
}

TEST(LegacyCallee, AConnectionThatItsServerEndsAfterAnAnswerIsReplacedAtOnce) {
  OneConnection old;
  old.server.connections[0].send(bulk(ok("1")));
  EXPECT_EQ(old.answer().body, "1");
  old.mesh.box.turn_until([&] { old.server.receive(); return old.server.connections[0].got.size() == 2 * call("[1]").size(); });
  old.server.connections[0].fd.reset();
  EXPECT_EQ(old.answer().code(), Code::kUnavailable) << "it may have run";
  old.mesh.call(3, "[3]");
  old.await_request(1);
  old.server.connections[1].send(bulk(ok("3")));
  EXPECT_EQ(old.answer().body, "3");
}

TEST(LegacyCallee, WhatNeverGaveAnAnswerIsLeftAloneForAWhile) {
  OneConnection old;
  old.server.connections[0].send("220 mail.example ESMTP\r\n");
  std::map<uint64_t, WireFrame> answers;
  for (int i = 0; i < 2; i++) {
    const WireFrame answer = old.answer();
    answers[answer.id()] = answer;
  }
  EXPECT_EQ(answers[1].code(), Code::kUnavailable);
  EXPECT_FALSE(answers[1].not_run());
  EXPECT_EQ(answers[2].code(), Code::kUnavailable);
  EXPECT_TRUE(answers[2].not_run());
  EXPECT_EQ(old.mesh.box.engine.counters().connects, 1u);
}

TEST(Legacy, OldClientToOldServerKeepsCodesAndProps) {
  OldWorld old;
  OldServer server;
  old.box.apply(set_cluster(1, {server.endpoint()}), set_service("s"), set_flow("s", 1));
  const std::string request = R"({"action":"s","params":{"m":"m","args":[ 1 ]},"props":{"k":"v"}})";
  old.client.send(get(request));
  old.box.turn_until([&] { server.receive(); return !server.connections.empty() && !server.connections[0].got.empty(); });
  EXPECT_EQ(server.connections[0].got, get(request));
  const std::string reply = R"({"ec":501,"em":"no such service","result":null})";
  server.connections[0].send(bulk(reply));
  EXPECT_EQ(old.answer(bulk(reply).size()), bulk(reply));
}

TEST(Legacy, EveryAgentAnswersLookupItself) {
  OldWorld old;
  old.client.send(get(R"({"action":"/service/lookup","params":{"m":"getService","args":["/service/x","redis"]}})"));
  old.box.turn_until([&] { return !old.box.events.upcalls.empty(); });
  const auto& upcall = old.box.events.upcalls.back();
  Resolve answer = resolve(upcall.token, Resolve::Verdict::kAnswer);
  answer.body = "{}";
  old.box.apply(std::move(answer));
  EXPECT_EQ(old.answer(bulk(ok("{}")).size()), bulk(ok("{}")));
}

}  // namespace
}  // namespace ringside
