// Fuzzes the cutting of RESP commands and replies: no read beyond the bytes given, progress on every step, and what is cut out of a
// part of a stream is what is cut out of the whole.
#include <cstring>
#include <vector>

#include "native/codec/resp.h"
#include "native/fuzz/require.h"

using namespace ringside;

namespace {

constexpr size_t kMax = 4096;

template <typename Unit, typename Cut>
void cut_all(const uint8_t* data, size_t size, Cut cut) {
  size_t at = 0;
  for (;;) {
    const std::vector<uint8_t> rest(data + at, data + size);
    Unit unit;
    size_t wanted = 0;
    const char* problem = nullptr;
    const RespCut result = cut(rest.data(), rest.size(), kMax, &unit, &wanted, &problem);
    if (result == RespCut::kBad || result == RespCut::kTooLong) {
      REQUIRE(problem != nullptr && std::strlen(problem) > 0);
      return;
    }
    if (result == RespCut::kNeedMore) {
      REQUIRE(wanted > rest.size());
      return;
    }
    REQUIRE(unit.bytes > 0 && unit.bytes <= rest.size());
    // One byte less is not enough, and nothing behind it matters.
    const std::vector<uint8_t> less(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(unit.bytes) - 1);
    Unit other;
    REQUIRE(cut(less.data(), less.size(), kMax, &other, &wanted, &problem) == RespCut::kNeedMore);
    REQUIRE(wanted <= unit.bytes);
    at += unit.bytes;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  cut_all<RespCommand>(data, size, cut_resp_command);
  cut_all<RespReply>(data, size, cut_resp_reply);
  return 0;
}
