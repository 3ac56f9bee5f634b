// Two engines in one test, one to take over from the other; and a new process by hand, which may do what none should.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "native/engine/handoff_wire.h"
#include "native/test/engine/engine_box.h"

namespace ringside::testing {

/// An engine that serves, and one that is there to take over.
struct Handover {
  HandClock clock;
  EngineOptions new_options;
  std::function<void(EngineBox&)> serve_also = [](EngineBox&) {};  // what a test serves beside it, in either engine
  std::unique_ptr<EngineBox> old_one;
  std::unique_ptr<EngineBox> new_one;
  Wire caller;
  Wire server;

  explicit Handover(const std::string& serves = "s", const EngineOptions& old_options = {})
      : old_one(std::make_unique<EngineBox>(old_options, &clock)) {
    old_one->listen_unix_socket();
    std::filesystem::create_directory(old_one->path() + "-takeover");
    Result<Listening> listening = listen_successor(path());
    EXPECT_TRUE(listening);
    AddListener add;
    add.id = 7;
    add.kind = LinkKind::kUnix;
    add.role = LinkRole::kSuccessor;
    add.fd = std::move(listening.value().fd);
    old_one->apply(std::move(add));
    caller = old_one->app("caller");
    server = old_one->app("server");
    serve(*old_one, serves);
  }
  std::string path() const { return old_one->path() + "-takeover/agent.sock"; }
  void serve(EngineBox& box, const std::string& service = "s") {
    box.apply(set_cluster(1, {local_endpoint(200, old_one->link_of("server"))}, service), set_service(service), set_flow(service, 1));
    serve_also(box);
  }
  template <typename Condition>
  void until(Condition condition) {
    for (int i = 0; i < 2000 && !condition(); i++) {
      old_one->turn();
      EngineBox& serves = new_one ? *new_one : *old_one;
      serves.engine.turn(i < 100 ? 0 : 1);  // the kernel may take its time with what it has to deliver
      serves.collect();
    }
    EXPECT_TRUE(condition());
  }
  /// As far as the offer; clusters and flows are made.
  void ask() {
    new_one = std::make_unique<EngineBox>(new_options, &clock);
    old_one->events.asked.clear();
    new_one->apply(TakeOver{path(), "test", 10'000});
    until([&] { return !old_one->events.asked.empty(); });
    old_one->apply(OfferHandoff{"what TypeScript says", 1'000});
    until([&] { return !new_one->events.offered.empty(); });
    EXPECT_EQ(new_one->events.offered.back(), "what TypeScript says");
    serve(*new_one);
  }
  /// The whole of it. In one thread the frozen engine cannot wait for the other, so the other runs in one of its own.
  void take_over() {
    ask();
    new_one->apply(TakeOverReady{});
    std::atomic<bool> done{false};
    std::thread other([&] {
      while (!done) new_one->engine.turn(1);
    });
    for (int i = 0; i < 5000 && old_one->events.handed_over == 0; i++) {
      old_one->engine.turn(1);
      old_one->collect();
    }
    done = true;
    other.join();
    new_one->collect();
    EXPECT_EQ(old_one->events.handed_over, 1);
    EXPECT_EQ(new_one->events.taken_over, 1);
  }
  void call(uint64_t id, std::string body = {}, uint32_t timeout_ms = 0) {
    caller.send(request(id, {.service = "s", .method = "m"}, std::move(body), timeout_ms));
  }
  WireFrame at(Wire& wire) {
    until([&] { return wire.has_frame(); });
    return wire.take();
  }
};

/// A new process by hand, so that it can misbehave.
struct RawTaker {
  HandoffSocket socket;
  explicit RawTaker(const std::string& path) : socket(connect_handoff(path).take()) {}
  void say(HandoffStep step, uint32_t version = kHandoffStateVersion, uint32_t oldest = kHandoffStateVersion) {
    HandoffMessage message;
    message.step = step;
    message.version = version;
    message.oldest_version = oldest;
    EXPECT_TRUE(socket.send(message));
  }
  HandoffMessage hear(Handover& world) {
    HandoffMessage message;
    ReceivedFds fds;
    for (int i = 0; i < 2000; i++) {
      if (socket.receive(&message, &fds) == HandoffRead::kMessage) return message;
      world.old_one->turn();
    }
    ADD_FAILURE() << "nothing was said";
    return message;
  }
};

}  // namespace ringside::testing
