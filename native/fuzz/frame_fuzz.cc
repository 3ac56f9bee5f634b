// Fuzzes the fixed part and the cutting of a stream into frames: no read beyond the bytes given (each stream is an
// allocation of its own), progress on every step, and decode and encode are inverse.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "native/codec/frame.h"
#include "native/fuzz/require.h"

using namespace ringside;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  size_t at = 0;
  for (;;) {
    const std::vector<uint8_t> rest(data + at, data + size);
    FixedPart fixed;
    const char* reason = nullptr;
    const Split split = split_frame(rest.data(), rest.size(), &fixed, &reason);
    if (split == Split::kError) {
      REQUIRE(reason != nullptr && std::strlen(reason) > 0);
      return 0;
    }
    if (rest.size() >= kFixedBytes) {
      uint8_t again[kFixedBytes];
      encode_fixed(fixed, again);
      REQUIRE(std::memcmp(again, rest.data(), kFixedBytes) == 0);
    }
    if (split == Split::kNeedMore) {
      REQUIRE(rest.size() < kFixedBytes || rest.size() < frame_bytes(fixed));
      return 0;
    }
    REQUIRE(frame_bytes(fixed) >= kFixedBytes && frame_bytes(fixed) <= rest.size());
    REQUIRE(frame_bytes(fixed) <= kMaxFrameBytes);
    at += frame_bytes(fixed);
  }
}
