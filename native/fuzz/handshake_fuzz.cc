// Fuzzes the agent's end of a handshake: any first bytes, in any pieces, with descriptors nobody asked for, on every way in. What
// must hold: only a whole and valid hello is welcomed, and shared memory goes only to whoever asked for it on the unix socket;
// everything else ends; and when the peer is gone, so are its link and every descriptor.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string_view>
#include <vector>

#include "native/codec/frame.h"
#include "native/codec/mesh_header.h"
#include "native/engine/engine.h"
#include "native/fd/scm_rights.h"
#include "native/fuzz/require.h"
#include "native/shm/layout.h"
#include "native/shm/segment.h"

using namespace ringside;

namespace {

constexpr std::string_view kToken = "a token";

class HandClock final : public Clock {
 public:
  int64_t now_ns() const override { return ns; }
  int64_t ns = 1'000'000'000;
};

enum Entrance : uint8_t { kUnixApp, kLoopbackApp, kInboundPeer, kEntrances };

// A name without a file, unique to this process: nothing is left behind.
sockaddr_un address_of(Entrance entrance) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  std::snprintf(out.sun_path + 1, sizeof out.sun_path - 2, "ringside-handshake-fuzz-%d-%d", static_cast<int>(::getpid()),
                static_cast<int>(entrance));
  return out;
}

/// An agent's engine with its three ways in. All are unix sockets here: the kernel's TCP is not what is tested, and costs too much.
struct Agent {
  HandClock clock;
  EventMailbox mailbox;
  std::unique_ptr<Engine> engine;

  Agent() {
    std::signal(SIGPIPE, SIG_IGN);
    EngineOptions options;
    options.max_links = 8;
    options.max_pending = 16;
    options.max_parked = 8;
    options.max_flows = 16;
    options.ring_bytes = kMinRingBytes;
    options.allow_uids = options.loopback_uids = {static_cast<uint32_t>(::getuid())};
    options.loopback_token = kToken;
    engine = std::make_unique<Engine>(std::move(options), &clock, &mailbox, [] {});
    REQUIRE(engine->init_error() == nullptr);
    for (const Entrance entrance : {kUnixApp, kLoopbackApp, kInboundPeer}) {
      AddListener add;
      add.id = entrance;
      add.kind = entrance == kUnixApp ? LinkKind::kUnix : LinkKind::kTcp;
      add.role = entrance == kInboundPeer ? LinkRole::kPeer : LinkRole::kApp;
      add.fd = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      const sockaddr_un name = address_of(entrance);
      REQUIRE(::bind(add.fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
      REQUIRE(::listen(add.fd.get(), 4) == 0);
      std::vector<Command> commands;
      commands.emplace_back(std::move(add));
      engine->apply(std::move(commands));
    }
    turn();
  }
  void turn() {
    // A link that closes is seen in one turn and told of in the next.
    for (int i = 0; i < 3; ++i) engine->turn(0);
    mailbox.take();
  }
  uint64_t links() const { return engine->counters().links_opened - engine->counters().links_closed; }
};

/// What the agent must make of the bytes so far.
struct Expected {
  bool welcomed = false;
  bool shares_memory = false;
};

Expected expected_of(Entrance entrance, const std::vector<uint8_t>& bytes) {
  FixedPart fixed;
  const char* reason = nullptr;
  HeaderView view;
  if (split_frame(bytes.data(), bytes.size(), &fixed, &reason) != Split::kFrame) return {};
  if (fixed.type != FrameType::kHello) return {};
  const uint8_t* header = bytes.data() + kFixedBytes;
  if (parse_header(header, fixed.header_bytes, &view) != nullptr) return {};
  const std::string_view body(reinterpret_cast<const char*>(header + fixed.header_bytes), fixed.body_bytes);
  if (entrance == kLoopbackApp && (!(fixed.flags & kFlagToken) || body != kToken)) return {};
  return {true, entrance == kUnixApp && shm::is_valid_ring_bytes(fixed.value)};
}

int lowest_free_descriptor() {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(fd);
  return fd;
}

/// What came from the agent: whether it was a welcome with status 0, and whether shared memory came with it. The segment of a link
/// that has ended since is empty.
Expected read_answer(int fd, bool link_lives) {
  std::array<uint8_t, kMaxFrameBytes> bytes;
  ReceivedFds fds;
  const ssize_t got = recv_with_fds(fd, bytes.data(), bytes.size(), &fds);
  if (got <= 0) return {};
  FixedPart fixed;
  const char* reason = nullptr;
  REQUIRE(split_frame(bytes.data(), static_cast<size_t>(got), &fixed, &reason) == Split::kFrame);
  REQUIRE(fixed.type == FrameType::kWelcome);
  REQUIRE(fds.count == (fixed.value == 0 ? 0u : 3u));
  if (fixed.value != 0 && link_lives) REQUIRE(static_cast<bool>(Segment::open(std::move(fds.fds[0]), fixed.value)));
  return {fixed.status == 0, fixed.value != 0};
}

}  // namespace

// Input: way in and size of the pieces, what else to do, then the peer's bytes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  static Agent agent;
  const auto entrance = static_cast<Entrance>(data[0] % kEntrances);
  const size_t piece = data[0] < 128 ? SIZE_MAX : 1 + size_t{data[1]};
  const bool brings_descriptors = (data[2] & 1) != 0;
  const bool goes_silent = (data[2] & 2) != 0;
  const std::vector<uint8_t> bytes(data + 3, data + size);
  // On TCP these speak the legacy protocol, which has no handshake.
  if (entrance != kUnixApp && !bytes.empty() && bytes[0] != (kFrameMagic & 0xFF)) return 0;
  const int lowest_free = lowest_free_descriptor();
  {
    const UniqueFd peer(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const sockaddr_un name = address_of(entrance);
    REQUIRE(::connect(peer.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
    const int stray[] = {peer.get(), peer.get()};
    size_t sent = 0;
    while (sent < bytes.size()) {
      const size_t n = std::min(piece, bytes.size() - sent);
      const ssize_t taken = send_with_fds(peer.get(), bytes.data() + sent, n, stray, brings_descriptors ? 2 : 0);
      if (taken <= 0) break;  // the agent has had enough
      sent += static_cast<size_t>(taken);
      if (piece != SIZE_MAX) agent.turn();
    }
    agent.turn();
    REQUIRE(agent.links() <= 1);
    const Expected expected = expected_of(entrance, bytes);
    const Expected answered = read_answer(peer.get(), agent.links() == 1);
    // What follows a valid hello may be a violation, which ends the link before its welcome is sent.
    if (answered.welcomed) REQUIRE(expected.welcomed && answered.shares_memory == expected.shares_memory);
    if (!expected.welcomed) REQUIRE(!answered.welcomed);
    FixedPart fixed;
    const char* reason = nullptr;
    const bool alone = split_frame(bytes.data(), bytes.size(), &fixed, &reason) == Split::kFrame &&
                       frame_bytes(fixed) == bytes.size();
    if (expected.welcomed && alone) REQUIRE(answered.welcomed && agent.links() == 1);
    if (goes_silent && !answered.welcomed) {
      agent.clock.ns += (EngineOptions{}.open_timeout_ms + 1) * kNsPerMs;
      agent.turn();
      // A hello together with other frames may have opened it.
      REQUIRE(agent.links() == 0 || expected.welcomed);
    }
  }
  agent.turn();
  REQUIRE(agent.links() == 0);
  REQUIRE(lowest_free_descriptor() == lowest_free);
  return 0;
}
