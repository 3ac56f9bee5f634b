// One end of a link in a test's hands: a real socket on which it writes and reads raw frames, right or wrong. Never blocks.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "native/codec/frame.h"
#include "native/codec/mesh_header.h"
#include "native/codec/mesh_patch.h"
#include "native/fd/scm_rights.h"
#include "native/link/socket.h"
#include "native/test/engine/header_of.h"

namespace ringside::testing {

/// A frame taken apart, or to be written.
struct WireFrame {
  FixedPart fixed;
  std::string header = {};
  std::string body = {};

  std::string bytes() const {
    FixedPart whole = fixed;
    whole.header_bytes = static_cast<uint32_t>(header.size());
    whole.body_bytes = static_cast<uint32_t>(body.size());
    std::string out(kFixedBytes, '\0');
    encode_fixed(whole, reinterpret_cast<uint8_t*>(out.data()));
    return out + header + body;
  }
  HeaderView view() const {
    HeaderView out;
    EXPECT_EQ(parse_header(reinterpret_cast<const uint8_t*>(header.data()), header.size(), &out), nullptr);
    return out;
  }
  std::string text() const { return std::string(view().status_message); }
  Code code() const { return static_cast<Code>(fixed.status); }
  bool not_run() const { return fixed.flags & kFlagNotRun; }
  uint64_t id() const { return fixed.request_id; }
};

inline WireFrame hello(std::string app, uint32_t ring_bytes = 0, std::string token = {}) {
  WireFrame frame;
  frame.fixed.type = FrameType::kHello;
  frame.fixed.value = ring_bytes;
  frame.fixed.flags = token.empty() ? 0 : kFlagToken;
  frame.header = header_of({.source_app = std::move(app)});
  frame.body = std::move(token);
  return frame;
}
inline WireFrame welcome_frame() {
  WireFrame frame;
  frame.fixed.type = FrameType::kWelcome;
  return frame;
}
inline WireFrame request(uint64_t id, const HeaderFields& fields, std::string body = {}, uint32_t timeout_ms = 0) {
  WireFrame frame;
  frame.fixed.request_id = id;
  frame.fixed.timeout_ms = timeout_ms;
  frame.header = header_of(fields);
  frame.body = std::move(body);
  return frame;
}
inline WireFrame control(FrameType type, uint64_t id, std::string header = {}) {
  WireFrame frame;
  frame.fixed.type = type;
  frame.fixed.request_id = id;
  frame.header = std::move(header);
  return frame;
}
inline WireFrame response(uint64_t id, std::string body = {}, Code code = Code::kOk) {
  WireFrame frame = control(FrameType::kResponse, id);
  frame.fixed.status = static_cast<uint8_t>(code);
  frame.body = std::move(body);
  return frame;
}

class Wire {
 public:
  Wire() = default;
  explicit Wire(UniqueFd fd) : fd_(std::move(fd)) {}

  static Wire unix_socket(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    Wire wire(UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    EXPECT_EQ(::connect(wire.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return wire;
  }
  static Wire tcp(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Wire wire(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    EXPECT_EQ(::connect(wire.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return wire;
  }

  int fd() const { return fd_.get(); }
  bool valid() const { return fd_.valid(); }
  void close() { fd_.reset(); }

  void send_bytes(std::string_view bytes) {
    ASSERT_EQ(::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT), static_cast<ssize_t>(bytes.size()));
  }
  void send(const WireFrame& frame) { send_bytes(frame.bytes()); }

  /// Reads what is there into `frames`; notices the end. Descriptors land in `fds`.
  void receive() {
    std::vector<uint8_t> block(256 * 1024);
    while (fd_.valid()) {
      ReceivedFds came;
      const ssize_t n = recv_with_fds(fd(), block.data(), block.size(), &came);
      if (came.count > 0) fds = std::move(came);
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (n <= 0) {
        ended = true;
        return;
      }
      rest_.append(reinterpret_cast<const char*>(block.data()), static_cast<size_t>(n));
      if (!plain_text) take_apart();
    }
  }
  /// The oldest frame received and not taken yet; fails the test when there is none.
  WireFrame take() {
    receive();
    if (frames.empty()) {
      ADD_FAILURE() << "no frame came";
      return {};
    }
    WireFrame first = std::move(frames.front());
    frames.pop_front();
    return first;
  }
  bool has_frame() {
    receive();
    return !frames.empty();
  }
  bool has_ended() {
    receive();
    return ended;
  }

  std::deque<WireFrame> frames;
  ReceivedFds fds;
  bool ended = false;
  bool plain_text = false;  // what comes is kept as it is: no frames are expected

 private:
  void take_apart() {
    size_t at = 0;
    for (;;) {
      const auto* p = reinterpret_cast<const uint8_t*>(rest_.data()) + at;
      WireFrame frame;
      const char* reason = nullptr;
      const Split split = split_frame(p, rest_.size() - at, &frame.fixed, &reason);
      EXPECT_NE(split, Split::kError) << reason;
      if (split != Split::kFrame) break;
      frame.header = rest_.substr(at + kFixedBytes, frame.fixed.header_bytes);
      frame.body = rest_.substr(at + kFixedBytes + frame.fixed.header_bytes, frame.fixed.body_bytes);
      at += frame_bytes(frame.fixed);
      frames.push_back(std::move(frame));
    }
    rest_.erase(0, at);
  }

  UniqueFd fd_;
  std::string rest_;
};

}  // namespace ringside::testing
