// An engine with real sockets, a clock moved by hand and a mailbox read at once: the tests of the engine drive it turn by
// turn. Waiting means taking turns until what is awaited has happened, never sleeping.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "native/engine/engine.h"
#include "native/link/socket.h"
#include "native/test/engine/event_reader.h"
#include "native/test/engine/wire.h"

namespace ringside::testing {

class HandClock final : public Clock {
 public:
  int64_t now_ns() const override { return now_ns_; }
  void advance_ms(int64_t ms) { now_ns_ += ms * kNsPerMs; }

 private:
  int64_t now_ns_ = 1'000'000'000'000;
};

class EngineBox {
  HandClock own_clock_;

 public:
  explicit EngineBox(EngineOptions options = {}, HandClock* shared_clock = nullptr)
      : clock(shared_clock != nullptr ? shared_clock : &own_clock_),
        engine(allow_self(std::move(options)), clock, &mailbox, [this] { wakes++; }) {
    EXPECT_EQ(engine.init_error(), nullptr);
    char name[] = "/tmp/ringside-test-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
  }
  ~EngineBox() { std::filesystem::remove_all(directory_); }
  EngineBox(const EngineBox&) = delete;
  EngineBox& operator=(const EngineBox&) = delete;

  std::string path() const { return directory_ + "/agent.sock"; }
  void listen_unix_socket() {
    Result<Listening> listening = listen_unix(path(), 0600, UINT32_MAX);
    ASSERT_TRUE(listening);
    AddListener add;
    add.id = 1;
    add.kind = LinkKind::kUnix;
    add.role = LinkRole::kApp;
    add.fd = std::move(listening.value().fd);
    apply(std::move(add));
  }
  uint16_t listen_tcp_port(LinkRole role, uint32_t id = 2) {
    Result<Listening> listening = listen_tcp("127.0.0.1", 0);
    EXPECT_TRUE(listening);
    AddListener add;
    add.id = id;
    add.kind = LinkKind::kTcp;
    add.role = role;
    add.fd = std::move(listening.value().fd);
    apply(std::move(add));
    return listening.value().port;
  }

  template <typename... Commands>
  void apply(Commands... commands) {
    std::vector<Command> all;
    (all.emplace_back(std::move(commands)), ...);
    engine.apply(std::move(all));
    collect();
  }
  void turn(int times = 1) {
    for (int i = 0; i < times; i++) engine.turn(0);
    collect();
  }
  void collect() {
    if (!deaf) events.read(mailbox.take());
  }
  /// Moves time and lets what is due happen.
  void advance_ms(int64_t ms) {
    clock->advance_ms(ms);
    turn();
  }

  /// An open link over the unix socket.
  Wire app(const std::string& name) {
    Wire wire = Wire::unix_socket(path());
    open(wire, name);
    return wire;
  }
  void open(Wire& wire, const std::string& name) {
    wire.send(hello(name));
    turn_until([&] { return wire.has_frame() || wire.ended; });
    const WireFrame welcome = wire.take();
    ASSERT_EQ(welcome.fixed.type, FrameType::kWelcome);
    ASSERT_EQ(welcome.fixed.status, 0);
  }
  /// The handle of the newest link whose hello named this app.
  Handle link_of(const std::string& name) const {
    for (auto at = events.ups.rbegin(); at != events.ups.rend(); ++at) {
      if (at->app == name) return at->link;
    }
    ADD_FAILURE() << "no link of " << name;
    return {};
  }
  template <typename Condition>
  void turn_until(Condition condition) {
    for (int i = 0; i < 2000; i++) {
      if (condition()) return;
      engine.turn(i < 5 ? 0 : 1);
      collect();
    }
    FAIL() << "it did not happen";
  }
  Stats stats() {
    events.stats.clear();
    apply(ReadStats{99});
    EXPECT_EQ(events.stats.size(), 1u);
    return events.stats.empty() ? Stats{} : events.stats.back();
  }

  HandClock* clock;
  EventMailbox mailbox;
  Engine engine;
  Events events;
  int wakes = 0;
  bool deaf = false;  // nobody reads the mailbox

 private:
  static EngineOptions allow_self(EngineOptions options) {
    if (options.allow_uids.empty()) options.allow_uids = {static_cast<uint32_t>(::getuid())};
    if (options.loopback_uids.empty()) options.loopback_uids = {static_cast<uint32_t>(::getuid())};
    return options;
  }
  std::string directory_;
};

// Commands as TypeScript would send them.

inline EndpointSpec local_endpoint(uint64_t id, Handle link) {
  EndpointSpec spec;
  spec.instance_id = id;
  spec.local = true;
  spec.link = link;
  return spec;
}
inline EndpointSpec remote_endpoint(uint64_t id, uint16_t port) {
  EndpointSpec spec;
  spec.instance_id = id;
  spec.address = "127.0.0.1:" + std::to_string(port);
  return spec;
}
inline SetCluster set_cluster(uint32_t id, std::vector<EndpointSpec> endpoints, std::string service = "s",
                              Balancer balancer = Balancer::kRoundRobin) {
  SetCluster command;
  command.spec.id = id;
  command.spec.service = std::move(service);
  command.spec.balancer = balancer;
  command.spec.endpoints = std::move(endpoints);
  return command;
}
inline SetService set_service(std::string service, Direction direction = Direction::kOutbound) {
  return SetService{direction, std::move(service), {}};
}
inline SetFlow set_flow(std::string service, uint32_t cluster, Direction direction = Direction::kOutbound) {
  SetFlow command;
  command.direction = direction;
  command.service = std::move(service);
  command.action.cluster = cluster;
  return command;
}
inline Resolve resolve(uint64_t token, Resolve::Verdict verdict = Resolve::Verdict::kLookUp) {
  Resolve command;
  command.token = token;
  command.verdict = verdict;
  return command;
}

/// An engine where `caller` calls service `s`, served by apps behind the same engine.
struct Mesh {
  EngineBox box;
  Wire caller;

  explicit Mesh(EngineOptions options = {}) : box(std::move(options)) {
    box.listen_unix_socket();
    caller = box.app("caller");
  }
  /// A server app whose endpoint is instance `id` of cluster 1.
  Wire server(const std::string& name) { return box.app(name); }
  void serve_by(const std::vector<std::string>& names) {
    std::vector<EndpointSpec> endpoints;
    uint64_t id = 100;
    for (const std::string& name : names) endpoints.push_back(local_endpoint(id++, box.link_of(name)));
    box.apply(set_cluster(1, std::move(endpoints)), set_service("s"), set_flow("s", 1));
  }
  void call(uint64_t id, std::string body = {}, uint32_t timeout_ms = 0) {
    caller.send(request(id, {.service = "s", .method = "m"}, std::move(body), timeout_ms));
    box.turn();
  }
  WireFrame answer() {
    box.turn();
    return caller.take();
  }
};

}  // namespace ringside::testing
