#include "native/test/hostile/hostile_peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "native/fd/scm_rights.h"
#include "native/shm/doorbell.h"
#include "native/shm/layout.h"

namespace ringside::testing {

namespace {
constexpr size_t kIndices[] = {shm::kHeadAt, shm::kTailAt, shm::kConsumerWaitingAt, shm::kSpaceWantedAt};
}

bool HostilePeer::connect_unix(const std::string& path) {
  socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

bool HostilePeer::connect_tcp(uint16_t port) {
  socket_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

void HostilePeer::send_raw(const void* bytes, size_t n) {
  if (!socket_.valid()) return;
  const ssize_t ignored = ::send(socket_.get(), bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)ignored;
}

void HostilePeer::say_hello(const std::string& app, uint32_t ring_bytes) {
  const Bytes hello = hello_of(app, ring_bytes);
  send_raw(hello.data(), hello.size());
}

bool HostilePeer::take_welcome() {
  uint8_t bytes[kFixedBytes];
  ReceivedFds fds;
  const ssize_t got = recv_with_fds(socket_.get(), bytes, sizeof bytes, &fds);
  FixedPart fixed;
  if (got != static_cast<ssize_t>(sizeof bytes) || decode_fixed(bytes, &fixed) != nullptr || fds.count != 3) return false;
  memfd_ = std::move(fds.fds[0]);
  eventfd_ = std::move(fds.fds[1]);
  pipe_read_ = std::move(fds.fds[2]);
  ring_bytes_ = fixed.value;
  mapped_bytes_ = shm::segment_bytes(ring_bytes_);
  void* base = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_.get(), 0);
  if (base == MAP_FAILED) return false;
  base_ = static_cast<uint8_t*>(base);
  out_.attach(base_ + shm::control_offset(shm::kAppToAgent), base_ + shm::data_offset(shm::kAppToAgent, ring_bytes_), ring_bytes_);
  in_.attach(base_ + shm::control_offset(shm::kAgentToApp), base_ + shm::data_offset(shm::kAgentToApp, ring_bytes_), ring_bytes_);
  return true;
}

void HostilePeer::unmap() {
  if (base_ != nullptr) ::munmap(base_, mapped_bytes_);
  base_ = nullptr;
}

/// As an app would send it, through the ring or over the socket; whether there is room is not our trouble.
void HostilePeer::put(const Bytes& frame) {
  if (base_ == nullptr) return send_raw(frame.data(), frame.size());
  uint8_t* place = out_.reserve(static_cast<uint32_t>(frame.size()));
  if (place == nullptr) return;
  std::copy(frame.begin(), frame.end(), place);
  out_.commit();
  out_.publish();
  ring_eventfd(eventfd_.get());
}

uint64_t HostilePeer::some_id(uint64_t foreign_id) {
  switch (random_->below(6)) {
    case 0:
      return foreign_id;
    case 1:
      return next_id_++;
    case 2:
      return random_->below(next_id_ + 1);
    case 3:  // a slot and a generation, as the engine makes them
      return (1 + random_->below(8)) << 32 | random_->below(300);
    case 4:
      return requests_seen_.empty() ? 0 : random_->of(requests_seen_);
    default:
      return random_->edge();
  }
}

FixedPart HostilePeer::any_fixed(uint64_t foreign_id) {
  FixedPart fixed;
  fixed.type = static_cast<FrameType>(1 + random_->below(random_->one_in(20) ? 255 : kMaxFrameType));
  fixed.flags = static_cast<uint8_t>(random_->one_in(2) ? random_->below(16) : 0);
  fixed.status = static_cast<uint8_t>(random_->one_in(4) ? random_->below(18) : 0);
  fixed.attempt = static_cast<uint8_t>(random_->below(256));
  fixed.request_id = some_id(foreign_id);
  fixed.timeout_ms = static_cast<uint32_t>(random_->one_in(2) ? random_->edge() : random_->below(3000));
  fixed.value = static_cast<uint32_t>(random_->one_in(2) ? random_->edge() : 0);
  return fixed;
}

void HostilePeer::send_frames(uint64_t foreign_id) {
  const uint64_t n = 1 + random_->below(12);
  for (uint64_t i = 0; i < n; i++) {
    const FixedPart fixed = any_fixed(foreign_id);
    std::string header;
    if (!random_->one_in(3)) header = header_of({.service = random_->of<std::string>({"echo", "trap", "filtered", "x"})});
    if (random_->one_in(6)) {
      for (char& c : header) c = static_cast<char>(random_->next());
    }
    Bytes frame = frame_of(fixed, header, std::string(random_->one_in(3) ? random_->below(60'000) : random_->below(64), 'b'));
    if (random_->one_in(8)) frame[random_->below(kFixedBytes)] = static_cast<uint8_t>(random_->next());
    if (random_->one_in(16)) frame.resize(random_->below(frame.size()) + 1);
    put(frame);
  }
}

/// Replies, chunks and credit for a request that went to another link.
void HostilePeer::forge_for(uint64_t foreign_id) {
  FixedPart fixed;
  fixed.request_id = foreign_id;
  fixed.type = random_->of<FrameType>({FrameType::kResponse, FrameType::kChunk, FrameType::kCredit, FrameType::kCancel});
  fixed.flags = random_->of<uint8_t>({0, kFlagReply, kFlagMore, kFlagReply | kFlagMore});
  fixed.value = static_cast<uint32_t>(random_->of<uint64_t>({0, 1, kStreamWindowBytes, random_->edge()}));
  put(frame_of(fixed, {}, fixed.type == FrameType::kCredit ? "" : "forged"));
}

void HostilePeer::invent_services() {
  const uint64_t n = 1 + random_->below(120);
  for (uint64_t i = 0; i < n; i++) {
    put(request_of(next_id_++, "invented-" + std::to_string(random_->below(1 << 20)), "", random_->one_in(4) ? 1 : 0));
  }
}

void HostilePeer::flood_control() {
  const auto type = random_->of<FrameType>({FrameType::kPing, FrameType::kCancel, FrameType::kGoAway, FrameType::kGoAwayAck,
                                            FrameType::kCredit, FrameType::kPong, FrameType::kOneWay, FrameType::kRequest});
  const uint64_t n = 1 + random_->below(600);
  const std::string service = random_->of<std::string>({"echo", "trap", "filtered", "ringside.agent", "same"});
  const std::string header = type == FrameType::kOneWay || type == FrameType::kRequest ? header_of({.service = service}) : "";
  const bool same_id = !patient_ && random_->one_in(4);
  for (uint64_t i = 0; i < n; i++) {
    put(frame_of({.type = type, .request_id = same_id ? 7 : next_id_++, .timeout_ms = 60'000, .value = 1}, header, {}));
  }
}

void HostilePeer::stream_bodies() {
  const uint64_t streams = 1 + random_->below(12);
  const uint64_t first = next_id_;
  next_id_ += streams;
  const std::string service = random_->of<std::string>({"echo", "trap", "unheard-of"});
  const auto length = static_cast<uint32_t>(random_->one_in(4) ? random_->edge() : 1 + random_->below(600'000));
  for (uint64_t i = 0; i < streams; i++) {
    put(frame_of({.type = FrameType::kRequest, .flags = kFlagMore, .request_id = first + i, .timeout_ms = 30'000, .value = length},
                 header_of({.service = service}), std::string(random_->below(3000), 's')));
  }
  const uint64_t chunks = random_->below(200);
  const size_t chunk_bytes = patient_ ? random_->of<size_t>({1, 700, 1200}) : random_->of<size_t>({0, 1, 1, 700, 60'000});
  for (uint64_t i = 0; i < chunks; i++) {
    const uint8_t flags = !patient_ && random_->one_in(50) ? 0 : kFlagMore;
    put(frame_of({.type = FrameType::kChunk, .flags = flags, .request_id = first + random_->below(streams)}, {},
                 std::string(chunk_bytes, 'c')));
  }
}

void HostilePeer::read_what_came() {
  Bytes bytes;
  if (base_ != nullptr) {
    RecordView view;
    for (int i = 0; i < 64 && in_.next(&view) == RingRead::kRecord; i++) {
      if (view.size < kFixedBytes) continue;
      FixedPart fixed;
      if (decode_fixed(view.data, &fixed) == nullptr && fixed.type == FrameType::kRequest) requests_seen_.push_back(fixed.request_id);
    }
    in_.release();
  } else if (socket_.valid()) {
    bytes.resize(256 * 1024);
    const ssize_t got = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got <= 0) return;
    stream_.insert(stream_.end(), bytes.begin(), bytes.begin() + got);
    for (const OwnedFrame& frame : take_frames(&stream_)) {
      if (frame.fixed.type == FrameType::kRequest) requests_seen_.push_back(frame.fixed.request_id);
    }
  }
}

void HostilePeer::answer_what_came(bool honestly) {
  read_what_came();
  for (const uint64_t id : requests_seen_) {
    FixedPart fixed;
    fixed.type = FrameType::kResponse;
    fixed.request_id = id;
    if (honestly) {
      put(frame_of(fixed, {}, "trapped"));
      continue;
    }
    // A reply in pieces that are tiny, too many, too long, or never come; or credit one byte at a time.
    fixed.flags = kFlagMore;
    fixed.value = static_cast<uint32_t>(1 + random_->below(300'000));
    if (!random_->one_in(3)) put(frame_of(fixed, random_->one_in(4) ? std::string("\xff\xff") : "", "begun"));
    const uint64_t pieces = random_->below(500);
    const bool credit = random_->one_in(3);
    for (uint64_t i = 0; i < pieces; i++) {
      put(credit ? frame_of({.type = FrameType::kCredit, .request_id = id, .value = 1}, {}, {})
                 : frame_of({.type = FrameType::kChunk, .flags = kFlagMore | kFlagReply, .request_id = id}, {}, "p"));
    }
  }
  if (patient_ || random_->one_in(2)) requests_seen_.clear();
  if (requests_seen_.size() > 64) requests_seen_.erase(requests_seen_.begin(), requests_seen_.end() - 64);
}

void HostilePeer::scribble_indices() {
  const uint64_t n = 1 + random_->below(4);
  for (uint64_t i = 0; i < n; i++) {
    uint8_t* page = base_ + shm::control_offset(static_cast<int>(random_->below(2)));
    const size_t at = kIndices[random_->below(std::size(kIndices))];
    uint64_t value = random_->edge();
    if (random_->one_in(3)) value = load_u64(page + at) + 8 * random_->below(64) - 8 * random_->below(64);
    store_u64(page + at, value);
  }
  ring_eventfd(eventfd_.get());
}

void HostilePeer::scribble_records() {
  uint8_t* data = base_ + shm::data_offset(static_cast<int>(random_->below(2)), ring_bytes_);
  if (random_->one_in(2)) {  // the header of the record that comes next, or of any
    const uint64_t position = random_->one_in(2) ? out_.position() & (ring_bytes_ - 1) : random_->below(ring_bytes_) & ~uint64_t{7};
    store_u64(data + std::min<uint64_t>(position, ring_bytes_ - 8),
              (random_->below(4) << 32) | (random_->edge() & 0xFFFFFFFF));
    // Published without regard to what stands there.
    store_u64(base_ + shm::control_offset(shm::kAppToAgent) + shm::kHeadAt, out_.position() + 8 * random_->below(64));
  } else {
    const uint64_t from = random_->below(ring_bytes_);
    const uint64_t n = random_->below(std::min<uint64_t>(ring_bytes_ - from, 20'000) + 1);
    for (uint64_t i = 0; i < n; i++) data[from + i] = static_cast<uint8_t>(random_->next());
  }
  ring_eventfd(eventfd_.get());
}

void HostilePeer::scribble_once() {
  auto* word = reinterpret_cast<uint64_t*>(base_ + (random_->below(mapped_bytes_) & ~uint64_t{7}));
  if (random_->one_in(3)) {
    word = reinterpret_cast<uint64_t*>(base_ + shm::control_offset(static_cast<int>(random_->below(2))) +
                                       kIndices[random_->below(std::size(kIndices))]);
  }
  std::atomic_ref(*word).store(random_->one_in(2) ? random_->edge() : std::atomic_ref(*word).load() + 40);
}

void HostilePeer::punch_holes() {
  constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const uint64_t pages = mapped_bytes_ / shm::kPageBytes;
  const uint64_t first = random_->one_in(3) ? 0 : random_->below(pages);
  const uint64_t n = random_->one_in(3) ? pages - first : 1 + random_->below(pages - first);
  ::fallocate(memfd_.get(), kPunch, static_cast<off_t>(first * shm::kPageBytes), static_cast<off_t>(n * shm::kPageBytes));
  // Sealed against these; a kernel that let them through would let us raise SIGBUS in the agent.
  if (::ftruncate(memfd_.get(), 4096) == 0) std::abort();
  if (::fcntl(memfd_.get(), F_ADD_SEALS, F_SEAL_WRITE) == 0) std::abort();
  ring_eventfd(eventfd_.get());
}

void HostilePeer::clear_nonblocking() {
  for (const int fd : {eventfd_.get(), pipe_read_.get(), socket_.get()}) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags >= 0) ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  }
}

void HostilePeer::abuse_doorbells() {
  const uint64_t n = random_->below(200);
  for (uint64_t i = 0; i < n; i++) {
    // One that was rung full and made blocking would hang its ringer: us, were this not reset.
    ::fcntl(eventfd_.get(), F_SETFL, O_NONBLOCK);
    ring_eventfd(eventfd_.get());
  }
  if (random_->one_in(4)) {
    const uint64_t nearly_full = ~uint64_t{0} - 1 - n;
    const ssize_t ignored = ::write(eventfd_.get(), &nearly_full, sizeof nearly_full);
    (void)ignored;
  }
  if (random_->one_in(3)) {
    const std::string path = "/proc/self/fd/" + std::to_string(pipe_read_.get());
    pipe_write_.reset(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    const Bytes noise(4096);
    while (pipe_write_.valid() && ::write(pipe_write_.get(), noise.data(), noise.size()) > 0) {
    }
  }
  if (random_->one_in(4)) ::fcntl(pipe_read_.get(), F_SETPIPE_SZ, 4096);
  if (random_->one_in(8)) pipe_read_.reset();
  if (random_->one_in(2)) clear_nonblocking();
}

void HostilePeer::send_garbage() {
  last_ = "garbage";
  Bytes noise(random_->one_in(2) ? random_->below(40) : random_->below(200'000));
  for (uint8_t& b : noise) b = static_cast<uint8_t>(random_->next());
  if (noise.size() > 2 && random_->one_in(2)) {
    noise[0] = 0xF5;
    noise[1] = 0x52;
  }
  send_raw(noise.data(), noise.size());
}

void HostilePeer::misbehave(uint64_t foreign_id) {
  ::fcntl(eventfd_.get(), F_SETFL, O_NONBLOCK);
  static const char* const kRingMisdeeds[] = {"scribble indices", "scribble records", "punch holes", "abuse doorbells"};
  static const char* const kMisdeeds[] = {"any frames", "forge",        "invent services", "flood", "stream",
                                          "answer",     "answer badly", "socket bytes",    "read",  "descriptors"};
  // A link that breaks the protocol is closed at once, so what does not must come often to pile up.
  if (!patient_ && has_ring() && random_->one_in(3)) {
    const uint64_t which = random_->below(std::size(kRingMisdeeds));
    last_ = kRingMisdeeds[which];
    if (which == 0) scribble_indices();
    if (which == 1) scribble_records();
    if (which == 2) punch_holes();
    if (which == 3) abuse_doorbells();
    return;
  }
  static const std::vector<uint64_t> kPatientMisdeeds = {2, 2, 3, 3, 3, 4, 4, 5, 6, 8};
  const uint64_t which = patient_ ? random_->of(kPatientMisdeeds) : random_->below(std::size(kMisdeeds));
  last_ = kMisdeeds[which];
  if (which == 0) send_frames(foreign_id);
  if (which == 1) forge_for(foreign_id);
  if (which == 2) invent_services();
  if (which == 3) flood_control();
  if (which == 4) stream_bodies();
  if (which == 5 || which == 6) answer_what_came(which == 5);
  if (which == 7 && random_->one_in(8)) send_garbage();
  if (which == 8) read_what_came();
  if (which == 9 && random_->one_in(4) && socket_.valid()) {
    const int fds[] = {socket_.get(), 0, 1};
    const ssize_t ignored = send_with_fds(socket_.get(), "x", 1, fds, std::size(fds));
    (void)ignored;
  }
}

}  // namespace ringside::testing
