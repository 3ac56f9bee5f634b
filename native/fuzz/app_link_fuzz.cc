// Fuzzes the app's end of a link: an agent that answers the hello with any bytes and any descriptors, then writes
// anything into the rings. What must hold: the link opens or closes with a reason, never both and never neither
// at the end, frames it hands out are whole and valid, and no descriptor stays behind.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "native/app/app_link.h"
#include "native/base/bytes.h"
#include "native/codec/frame.h"
#include "native/fd/scm_rights.h"
#include "native/fuzz/require.h"
#include "native/shm/doorbell.h"
#include "native/shm/layout.h"
#include "native/shm/segment.h"

using namespace ringside;

namespace {

// A name without a file, unique to this process: nothing is left behind.
sockaddr_un address() {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  std::snprintf(out.sun_path + 1, sizeof out.sun_path - 2, "ringside-fuzz-%d", static_cast<int>(::getpid()));
  return out;
}

int listener() {
  static const int fd = [] {
    std::signal(SIGPIPE, SIG_IGN);
    const int made = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_un name = address();
    REQUIRE(::bind(made, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0 && ::listen(made, 4) == 0);
    return made;
  }();
  return fd;
}

std::vector<uint8_t> opening(FrameType type, uint8_t status, uint32_t value) {
  FixedPart fixed;
  fixed.type = type;
  fixed.status = status;
  fixed.value = value;
  std::vector<uint8_t> out(kFixedBytes);
  encode_fixed(fixed, out.data());
  return out;
}

// One of the descriptors that an agent could send, right ones more often than wrong ones.
int pick_fd(uint8_t choice, const Segment& segment, const AgentDoorbells& bells, int stray) {
  switch (choice % 8) {
    case 0:
    case 1:
      return segment.fd();
    case 2:
    case 3:
      return bells.eventfd.get();
    case 4:
    case 5:
      return bells.pipe_read.get();
    case 6:
      return bells.pipe_write.get();
    default:
      return stray;
  }
}

void drain(AppLink* link) {
  static std::vector<uint8_t> slab(2 * kMaxFrameBytes);
  const size_t filled = link->drain(slab.data(), slab.size());
  for (size_t at = 0; at < filled;) {
    FixedPart fixed;
    const char* reason = nullptr;
    REQUIRE(split_frame(slab.data() + at, filled - at, &fixed, &reason) == Split::kFrame);
    at += frame_bytes(fixed);
  }
}

}  // namespace

// Input: mode, then for a hostile welcome three choices of descriptors and the bytes; for an open link pokes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 8) return 0;
  // Mapping a fresh segment for each input would be most of the time; one is enough, the app never writes its header.
  static const Segment segment = Segment::create(kMinRingBytes).take();
  static const AgentDoorbells bells = AgentDoorbells::create().take();
  static const UniqueFd stray(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const int listening = listener();
  const int lowest_free = ::dup(stray.get());
  ::close(lowest_free);

  {
    AppLink link;
    const sockaddr_un name = address();
    const std::vector<uint8_t> hello = opening(FrameType::kHello, 0, kMinRingBytes);
    link.start({name.sun_path, sizeof name.sun_path - 1}, hello.data(), hello.size());
    REQUIRE(link.state() != AppLink::State::kClosed);
    const UniqueFd agent(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    REQUIRE(agent.valid());
    link.on_socket();

    const uint8_t mode = data[0];
    if (mode % 2 == 0) {
      const int fds[] = {pick_fd(data[1], segment, bells, stray.get()), pick_fd(data[2], segment, bells, stray.get()),
                         pick_fd(data[3], segment, bells, stray.get())};
      const size_t count = data[4] % 4;
      const std::vector<uint8_t> proper =
          opening(FrameType::kWelcome, data[5] % 18, (mode & 2) != 0 ? kMinRingBytes : 0);
      const bool whole = (mode & 4) != 0;
      const uint8_t* bytes = whole ? proper.data() : data + 6;
      const size_t n = whole ? proper.size() : size - 6;
      send_with_fds(agent.get(), bytes, n, fds, count);
      link.on_socket();
      if (link.state() == AppLink::State::kOpen) REQUIRE(link.has_welcome() && count == 3);
    } else {
      for (int ring = 0; ring < static_cast<int>(shm::kRings); ++ring) {
        std::memset(segment.control(ring), 0, shm::kControlPageBytes);
      }
      const int fds[] = {segment.fd(), bells.eventfd.get(), bells.pipe_read.get()};
      const std::vector<uint8_t> welcome = opening(FrameType::kWelcome, 0, kMinRingBytes);
      send_with_fds(agent.get(), welcome.data(), welcome.size(), fds, 3);
      link.on_socket();
      REQUIRE(link.state() == AppLink::State::kOpen);
      uint8_t* const control = segment.control(shm::kAgentToApp);
      uint8_t* const records = segment.data(shm::kAgentToApp);
      const size_t n = std::min<size_t>(size - 8, 4096);
      std::memcpy(records, data + 8, n);
      store_u64(control + shm::kHeadAt, 8 * (uint64_t{data[1]} | uint64_t{data[2]} << 8 | uint64_t{data[3]} << 56));
      store_u64(segment.control(shm::kAppToAgent) + shm::kTailAt, 8 * uint64_t{data[4]});
      if (ring_pipe(bells.pipe_write.get())) link.on_doorbell();
      drain(&link);
      size_t taken = 0;
      const std::vector<uint8_t> ping = opening(FrameType::kPing, 0, 0);
      const AppLink::Written written = link.write(ping.data(), ping.size(), &taken);
      REQUIRE((written == AppLink::Written::kAll) == (taken == ping.size()));
      link.write(data + 8, n, &taken);
      REQUIRE(taken <= n);
      link.arm();
      link.space_returned();
    }
    // The agent goes away: whatever the state, a bounded number of steps ends the link, with a reason.
    ::shutdown(agent.get(), SHUT_RDWR);
    for (int i = 0; i < 8 && link.state() != AppLink::State::kClosed; ++i) {
      link.on_socket();
      drain(&link);
    }
    REQUIRE(link.state() == AppLink::State::kClosed);
    REQUIRE(!link.reason().empty());
  }

  const int after = ::dup(stray.get());
  ::close(after);
  REQUIRE(after == lowest_free);
  return 0;
}
