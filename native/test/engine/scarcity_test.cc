// An engine for which the kernel has no descriptors or no memory left: it says so once, refuses what it cannot do, and goes on by
// itself when there is enough again.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "native/shm/layout.h"
#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

/// Lowers a soft limit of this process while it lives.
class LoweredLimit {
 public:
  LoweredLimit(__rlimit_resource resource, rlim_t soft) : resource_(resource) {
    ::getrlimit(resource_, &before_);
    rlimit lowered = before_;
    lowered.rlim_cur = soft;
    EXPECT_EQ(::setrlimit(resource_, &lowered), 0);
  }
  ~LoweredLimit() { ::setrlimit(resource_, &before_); }
  LoweredLimit(const LoweredLimit&) = delete;
  LoweredLimit& operator=(const LoweredLimit&) = delete;

 private:
  __rlimit_resource resource_;
  rlimit before_{};
};

/// The limit on descriptors that leaves room for `free` more.
rlim_t descriptors_with(int free) {
  rlim_t number = 0;
  for (;; number++) {
    if (::fcntl(static_cast<int>(number), F_GETFD) >= 0) continue;
    if (free-- == 0) return number;
  }
}

TEST(Scarcity, WithoutDescriptorsConnectionsWaitAndItIsSaidOnce) {
  EngineBox box;
  box.listen_unix_socket();
  Wire there = box.app("there");
  Wire late = Wire::unix_socket(box.path());
  late.send(hello("late"));
  {
    const LoweredLimit none(RLIMIT_NOFILE, descriptors_with(0));
    for (int i = 0; i < 10; i++) box.advance_ms(150);
    ASSERT_EQ(box.events.listener_problems.size(), 1u);
    EXPECT_NE(box.events.listener_problems[0].find("Too many open files"), std::string::npos) << box.events.listener_problems[0];
    EXPECT_GE(box.engine.counters().accept_failures, 5u);
    there.send(control(FrameType::kPing, 7));
    box.turn_until([&] { return there.has_frame(); });
    EXPECT_EQ(there.take().fixed.type, FrameType::kPong) << "those who are there go on";
  }
  box.advance_ms(150);
  box.turn_until([&] { return late.has_frame(); });
  EXPECT_EQ(late.take().code(), Code::kOk);
  ASSERT_EQ(box.events.listener_problems.size(), 2u);
  EXPECT_EQ(box.events.listener_problems[1], "");
}

TEST(Scarcity, WithoutDescriptorsForAnUpstreamTheCallerLearnsWhyAndOthersAreServed) {
  Mesh mesh;
  EngineBox& box = mesh.box;
  EngineBox other;
  const uint16_t port = other.listen_tcp_port(LinkRole::kPeer);
  box.apply(set_cluster(2, {remote_endpoint(200, port)}, "far"), set_service("far"), set_flow("far", 2));
  Wire server = mesh.server("server");
  mesh.serve_by({"server"});
  {
    const LoweredLimit none(RLIMIT_NOFILE, descriptors_with(0));
    for (uint64_t id = 1; id <= 3; id++) {
      mesh.caller.send(request(id, {.service = "far", .method = "m"}));
      const WireFrame answer = mesh.answer();
      EXPECT_EQ(answer.code(), Code::kUnavailable);
      EXPECT_TRUE(answer.fixed.flags & kFlagNotRun);
      EXPECT_NE(answer.text().find("127.0.0.1:" + std::to_string(port)), std::string::npos) << answer.text();
      EXPECT_NE(answer.text().find("Too many open files"), std::string::npos) << answer.text();
    }
    mesh.call(4);
    EXPECT_TRUE(server.has_frame());
  }
  ASSERT_EQ(box.events.upstream_problems.size(), 1u);
  EXPECT_EQ(box.events.upstream_problems[0].address, "127.0.0.1:" + std::to_string(port));
  EXPECT_NE(box.events.upstream_problems[0].problem.find("Too many open files"), std::string::npos);
  EXPECT_EQ(box.engine.counters().connects, 1u) << "the others came within the pause";
  box.clock->advance_ms(100);
  mesh.caller.send(request(5, {.service = "far", .method = "m"}));
  box.turn_until([&] {
    other.turn();
    return box.events.upstream_problems.size() == 2;
  });
  EXPECT_EQ(box.events.upstream_problems[1].problem, "");
}

TEST(Scarcity, WhereThereIsNothingForARingTheSocketGoesOnAndBothSidesSayWhy) {
  std::signal(SIGXFSZ, SIG_IGN);  // as in Node
  EngineBox box;
  box.listen_unix_socket();
  struct Case {
    __rlimit_resource resource;
    int free_descriptors;
    const char* why;
  };
  uint64_t refused = 0;
  for (const Case& c : {Case{RLIMIT_FSIZE, 0, "no memory for the segment"}, Case{RLIMIT_NOFILE, 0, "cannot make a memfd"},
                        Case{RLIMIT_NOFILE, 1, "cannot make doorbells"}, Case{RLIMIT_NOFILE, 3, "cannot make doorbells"}}) {
    Wire app = Wire::unix_socket(box.path());
    box.turn();
    app.send(hello("app", kMinRingBytes));
    const rlim_t soft = c.resource == RLIMIT_FSIZE ? kMinRingBytes : descriptors_with(c.free_descriptors);
    {
      const LoweredLimit scarce(c.resource, soft);
      box.turn(2);
    }
    const WireFrame welcome = app.take();
    EXPECT_EQ(welcome.code(), Code::kOk);
    EXPECT_EQ(welcome.fixed.value, 0u);
    EXPECT_NE(welcome.text().find(c.why), std::string::npos) << welcome.text();
    EXPECT_NE(box.events.ups.back().note.find(c.why), std::string::npos) << box.events.ups.back().note;
    EXPECT_EQ(box.engine.counters().segments_refused, ++refused);
    app.send(control(FrameType::kPing, 7));
    box.turn_until([&] { return app.has_frame(); });
    EXPECT_EQ(app.take().fixed.type, FrameType::kPong);
  }
}

}  // namespace
}  // namespace ringside
