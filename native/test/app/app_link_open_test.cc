// The app's handshake: with a good agent, one that refuses, and one that is hostile. Whatever comes, the link opens or
// closes with its reason, and no descriptor is left over.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <functional>
#include <memory>

#include "native/app/app_link.h"
#include "native/test/app/fake_agent.h"
#include "native/test/fd/open_fds.h"

namespace ringside {
namespace {

using testing::Bytes;
using testing::FakeAgent;
using testing::make_hello;
using testing::make_welcome;
using testing::open_fds;
using State = AppLink::State;

constexpr uint32_t kRing = kMinRingBytes;

void start(AppLink& link, const FakeAgent& agent, uint32_t ring_bytes = kRing) {
  const Bytes hello = make_hello(ring_bytes);
  link.start(agent.path(), hello.data(), hello.size());
  link.on_socket();
}

// The reason with which a link closes after `misbehave` answered its hello, and a proof that nothing leaked.
std::string reason_after(const std::function<void(FakeAgent&)>& misbehave) {
  FakeAgent agent;
  agent.make_rings(kRing);
  std::string reason;
  size_t before = 0;
  {
    before = open_fds();
    AppLink link;
    start(link, agent);
    agent.accept();
    misbehave(agent);
    link.on_socket();
    EXPECT_EQ(link.state(), State::kClosed);
    EXPECT_FALSE(link.has_welcome());
    reason = link.reason();
  }
  EXPECT_EQ(open_fds(), before + (agent.socket.valid() ? 1 : 0)) << reason;
  return reason;
}

TEST(AppLinkOpen, AGoodAgent) {
  FakeAgent agent;
  AppLink link;
  start(link, agent);
  EXPECT_EQ(link.state(), State::kAwaitingWelcome);
  EXPECT_FALSE(link.wants_writable());
  agent.accept();
  EXPECT_EQ(agent.receive(), make_hello(kRing));
  link.on_socket();
  EXPECT_EQ(link.state(), State::kAwaitingWelcome) << "nothing came yet";
  agent.make_rings(kRing);
  agent.send(make_welcome(0, kRing), agent.ring_fds());
  link.on_socket();
  EXPECT_EQ(link.state(), State::kOpen) << link.reason();
  EXPECT_TRUE(link.has_welcome());
  EXPECT_EQ(link.welcome(), make_welcome(0, kRing));
  EXPECT_GE(link.doorbell_fd(), 0);
}

TEST(AppLinkOpen, AWelcomeInSingleBytes) {
  FakeAgent agent;
  AppLink link;
  start(link, agent);
  agent.accept();
  agent.make_rings(kRing);
  const Bytes welcome = make_welcome(0, kRing);
  for (size_t i = 0; i < welcome.size(); ++i) {
    EXPECT_EQ(link.state(), State::kAwaitingWelcome);
    agent.send(Bytes{welcome[i]}, i == 0 ? agent.ring_fds() : std::vector<int>{});
    link.on_socket();
  }
  EXPECT_EQ(link.state(), State::kOpen) << link.reason();
}

TEST(AppLinkOpen, AHelloThatTheSocketTakesInParts) {
  FakeAgent agent;
  AppLink link;
  const Bytes hello = testing::make_frame(FrameType::kHello, 0, kRing, kMaxHeaderBytes, kMaxFrameBodyBytes);
  link.start(agent.path(), hello.data(), hello.size());
  const int small = 4096;
  ASSERT_EQ(::setsockopt(link.socket_fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  agent.accept();
  Bytes received;
  int parts = 0;
  while (received.size() < hello.size()) {
    ASSERT_TRUE(link.wants_writable());
    link.on_socket();
    const Bytes part = agent.receive();
    ASSERT_FALSE(part.empty());
    received.insert(received.end(), part.begin(), part.end());
    ++parts;
  }
  EXPECT_GT(parts, 1);
  EXPECT_EQ(received, hello);
  EXPECT_EQ(link.state(), State::kAwaitingWelcome);
}

TEST(AppLinkOpen, ALargerRingThanTheSmallest) {
  FakeAgent agent;
  AppLink link;
  start(link, agent, 4 * kRing);
  agent.accept();
  agent.make_rings(2 * kRing);
  agent.send(make_welcome(0, 2 * kRing), agent.ring_fds());
  link.on_socket();
  EXPECT_EQ(link.state(), State::kOpen) << "less than wanted is the agent's right: " << link.reason();
}

TEST(AppLinkOpen, ARefusalIsDeliveredWithItsText) {
  FakeAgent agent;
  AppLink link;
  start(link, agent);
  agent.accept();
  agent.send(make_welcome(16, 0));
  agent.socket.reset();
  link.on_socket();
  EXPECT_EQ(link.state(), State::kClosed);
  EXPECT_TRUE(link.has_welcome());
  EXPECT_EQ(link.welcome(), make_welcome(16, 0));
  EXPECT_EQ(link.reason(), "the agent refused the link with status 16");
}

TEST(AppLinkOpen, ARefusalBeforeTheHelloWasRead) {
  FakeAgent agent;
  AppLink link;
  agent.make_rings(kRing);
  start(link, agent);
  agent.accept();
  agent.send(make_welcome(8, 0));
  agent.socket.reset();  // with the hello unread: the app sees a reset after the welcome
  link.on_socket();
  EXPECT_TRUE(link.has_welcome());
  EXPECT_EQ(link.reason(), "the agent refused the link with status 8");
}

TEST(AppLinkOpen, NoRingGrantedMeansFramesElsewhere) {
  FakeAgent agent;
  AppLink link;
  start(link, agent);
  agent.accept();
  agent.send(make_welcome(0, 0));
  link.on_socket();
  EXPECT_EQ(link.state(), State::kClosed);
  EXPECT_TRUE(link.has_welcome());
  EXPECT_EQ(link.reason(), "the agent grants no ring: use frames over a socket");
}

TEST(AppLinkOpen, NoAgentThere) {
  AppLink link;
  const Bytes hello = make_hello(kRing);
  link.start("/tmp/ringside-test-nobody/agent.sock", hello.data(), hello.size());
  EXPECT_EQ(link.state(), State::kClosed);
  EXPECT_EQ(link.reason(), "cannot reach the agent at /tmp/ringside-test-nobody/agent.sock: No such file or directory");
}

TEST(AppLinkOpen, WhoeverListensIsToldNothingUnlessItMayBeTheAgent) {
  const auto self = static_cast<uint32_t>(::geteuid());
  const std::vector<uint32_t> others = {self + 1, self + 2};
  const std::vector<uint32_t> own = {self + 1, self};
  FakeAgent agent;
  const Bytes hello = make_hello(kRing);
  {
    AppLink link;
    link.start(agent.path(), hello.data(), hello.size(), &others);
    EXPECT_EQ(link.state(), State::kClosed);
    EXPECT_EQ(link.reason(), agent.path() + " is listened on by uid " + std::to_string(self) +
                                 ", whom this application does not take for its agent: name it in agentUids "
                                 "(RINGSIDE_AGENT_UIDS) if it is");
    link.on_socket();
  }
  agent.accept();
  EXPECT_EQ(agent.receive(), Bytes{});
  AppLink link;
  link.start(agent.path(), hello.data(), hello.size(), &own);
  link.on_socket();
  agent.accept();
  EXPECT_EQ(agent.receive(), hello);
}

TEST(AppLinkOpen, AFullBacklogIsToldApart) {
  const FakeAgent agent(0);
  std::vector<std::unique_ptr<AppLink>> links;
  for (int i = 0; i < 16; ++i) {
    links.push_back(std::make_unique<AppLink>());
    start(*links.back(), agent);
    if (links.back()->state() == State::kClosed) break;
  }
  EXPECT_EQ(links.back()->reason(), kAgentBusyReason);
}

TEST(AppLinkOpen, UnusableArguments) {
  const auto reason = [](std::string_view path, const Bytes& hello) {
    AppLink link;
    link.start(path, hello.data(), hello.size());
    EXPECT_EQ(link.state(), State::kClosed);
    return link.reason();
  };
  EXPECT_EQ(reason(std::string(108, 'x'), make_hello(kRing)), "the agent's socket path is empty or too long");
  EXPECT_EQ(reason("", make_hello(kRing)), "the agent's socket path is empty or too long");
  Bytes extra = make_hello(kRing);
  extra.push_back(0);
  for (const Bytes& hello : {Bytes{}, Bytes(31, 0), Bytes(64, 0), extra, make_welcome(0, kRing)}) {
    EXPECT_EQ(reason("/tmp/x", hello), "the hello is no valid hello frame");
  }
}

TEST(AppLinkOpen, TruncatedWelcomes) {
  const Bytes welcome = make_welcome(0, kRing);
  for (const size_t n : {size_t{0}, size_t{1}, kFixedBytes - 1, kFixedBytes, welcome.size() - 1}) {
    const std::string reason = reason_after([&](FakeAgent& agent) {
      if (n > 0) agent.send(Bytes(welcome.begin(), welcome.begin() + static_cast<ptrdiff_t>(n)), agent.ring_fds());
      agent.socket.reset();
    });
    EXPECT_EQ(reason, "the agent hung up before its welcome") << n;
  }
}

TEST(AppLinkOpen, Garbage) {
  const auto after_bytes = [](const Bytes& bytes) {
    return reason_after([&](FakeAgent& agent) { agent.send(bytes, agent.ring_fds()); });
  };
  EXPECT_EQ(after_bytes(Bytes(64, 'G')), "the agent's welcome is invalid: wrong magic");
  EXPECT_EQ(after_bytes(testing::make_request(1, 8)), "the agent's first frame is no welcome");
  EXPECT_EQ(after_bytes(make_hello(kRing)), "the agent's first frame is no welcome");
  Bytes huge = make_welcome(0, kRing);
  patch_header_bytes(huge.data(), 0xFFFFFFFF);
  EXPECT_EQ(after_bytes(huge), "the agent's welcome is invalid: header over 16384 bytes");
  for (const uint32_t value : {kRing / 2, kRing + 8, kRing * 2, 0x80000000u, 0xFFFFFFFFu}) {
    EXPECT_EQ(after_bytes(make_welcome(0, value)), "the agent grants a ring of a size that was not asked for") << value;
  }
}

TEST(AppLinkOpen, WrongDescriptors) {
  const auto after_fds = [](const Bytes& welcome, const std::function<std::vector<int>(FakeAgent&)>& choose) {
    return reason_after([&](FakeAgent& agent) { agent.send(welcome, choose(agent)); });
  };
  const Bytes good = make_welcome(0, kRing);
  const std::string misplaced = "the welcome carries descriptors that do not belong there";
  const std::string unfit = "the welcome's descriptors do not fit what it grants";
  const std::string wrong_bells = "the agent sent doorbells of the wrong kind";
  const auto all = [](FakeAgent& a) { return a.ring_fds(); };
  EXPECT_EQ(after_fds(good, [](FakeAgent&) { return std::vector<int>{}; }), unfit);
  EXPECT_EQ(after_fds(make_welcome(0, 0), all), unfit);
  EXPECT_EQ(after_fds(make_welcome(8, kRing), all), unfit);
  EXPECT_EQ(after_fds(good, [](FakeAgent& a) { return std::vector<int>{a.segment.fd(), a.bells.eventfd.get()}; }),
            misplaced);
  EXPECT_EQ(after_fds(good, [](FakeAgent& a) { return std::vector<int>(4, a.segment.fd()); }), misplaced);
  EXPECT_EQ(after_fds(good, [](FakeAgent& a) { return std::vector<int>(kMaxFdsPerMessage, a.segment.fd()); }),
            misplaced);
  EXPECT_EQ(after_fds(good,
                      [](FakeAgent& a) {
                        return std::vector<int>{a.segment.fd(), a.bells.pipe_read.get(), a.bells.eventfd.get()};
                      }),
            wrong_bells);
  EXPECT_EQ(after_fds(good,
                      [](FakeAgent& a) {
                        return std::vector<int>{a.segment.fd(), a.bells.eventfd.get(), a.bells.pipe_write.get()};
                      }),
            wrong_bells);
  EXPECT_EQ(after_fds(good,
                      [](FakeAgent& a) {
                        return std::vector<int>{a.bells.eventfd.get(), a.bells.eventfd.get(), a.bells.pipe_read.get()};
                      }),
            "the segment's descriptor is no memfd");
}

TEST(AppLinkOpen, BlockingDoorbells) {
  for (const bool pipe : {true, false}) {
    const std::string reason = reason_after([&](FakeAgent& agent) {
      const int fd = pipe ? agent.bells.pipe_read.get() : agent.bells.eventfd.get();
      ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
      agent.send(make_welcome(0, kRing), agent.ring_fds());
    });
    EXPECT_EQ(reason, "the agent sent doorbells of the wrong kind");
  }
}

TEST(AppLinkOpen, AnUnsealedOrShortSegment) {
  const auto after_memfd = [](off_t bytes, int seals) {
    return reason_after([&](FakeAgent& agent) {
      const UniqueFd memfd(::memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING));
      ASSERT_EQ(::ftruncate(memfd.get(), bytes), 0);
      ASSERT_EQ(::fcntl(memfd.get(), F_ADD_SEALS, seals), 0);
      agent.send(make_welcome(0, kRing), {memfd.get(), agent.bells.eventfd.get(), agent.bells.pipe_read.get()});
    });
  };
  const auto whole = static_cast<off_t>(shm::segment_bytes(kRing));
  EXPECT_EQ(after_memfd(whole, 0), "the segment is not sealed");
  EXPECT_EQ(after_memfd(whole - 4096, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), "the segment has the wrong size");
}

TEST(AppLinkOpen, DescriptorsBehindTheFirstByte) {
  FakeAgent agent;
  agent.make_rings(kRing);
  const size_t before = open_fds();
  {
    AppLink link;
    start(link, agent);
    agent.accept();
    const Bytes welcome = make_welcome(0, kRing);
    agent.send(Bytes(welcome.begin(), welcome.begin() + 1), agent.ring_fds());
    link.on_socket();
    agent.send(Bytes(welcome.begin() + 1, welcome.end()), agent.ring_fds());
    link.on_socket();
    EXPECT_EQ(link.reason(), "the welcome carries descriptors that do not belong there");
  }
  EXPECT_EQ(open_fds(), before + 1);
}

}  // namespace
}  // namespace ringside
