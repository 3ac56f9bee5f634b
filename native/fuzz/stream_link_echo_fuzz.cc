// A link over a byte stream against any bytes in any pieces: it accepts exactly what the frame splitter accepts, frame for
// frame, however the reads are cut; and what is appended leaves in order, however the writes are taken. The first bytes of the
// input choose the cuts, the rest is what the peer sends.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "native/fuzz/require.h"
#include "native/link/stream_link.h"
#include "native/test/link/frames.h"

using namespace ringside;
using ringside::testing::KeepingSink;
using ringside::testing::ScriptedChannel;

namespace {

constexpr uint64_t kMaxOutbound = 8192;

std::vector<std::string> split_all(const std::string& bytes, bool* bad) {
  std::vector<std::string> frames;
  size_t at = 0;
  *bad = false;
  for (;;) {
    FixedPart fixed;
    const char* reason = nullptr;
    const auto* p = reinterpret_cast<const uint8_t*>(bytes.data()) + at;
    const Split split = split_frame(p, bytes.size() - at, &fixed, &reason);
    *bad = split == Split::kError;
    if (split != Split::kFrame) return frames;
    frames.push_back(bytes.substr(at, frame_bytes(fixed)));
    at += frame_bytes(fixed);
  }
}

/// Echoes each frame as the engine forwards: head and body out of the turn's memory.
class Echo final : public FrameSink {
 public:
  explicit Echo(std::string* expected) : expected_(expected) {}
  bool on_frame(Link* link, Frame& frame) override {
    frames.emplace_back(reinterpret_cast<const char*>(frame.head), frame.bytes());
    const bool must_take = frame.body_bytes == 0;
    if (link->append(frame, must_take)) {
      *expected_ += frames.back();
      ends.push_back(link->end_position());
      sizes.push_back(frame.bytes());
    }
    return true;
  }
  std::vector<std::string> frames;
  std::vector<uint64_t> ends;
  std::vector<size_t> sizes;

 private:
  std::string* expected_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const size_t read_piece = 1 + data[0];
  const size_t write_piece = size_t{data[1]} * 8;
  const uint8_t stalls = data[2];
  const bool connecting = data[3] & 1;
  const std::string bytes(reinterpret_cast<const char*>(data) + 4, size - 4);

  TurnArena arena(256 * 1024);
  auto owned = std::make_unique<ScriptedChannel>();
  ScriptedChannel* channel = owned.get();
  StreamLink link(LinkKind::kTcp, LinkRole::kPeer, std::move(owned), &arena, kMaxOutbound);
  link.state = connecting ? LinkState::kConnecting : LinkState::kOpen;
  unsigned turn = 0;
  channel->room_per_write = [&]() -> size_t { return (stalls >> (turn++ % 8)) & 1 ? 0 : write_piece; };

  std::string expected;
  Echo echo(&expected);
  ReadResult last = ReadResult::kDrained;
  for (size_t at = 0; at < bytes.size() && last != ReadResult::kViolation; at += read_piece) {
    channel->in.push_back(bytes.substr(at, read_piece));
    last = link.read(&echo, 64 * 1024);
    REQUIRE(last == ReadResult::kDrained || last == ReadResult::kViolation);
    REQUIRE(link.flush());
    arena.reset();
    REQUIRE(channel->out == expected.substr(0, channel->out.size()));
    REQUIRE(channel->out.size() + link.outbound_bytes() == expected.size());
    for (size_t i = 0; i < echo.ends.size(); i++) {
      REQUIRE(link.never_sent(echo.ends[i]) == (channel->out.size() < echo.ends[i]));
      const uint8_t* queued = link.queued_frame(echo.ends[i], echo.sizes[i]);
      REQUIRE((queued != nullptr) == (channel->out.size() <= echo.ends[i] - echo.sizes[i]));
      if (queued != nullptr) {
        REQUIRE(std::memcmp(queued, expected.data() + echo.ends[i] - echo.sizes[i], echo.sizes[i]) == 0);
      }
    }
  }
  bool bad = false;
  const std::vector<std::string> frames = split_all(bytes, &bad);
  REQUIRE(echo.frames == frames);
  // The link refuses a stranger's first two bytes already; the splitter may wait for the rest.
  REQUIRE(!bad || last == ReadResult::kViolation);
  link.state = LinkState::kOpen;
  channel->room_per_write = [] { return SIZE_MAX; };
  REQUIRE(link.flush());
  REQUIRE(channel->out == expected && link.outbound_bytes() == 0);
  return 0;
}
