// Frames for the hostile tests, right and wrong: whatever the numbers say is written, nothing is checked.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "native/codec/frame.h"
#include "native/test/engine/header_of.h"

namespace ringside::testing {

using Bytes = std::vector<uint8_t>;

struct OwnedFrame {
  FixedPart fixed;
  Bytes bytes;

  std::string body() const {
    return {reinterpret_cast<const char*>(bytes.data()) + kFixedBytes + fixed.header_bytes, fixed.body_bytes};
  }
};

/// The lengths are those of `header` and `body`; a caller who wants others changes the bytes.
inline Bytes frame_of(FixedPart fixed, std::string_view header, std::string_view body) {
  fixed.header_bytes = static_cast<uint32_t>(header.size());
  fixed.body_bytes = static_cast<uint32_t>(body.size());
  Bytes out(kFixedBytes + header.size() + body.size());
  encode_fixed(fixed, out.data());
  if (!header.empty()) std::memcpy(out.data() + kFixedBytes, header.data(), header.size());
  if (!body.empty()) std::memcpy(out.data() + kFixedBytes + header.size(), body.data(), body.size());
  return out;
}

inline Bytes hello_of(const std::string& app, uint32_t ring_bytes) {
  return frame_of({.type = FrameType::kHello, .value = ring_bytes}, header_of({.source_app = app}), {});
}
inline Bytes request_of(uint64_t id, const std::string& service, std::string_view body, uint32_t timeout_ms) {
  return frame_of({.type = FrameType::kRequest, .request_id = id, .timeout_ms = timeout_ms},
                  header_of({.service = service, .method = "m"}), body);
}

/// Cuts whole frames off the front of `stream`.
inline std::vector<OwnedFrame> take_frames(Bytes* stream) {
  std::vector<OwnedFrame> frames;
  size_t at = 0;
  OwnedFrame frame;
  const char* reason = nullptr;
  while (split_frame(stream->data() + at, stream->size() - at, &frame.fixed, &reason) == Split::kFrame) {
    const size_t n = frame_bytes(frame.fixed);
    frame.bytes.assign(stream->begin() + static_cast<ptrdiff_t>(at), stream->begin() + static_cast<ptrdiff_t>(at + n));
    frames.push_back(frame);
    at += n;
  }
  stream->erase(stream->begin(), stream->begin() + static_cast<ptrdiff_t>(at));
  return frames;
}

}  // namespace ringside::testing
