// See app_link.h. The handshake first, the rings below.
#include "native/app/app_link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "native/base/errno_text.h"
#include "native/codec/frame.h"
#include "native/fd/peer_user.h"
#include "native/shm/doorbell.h"
#include "native/shm/layout.h"

namespace ringside {
namespace {

constexpr std::string_view kHungUp = "the agent hung up";

// Bounds one on_doorbell(): as much as a pipe holds by default. An honest agent leaves a byte or two.
constexpr int kDoorbellReads = 16;

bool is_opening_frame(FrameType type) { return type == FrameType::kHello || type == FrameType::kWelcome; }

// Size of the valid frame that begins at p, or 0.
size_t valid_frame_bytes(const uint8_t* p, size_t n) {
  FixedPart fixed;
  const char* reason = nullptr;
  if (split_frame(p, n, &fixed, &reason) != Split::kFrame || is_opening_frame(fixed.type)) return 0;
  return frame_bytes(fixed);
}

bool is_nonblocking(int fd, int access_mode) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_NONBLOCK) != 0 && (flags & O_ACCMODE) == access_mode;
}

// A blocking or foreign descriptor could hang the app's thread in a read or write. Eventfds have no file type.
bool is_doorbell_out(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && (info.st_mode & S_IFMT) == 0 && is_nonblocking(fd, O_RDWR);
}
bool is_doorbell_in(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode) && is_nonblocking(fd, O_RDONLY);
}

}  // namespace

void AppLink::start(std::string_view socket_path, const uint8_t* hello, size_t hello_bytes,
                    const std::vector<uint32_t>* agent_uids) {
  FixedPart fixed;
  const char* bad = nullptr;
  if (split_frame(hello, hello_bytes, &fixed, &bad) != Split::kFrame || frame_bytes(fixed) != hello_bytes ||
      fixed.type != FrameType::kHello) {
    return close("the hello is no valid hello frame");
  }
  ring_bytes_wanted_ = fixed.value;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.empty() || socket_path.size() >= sizeof address.sun_path) {
    return close("the agent's socket path is empty or too long");
  }
  std::copy(socket_path.begin(), socket_path.end(), address.sun_path);
  socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_.valid()) return close(std::string("cannot make a socket: ") + errno_text(errno));
  int rc;
  do {
    rc = ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (rc != 0 && errno == EINTR);
  if (rc != 0) {
    if (errno == EAGAIN) return close(kAgentBusyReason);
    return close("cannot reach the agent at " + std::string(socket_path) + ": " + errno_text(errno));
  }
  const PeerUser agent = agent_uids == nullptr ? PeerUser{} : listening_user(socket_.get());
  if (agent_uids != nullptr && std::find(agent_uids->begin(), agent_uids->end(), agent.uid) == agent_uids->end()) {
    return close(std::string(socket_path) + " is listened on by uid " + std::to_string(agent.uid) +
                 ", whom this application does not take for its agent: name it in agentUids (RINGSIDE_AGENT_UIDS) if it is");
  }
  hello_.assign(hello, hello + hello_bytes);
  welcome_.resize(kFixedBytes);
  state_ = State::kSendingHello;
}

void AppLink::on_socket() {
  if (state_ == State::kSendingHello) {
    send_hello();
  } else if (state_ == State::kAwaitingWelcome) {
    read_welcome();
  } else if (state_ == State::kOpen) {
    watch_socket();
  }
}

void AppLink::send_hello() {
  while (hello_sent_ < hello_.size()) {
    const ssize_t sent =
        send_with_fds(socket_.get(), hello_.data() + hello_sent_, hello_.size() - hello_sent_, nullptr, 0);
    if (sent < 0) {
      // An agent that refuses without reading leaves its welcome behind: read that before giving up.
      if (errno == EPIPE || errno == ECONNRESET) break;
      if (errno != EAGAIN) close(std::string("cannot send the hello: ") + errno_text(errno));
      return;
    }
    hello_sent_ += static_cast<size_t>(sent);
  }
  hello_ = {};
  state_ = State::kAwaitingWelcome;
}

