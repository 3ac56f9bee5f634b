// Decoding and encoding of the fixed part. Called once per frame by every link; each rule here is one line of
// the list of protocol errors in docs/wire-format.md.
#include "native/codec/frame.h"

#include "native/base/status.h"

namespace ringside {

const char* decode_fixed(const uint8_t* p, FixedPart* out) {
  if (load_u16(p) != kFrameMagic) return "wrong magic";
  if (p[2] != kFrameVersion) return "unknown protocol version";
  const uint8_t type = p[3];
  if (type == 0 || type > kMaxFrameType) return "unknown frame type";
  if (p[kStatusOffset] > kMaxCode) return "status code over 16";
  if (p[7] != 0) return "reserved byte is not 0";
  const uint32_t header_bytes = load_u32(p + kHeaderBytesOffset);
  const uint32_t body_bytes = load_u32(p + kBodyBytesOffset);
  if (header_bytes > kMaxHeaderBytes) return "header over 16384 bytes";
  if (body_bytes > kMaxFrameBodyBytes) return "body over 65536 bytes in one frame";
  out->type = static_cast<FrameType>(type);
  out->flags = p[kFlagsOffset];
  out->status = p[kStatusOffset];
  out->attempt = p[kAttemptOffset];
  out->header_bytes = header_bytes;
  out->body_bytes = body_bytes;
  out->request_id = load_u64(p + kRequestIdOffset);
  out->timeout_ms = load_u32(p + kTimeoutOffset);
  out->value = load_u32(p + kValueOffset);
  return nullptr;
}

void encode_fixed(const FixedPart& f, uint8_t* p) {
  store_u16(p, kFrameMagic);
  p[2] = kFrameVersion;
  p[3] = static_cast<uint8_t>(f.type);
  p[kFlagsOffset] = f.flags;
  p[kStatusOffset] = f.status;
  p[kAttemptOffset] = f.attempt;
  p[7] = 0;
  store_u32(p + kHeaderBytesOffset, f.header_bytes);
  store_u32(p + kBodyBytesOffset, f.body_bytes);
  store_u64(p + kRequestIdOffset, f.request_id);
  store_u32(p + kTimeoutOffset, f.timeout_ms);
  store_u32(p + kValueOffset, f.value);
}

Split split_frame(const uint8_t* p, size_t n, FixedPart* fixed, const char** reason) {
  if (n < kFixedBytes) return Split::kNeedMore;
  *reason = decode_fixed(p, fixed);
  if (*reason != nullptr) return Split::kError;
  return n < frame_bytes(*fixed) ? Split::kNeedMore : Split::kFrame;
}

}  // namespace ringside
