// Frames, a sink that keeps them, and a channel that does what a test says. For the tests and the fuzzer of native/link.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "native/codec/frame.h"
#include "native/link/channel.h"
#include "native/link/link.h"
#include "native/link/turn_arena.h"

namespace ringside::testing {

inline std::string frame_of(uint64_t id, size_t body_bytes = 0, size_t header_bytes = 0,
                            FrameType type = FrameType::kRequest) {
  FixedPart fixed;
  fixed.type = type;
  fixed.request_id = id;
  fixed.header_bytes = static_cast<uint32_t>(header_bytes);
  fixed.body_bytes = static_cast<uint32_t>(body_bytes);
  std::string out(kFixedBytes, '\0');
  encode_fixed(fixed, reinterpret_cast<uint8_t*>(out.data()));
  for (size_t i = 0; i < header_bytes + body_bytes; i++) out.push_back(static_cast<char>(id * 31 + i));
  return out;
}

/// A frame as the engine would append it, with its memory; `split` keeps the body apart from the head.
class OwnedFrame {
 public:
  explicit OwnedFrame(std::string bytes, bool split = false) : bytes_(std::move(bytes)) {
    auto* p = reinterpret_cast<uint8_t*>(bytes_.data());
    decode_fixed(p, &frame.fixed);
    frame.head = p;
    frame.head_bytes = kFixedBytes + frame.fixed.header_bytes;
    frame.body = p + frame.head_bytes;
    frame.body_bytes = frame.fixed.body_bytes;
    if (!split) return;
    body_ = bytes_.substr(frame.head_bytes);
    frame.body = reinterpret_cast<const uint8_t*>(body_.data());
  }
  OwnedFrame(const OwnedFrame&) = delete;
  OwnedFrame& operator=(const OwnedFrame&) = delete;
  const std::string& bytes() const { return bytes_; }
  Frame frame;

 private:
  std::string bytes_;
  std::string body_;
};

class KeepingSink final : public FrameSink {
 public:
  bool on_frame(Link*, Frame& frame) override {
    std::string bytes(reinterpret_cast<const char*>(frame.head), frame.head_bytes);
    if (frame.body_bytes > 0) bytes.append(reinterpret_cast<const char*>(frame.body), frame.body_bytes);
    frames.push_back(std::move(bytes));
    return stop_after == 0 || --stop_after > 0;
  }
  std::vector<std::string> frames;
  size_t stop_after = 0;  // refuse to go on with this one; 0: never
};

/// Bytes to read come from `in` in pieces, what is written lands in `out`, as much as `room` allows.
class ScriptedChannel final : public Channel {
 public:
  ssize_t read(uint8_t* p, size_t n) override {
    reads++;
    if (in.empty()) {
      if (ended) return 0;
      errno = read_error != 0 ? read_error : EAGAIN;
      return -1;
    }
    std::string& piece = in.front();
    const size_t taken = std::min(n, piece.size());
    std::memcpy(p, piece.data(), taken);
    piece.erase(0, taken);
    if (piece.empty()) in.pop_front();
    return static_cast<ssize_t>(taken);
  }
  ssize_t write(const iovec* parts, int count) override {
    writes++;
    part_counts.push_back(count);
    if (write_error != 0) {
      errno = write_error;
      return -1;
    }
    size_t room = room_per_write();
    if (room == 0) {
      errno = EAGAIN;
      return -1;
    }
    size_t put = 0;
    for (int i = 0; i < count && room > 0; i++) {
      const size_t n = std::min(room, parts[i].iov_len);
      out.append(static_cast<const char*>(parts[i].iov_base), n);
      put += n;
      room -= n;
    }
    return static_cast<ssize_t>(put);
  }
  int fd() const override { return -1; }
  UniqueFd release_fd() override { return UniqueFd(); }

  std::deque<std::string> in;
  bool ended = false;
  int read_error = 0;
  std::function<size_t()> room_per_write = [] { return SIZE_MAX; };
  int write_error = 0;
  std::string out;
  int reads = 0;
  int writes = 0;
  std::vector<int> part_counts;
};

}  // namespace ringside::testing