void AppLink::read_welcome() {
  while (state_ == State::kAwaitingWelcome) {
    ReceivedFds fds;
    // Never past the frame's end: what follows it on the socket would be a violation, not data.
    const ssize_t got =
        recv_with_fds(socket_.get(), welcome_.data() + welcome_read_, welcome_.size() - welcome_read_, &fds);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return close("the agent hung up before its welcome");
    if (fds.truncated) return close("descriptors of the welcome were lost");
    if (fds.count > 0 && !take_welcome_fds(&fds)) return;
    welcome_read_ += static_cast<size_t>(got);
    if (welcome_read_ == kFixedBytes && welcome_.size() == kFixedBytes) {
      FixedPart fixed;
      if (const char* reason = decode_fixed(welcome_.data(), &fixed)) {
        return close(std::string("the agent's welcome is invalid: ") + reason);
      }
      if (fixed.type != FrameType::kWelcome) return close("the agent's first frame is no welcome");
      welcome_.resize(frame_bytes(fixed));
    }
    if (welcome_read_ == welcome_.size()) finish_welcome();
  }
}

bool AppLink::take_welcome_fds(ReceivedFds* fds) {
  if (welcome_read_ != 0 || fds->count != 3) {
    close("the welcome carries descriptors that do not belong there");
    return false;
  }
  memfd_ = std::move(fds->fds[0]);
  doorbell_out_ = std::move(fds->fds[1]);
  doorbell_in_ = std::move(fds->fds[2]);
  return true;
}

void AppLink::finish_welcome() {
  FixedPart fixed;
  decode_fixed(welcome_.data(), &fixed);
  const bool grants_ring = fixed.status == 0 && fixed.value != 0;
  if (grants_ring != memfd_.valid()) return close("the welcome's descriptors do not fit what it grants");
  if (grants_ring) return open_rings(fixed.value);
  welcome_complete_ = true;
  if (fixed.status != 0) return close("the agent refused the link with status " + std::to_string(fixed.status));
  close("the agent grants no ring: use frames over a socket");
}

void AppLink::open_rings(uint32_t ring_bytes) {
  // More than was asked for would let the agent spend the app's address space.
  if (!shm::is_valid_ring_bytes(ring_bytes) || ring_bytes > std::max(ring_bytes_wanted_, kMinRingBytes)) {
    return close("the agent grants a ring of a size that was not asked for");
  }
  if (!is_doorbell_out(doorbell_out_.get()) || !is_doorbell_in(doorbell_in_.get())) {
    return close("the agent sent doorbells of the wrong kind");
  }
  Result<Segment> segment = Segment::open(std::move(memfd_), ring_bytes);
  if (!segment) return close(segment.error().text);
  segment_ = segment.take();
  to_agent_.attach(segment_.control(shm::kAppToAgent), segment_.data(shm::kAppToAgent), ring_bytes);
  from_agent_.attach(segment_.control(shm::kAgentToApp), segment_.data(shm::kAgentToApp), ring_bytes);
  welcome_complete_ = true;
  state_ = State::kOpen;
}

void AppLink::watch_socket() {
  uint8_t byte = 0;
  ReceivedFds fds;
  const ssize_t got = recv_with_fds(socket_.get(), &byte, 1, &fds);
  if (got > 0) return close("the agent sent bytes on the socket of a ring link");
  if (got == 0 || errno != EAGAIN) hang_up();
}

void AppLink::on_doorbell() {
  if (state_ != State::kOpen) return;
  uint8_t bytes[4096];
  for (int i = 0; i < kDoorbellReads; ++i) {
    const ssize_t got = ::read(doorbell_in_.get(), bytes, sizeof bytes);
    if (got == static_cast<ssize_t>(sizeof bytes)) continue;
    if (got == 0) return hang_up();
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno != EAGAIN) close(std::string("the doorbell cannot be read: ") + errno_text(errno));
    return;
  }
}

void AppLink::hang_up() {
  state_ = State::kDraining;
  reason_ = kHungUp;
  drain_until_ = from_agent_.published_position();
}

void AppLink::ring_agent() {
  if (!ring_eventfd(doorbell_out_.get())) close("the agent's doorbell cannot be rung");
}

