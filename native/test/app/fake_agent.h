// An agent that does exactly what a test tells it to, right or wrong, in the test's own thread: the link under test
// never blocks, so both ends can take turns. Used by the tests of native/app.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "native/codec/frame.h"
#include "native/fd/scm_rights.h"
#include "native/shm/doorbell.h"
#include "native/shm/layout.h"
#include "native/shm/ring.h"
#include "native/shm/segment.h"

namespace ringside::testing {

using Bytes = std::vector<uint8_t>;

inline Bytes make_frame(FrameType type, uint8_t status, uint32_t value, size_t header_bytes, size_t body_bytes,
                        uint64_t request_id = 0) {
  FixedPart fixed;
  fixed.type = type;
  fixed.status = status;
  fixed.value = value;
  fixed.request_id = request_id;
  fixed.header_bytes = static_cast<uint32_t>(header_bytes);
  fixed.body_bytes = static_cast<uint32_t>(body_bytes);
  Bytes out(kFixedBytes + header_bytes + body_bytes, static_cast<uint8_t>(request_id + 1));
  encode_fixed(fixed, out.data());
  return out;
}
inline Bytes make_request(uint64_t id, size_t body_bytes) {
  return make_frame(FrameType::kRequest, 0, 0, 0, body_bytes, id);
}
inline Bytes make_hello(uint32_t ring_bytes) { return make_frame(FrameType::kHello, 0, ring_bytes, 10, 0); }
inline Bytes make_welcome(uint8_t status, uint32_t value) {
  return make_frame(FrameType::kWelcome, status, value, 5, 0);
}

inline bool is_readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

class FakeAgent {
 public:
  explicit FakeAgent(int backlog = 8) {
    char name[] = "/tmp/ringside-test-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path().c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), backlog), 0);
  }
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;
  ~FakeAgent() { std::filesystem::remove_all(directory_); }

  std::string path() const { return directory_ + "/agent.sock"; }

  void accept() {
    socket.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(socket.valid());
  }
  Bytes receive() {
    Bytes bytes(2 * kMaxFrameBytes);
    const ssize_t n = ::recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return bytes;
  }
  void send(const Bytes& bytes, const std::vector<int>& fds = {}) {
    ASSERT_EQ(send_with_fds(socket.get(), bytes.data(), bytes.size(), fds.data(), fds.size()),
              static_cast<ssize_t>(bytes.size()));
  }

  // Everything an honest agent makes for a ring link; the test sends it, or parts of it, or changes it first.
  void make_rings(uint32_t ring_bytes) {
    segment = Segment::create(ring_bytes).take();
    bells = AgentDoorbells::create().take();
    to_app.attach(segment.control(shm::kAgentToApp), segment.data(shm::kAgentToApp), ring_bytes);
    from_app.attach(segment.control(shm::kAppToAgent), segment.data(shm::kAppToAgent), ring_bytes);
  }
  std::vector<int> ring_fds() const { return {segment.fd(), bells.eventfd.get(), bells.pipe_read.get()}; }

  // Puts a record without any check, publishes, and rings if the app sleeps. Returns whether it rang.
  bool put(const Bytes& record) {
    uint8_t* place = to_app.reserve(static_cast<uint32_t>(record.size()));
    EXPECT_NE(place, nullptr);
    std::copy(record.begin(), record.end(), place);
    to_app.commit();
    const bool sleeps = to_app.publish();
    if (sleeps) ring_pipe(bells.pipe_write.get());
    return sleeps;
  }
  // All records of the app's ring, released.
  std::vector<Bytes> take_all() {
    std::vector<Bytes> out;
    RecordView view;
    while (from_app.next(&view) == RingRead::kRecord) out.emplace_back(view.data, view.data + view.size);
    if (from_app.release()) ring_pipe(bells.pipe_write.get());
    return out;
  }

  UniqueFd socket;
  Segment segment;
  AgentDoorbells bells;
  RingProducer to_app;
  RingConsumer from_app;

 private:
  UniqueFd listener_;
  std::string directory_;
};

}  // namespace ringside::testing
