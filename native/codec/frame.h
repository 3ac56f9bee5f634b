// The 32-byte fixed part of a mesh frame (docs/wire-format.md): decode, encode, and change in place.
// Links call it once per frame, the engine patches with it while it forwards. Pure functions over bytes: no
// allocation, no state. decode_fixed is the only judge of what is a protocol error here; whether a type is
// allowed in a role or as the first frame is the link's business.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/base/bytes.h"
#include "native/base/limits.h"

namespace ringside {

enum class FrameType : uint8_t {
  kRequest = 1,
  kResponse,
  kOneWay,
  kChunk,
  kCredit,
  kCancel,
  kPing,
  kPong,
  kGoAway,
  kHello,
  kWelcome,
  kGoAwayAck,
};
inline constexpr uint8_t kMaxFrameType = static_cast<uint8_t>(FrameType::kGoAwayAck);

inline constexpr uint8_t kFlagMore = 1;
inline constexpr uint8_t kFlagNotRun = 2;
inline constexpr uint8_t kFlagToken = 4;
inline constexpr uint8_t kFlagReply = 8;
inline constexpr uint8_t kFlagWaitForReady = 16;

inline constexpr uint16_t kFrameMagic = 0x52F5;
inline constexpr uint8_t kFrameVersion = 1;

/// The fixed part as numbers. Unknown flag bits are kept, so that they travel on.
struct FixedPart {
  FrameType type = FrameType::kRequest;
  uint8_t flags = 0;
  uint8_t status = 0;
  uint8_t attempt = 0;
  uint32_t header_bytes = 0;
  uint32_t body_bytes = 0;
  uint64_t request_id = 0;
  uint32_t timeout_ms = 0;
  uint32_t value = 0;
};

/// Reads kFixedBytes bytes at p. Returns nullptr and fills *out, or returns the reason (static text) of the
/// protocol error and leaves *out alone.
const char* decode_fixed(const uint8_t* p, FixedPart* out);

/// Writes kFixedBytes bytes at p. The caller answers for lengths and status being within their limits.
void encode_fixed(const FixedPart& f, uint8_t* p);

/// Length of the whole frame: fixed part, header, body. At most kMaxFrameBytes for a decoded part.
inline size_t frame_bytes(const FixedPart& f) {
  return kFixedBytes + static_cast<size_t>(f.header_bytes) + static_cast<size_t>(f.body_bytes);
}

enum class Split : uint8_t { kFrame, kNeedMore, kError };

/// The first frame of a byte stream. kFrame: *fixed is filled and frame_bytes(*fixed) <= n. kNeedMore: the
/// bytes so far are fine (a bad fixed part is reported as soon as its 32 bytes are there, before any body).
/// kError: *reason says why; the link must close.
Split split_frame(const uint8_t* p, size_t n, FixedPart* fixed, const char** reason);

inline constexpr size_t kTypeOffset = 3;
inline constexpr size_t kFlagsOffset = 4;
inline constexpr size_t kStatusOffset = 5;
inline constexpr size_t kAttemptOffset = 6;
inline constexpr size_t kHeaderBytesOffset = 8;
inline constexpr size_t kBodyBytesOffset = 12;
inline constexpr size_t kRequestIdOffset = 16;
inline constexpr size_t kTimeoutOffset = 24;
inline constexpr size_t kValueOffset = 28;

inline void patch_flags(uint8_t* p, uint8_t flags) { p[kFlagsOffset] = flags; }
inline void patch_status(uint8_t* p, uint8_t status) { p[kStatusOffset] = status; }
inline void patch_attempt(uint8_t* p, uint8_t attempt) { p[kAttemptOffset] = attempt; }
inline void patch_header_bytes(uint8_t* p, uint32_t bytes) { store_u32(p + kHeaderBytesOffset, bytes); }
inline void patch_body_bytes(uint8_t* p, uint32_t bytes) { store_u32(p + kBodyBytesOffset, bytes); }
inline void patch_request_id(uint8_t* p, uint64_t id) { store_u64(p + kRequestIdOffset, id); }
inline void patch_timeout_ms(uint8_t* p, uint32_t timeout_ms) { store_u32(p + kTimeoutOffset, timeout_ms); }
inline void patch_value(uint8_t* p, uint32_t value) { store_u32(p + kValueOffset, value); }

}  // namespace ringside