AppLink::Written AppLink::write(const uint8_t* bytes, size_t n, size_t* taken) {
  *taken = 0;
  for (size_t at = 0, size = 0; at < n; at += size) {
    size = valid_frame_bytes(bytes + at, n - at);
    if (size == 0) return Written::kMalformed;
  }
  if (state_ != State::kOpen) return Written::kSome;
  size_t at = 0;
  bool full = false;
  while (at < n && !full) {
    // Judged again, because the bytes may lie in memory that another thread of the app writes.
    const size_t size = valid_frame_bytes(bytes + at, n - at);
    if (size == 0) break;
    const uint32_t payload = static_cast<uint32_t>(size);
    uint8_t* place = to_agent_.reserve(payload);
    if (place == nullptr) {
      // Published first: room can only come back from records that the agent can see.
      if (to_agent_.publish()) ring_agent();
      full = to_agent_.arm_space_wanted(payload);
      if (full) space_wanted_bytes_ = payload;
      continue;
    }
    std::memcpy(place, bytes + at, size);
    to_agent_.commit();
    at += size;
  }
  if (to_agent_.publish()) ring_agent();
  if (to_agent_.violated()) close("ring tail out of range");
  *taken = at;
  return at == n ? Written::kAll : full ? Written::kSome : Written::kMalformed;
}

bool AppLink::has_room() {
  if (state_ != State::kOpen) return false;
  if (to_agent_.reserve(kMaxFrameBytes) != nullptr || !to_agent_.arm_space_wanted(kMaxFrameBytes)) return true;
  if (to_agent_.violated()) close("ring tail out of range");
  space_wanted_bytes_ = kMaxFrameBytes;
  return false;
}

AppLink::Written AppLink::write_frame(const uint8_t* prefix, size_t prefix_bytes, const uint8_t* body, size_t body_bytes) {
  FixedPart fixed;
  if (prefix_bytes < kFixedBytes || decode_fixed(prefix, &fixed) != nullptr || is_opening_frame(fixed.type) ||
      prefix_bytes != kFixedBytes + fixed.header_bytes || body_bytes != fixed.body_bytes) {
    return Written::kMalformed;
  }
  uint8_t* const place = state_ == State::kOpen ? to_agent_.reserve(static_cast<uint32_t>(prefix_bytes + body_bytes)) : nullptr;
  if (to_agent_.violated()) close("ring tail out of range");
  if (place == nullptr) return Written::kSome;
  std::memcpy(place, prefix, prefix_bytes);
  if (body_bytes > 0) std::memcpy(place + prefix_bytes, body, body_bytes);
  to_agent_.commit();
  if (to_agent_.publish()) ring_agent();
  return Written::kAll;
}

bool AppLink::space_returned() {
  if (state_ != State::kOpen || space_wanted_bytes_ == 0) return false;
  const bool still_full = to_agent_.arm_space_wanted(space_wanted_bytes_);
  if (to_agent_.violated()) close("ring tail out of range");
  if (still_full) return false;
  space_wanted_bytes_ = 0;
  return true;
}

size_t AppLink::drain(uint8_t* slab, size_t room) {
  if (state_ != State::kOpen && state_ != State::kDraining) return 0;
  size_t filled = 0;
  bool more = true;
  const char* violation = nullptr;
  while (more && violation == nullptr && room - filled >= kMaxFrameBytes) {
    if (state_ == State::kDraining && from_agent_.position() >= drain_until_) break;
    RecordView record;
    switch (from_agent_.next(&record)) {
      case RingRead::kEmpty:
        more = false;
        break;
      case RingRead::kViolation:
        violation = from_agent_.violation();
        break;
      case RingRead::kRecord:
        if (record.size < kFixedBytes || record.size > kMaxFrameBytes) {
          violation = "ring record is no frame";
          break;
        }
        std::memcpy(slab + filled, record.data, record.size);
        // Only the private copy is judged: the agent can still write to the ring.
        if (valid_frame_bytes(slab + filled, record.size) != record.size) {
          violation = "ring record is no valid frame";
          break;
        }
        filled += record.size;
        break;
    }
  }
  if (from_agent_.release() && state_ == State::kOpen) ring_agent();
  if (violation != nullptr) close(violation);
  if (state_ == State::kDraining && (!more || from_agent_.position() >= drain_until_)) close(kHungUp);
  return filled;
}

AppLink::Sleep AppLink::arm() {
  if (state_ == State::kDraining) return Sleep::kMore;
  if (state_ != State::kOpen || from_agent_.arm_waiting()) return Sleep::kYes;
  from_agent_.disarm();
  return Sleep::kMore;
}

void AppLink::close(std::string_view reason) {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  if (reason_.empty()) reason_ = reason;
}

}  // namespace ringside
