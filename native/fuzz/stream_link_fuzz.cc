// Fuzzes a link over a byte stream: however the bytes are cut into reads, the frames that come out must be those
// of the whole stream, and a stream that breaks the protocol must end the link.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "native/codec/frame.h"
#include "native/fuzz/require.h"
#include "native/link/channel.h"
#include "native/link/stream_link.h"
#include "native/link/turn_arena.h"

using namespace ringside;

namespace {

using Bytes = std::vector<uint8_t>;

// Gives the stream in pieces of the sizes that the input asks for.
class PiecemealChannel final : public Channel {
 public:
  PiecemealChannel(Bytes cuts, Bytes stream) : cuts_(std::move(cuts)), stream_(std::move(stream)) {}
  ssize_t read(uint8_t* p, size_t n) override {
    if (at_ == stream_.size()) return 0;
    const size_t wanted = cuts_.empty() ? stream_.size() : 1 + cuts_[turn_++ % cuts_.size()];
    const size_t taken = std::min({wanted, n, stream_.size() - at_});
    std::memcpy(p, stream_.data() + at_, taken);
    at_ += taken;
    return static_cast<ssize_t>(taken);
  }
  ssize_t write(const iovec*, int) override {
    errno = EAGAIN;
    return -1;
  }
  int fd() const override { return -1; }
  UniqueFd release_fd() override { return UniqueFd(); }

 private:
  Bytes cuts_;
  Bytes stream_;
  size_t at_ = 0;
  size_t turn_ = 0;
};

class Collector final : public FrameSink {
 public:
  bool on_frame(Link*, Frame& frame) override {
    REQUIRE(frame.head_bytes == kFixedBytes + frame.fixed.header_bytes);
    REQUIRE(frame.body_bytes == frame.fixed.body_bytes);
    bytes.insert(bytes.end(), frame.head, frame.head + frame.head_bytes);
    bytes.insert(bytes.end(), frame.body, frame.body + frame.body_bytes);
    return true;
  }
  Bytes bytes;
};

}  // namespace

// Input: the number of cuts, the cuts, the stream.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t cut_count = std::min<size_t>(data[0] % 16, size - 1);
  const Bytes cuts(data + 1, data + 1 + cut_count);
  const Bytes stream(data + 1 + cut_count, data + size);

  size_t whole = 0;
  bool broken = false;
  for (bool more = true; more;) {
    FixedPart fixed;
    const char* reason = nullptr;
    const Split split = split_frame(stream.data() + whole, stream.size() - whole, &fixed, &reason);
    more = split == Split::kFrame;
    broken = split == Split::kError;
    if (more) whole += frame_bytes(fixed);
  }

  static TurnArena arena(256 * 1024);
  StreamLink link(LinkKind::kTcp, LinkRole::kPeer, std::make_unique<PiecemealChannel>(cuts, stream), &arena, 1 << 20);
  Collector frames;
  ReadResult result;
  do {
    result = link.read(&frames, 64 * 1024);
    arena.reset();
    REQUIRE(link.partial_bytes() < kMaxFrameBytes);
  } while (result == ReadResult::kDrained || result == ReadResult::kMore);

  if (result == ReadResult::kLegacy) return 0;  // another link goes on with it
  REQUIRE(!link.reason.empty());
  REQUIRE(frames.bytes == Bytes(stream.begin(), stream.begin() + static_cast<ptrdiff_t>(whole)));
  if (broken) REQUIRE(result == ReadResult::kViolation);
  return 0;
}
