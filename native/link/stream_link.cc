#include "native/link/stream_link.h"

#include <algorithm>
#include <climits>
#include <cstring>

#include "native/base/errno_text.h"
#include "native/codec/resp.h"

namespace ringside {

namespace {
constexpr size_t kReadBytes = 128 * 1024;
constexpr int kMaxParts = IOV_MAX;
}  // namespace

StreamLink::StreamLink(LinkKind kind_, LinkRole role_, std::unique_ptr<Channel> channel, TurnArena* arena,
                       uint64_t max_outbound_bytes)
    : Link(kind_, role_), channel_(std::move(channel)), arena_(arena), max_outbound_bytes_(max_outbound_bytes) {}

ReadResult StreamLink::read(FrameSink* sink, size_t budget_bytes) {
  size_t read_bytes = 0;
  for (;;) {
    // The begin of a frame that came earlier goes in front, so that each frame lies in one piece.
    const size_t kept = partial_.size();
    uint8_t* const block = arena_->take(kept + kReadBytes);
    if (kept > 0) std::memcpy(block, partial_.data(), kept);
    const ssize_t got = channel_->read(block + kept, kReadBytes);
    if (got <= 0) {
      arena_->give_back(block, 0);
      if (got == 0) {
        reason = kept > 0 ? "the peer closed the connection in the middle of a frame" : "the peer closed the connection";
        return ReadResult::kClosed;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) return ReadResult::kDrained;
      reason = std::string("reading failed: ") + errno_text(errno);
      return ReadResult::kClosed;
    }
    const size_t available = kept + static_cast<size_t>(got);
    arena_->give_back(block, available);
    bytes_in += static_cast<uint64_t>(got);
    read_bytes += static_cast<size_t>(got);

    if (kind == LinkKind::kTcp && state == LinkState::kOpening && role != LinkRole::kUpstream && begins_resp(block[0])) {
      partial_.assign(block, block + available);
      return ReadResult::kLegacy;
    }
    size_t at = 0;
    while (available - at >= kFixedBytes) {
      Frame frame;
      if (const char* problem = decode_fixed(block + at, &frame.fixed)) {
        reason = problem;
        return ReadResult::kViolation;
      }
      const size_t total = frame_bytes(frame.fixed);
      if (available - at < total) break;
      frame.head = block + at;
      frame.head_bytes = kFixedBytes + frame.fixed.header_bytes;
      frame.body = frame.head + frame.head_bytes;
      frame.body_bytes = frame.fixed.body_bytes;
      at += total;
      frames_in++;
      if (!sink->on_frame(this, frame)) {
        partial_.assign(block + at, block + available);  // whoever goes on with this socket sees what was left
        return ReadResult::kDrained;
      }
    }
    if (at < available) {
      // A first byte that is not ours must not wait for 31 more before it is refused.
      const size_t rest = available - at;
      if (block[at] != (kFrameMagic & 0xFF) || (rest > 1 && block[at + 1] != (kFrameMagic >> 8))) {
        reason = "the first bytes are not a frame of the mesh protocol";
        return ReadResult::kViolation;
      }
      partial_.assign(block + at, block + available);
    } else if (kept > 0) {
      if (partial_.capacity() > 4096) {
        std::vector<uint8_t>().swap(partial_);
      } else {
        partial_.clear();
      }
    }
    // A short read emptied the socket: with edge-triggered polling new bytes bring a new event. An end that came together with
    // these bytes brings none, so it must be read now.
    if (static_cast<size_t>(got) < kReadBytes && !hung_up) return ReadResult::kDrained;
    if (read_bytes >= budget_bytes) return ReadResult::kMore;
  }
}

bool StreamLink::append(const Frame& frame, bool must_take) {
  const size_t n = frame.bytes();
  if (!must_take && queue_.size() + gathered_ + n > queue_bound(max_outbound_bytes_)) return false;
  frames_out++;
  appended_ += n;
  if (!queue_.empty() || state == LinkState::kConnecting) {
    queue_.push(frame.head, frame.head_bytes);
    queue_.push(frame.body, frame.body_bytes);
    return true;
  }
  gathered_ += n;
  gather(frame.head, frame.head_bytes);
  gather(frame.body, frame.body_bytes);
  return true;
}

bool StreamLink::gather(const uint8_t* p, size_t n) {
  if (n == 0) return true;
  if (!parts_.empty()) {
    iovec& last = parts_.back();
    if (static_cast<const uint8_t*>(last.iov_base) + last.iov_len == p) {
      last.iov_len += n;
      return true;
    }
  }
  parts_.push_back(iovec{const_cast<uint8_t*>(p), n});
  return true;
}

bool StreamLink::flush() {
  if (state == LinkState::kConnecting) return true;
  if (!queue_.empty()) {
    if (!write_queue()) return false;
    if (!queue_.empty()) return true;
  }
  return parts_.empty() || write_gathered();
}

bool StreamLink::write_queue() {
  while (!queue_.empty()) {
    const iovec part{const_cast<uint8_t*>(queue_.data()), queue_.size()};
    const ssize_t put = channel_->write(&part, 1);
    if (put < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
      reason = std::string("writing failed: ") + errno_text(errno);
      return false;
    }
    written_ += static_cast<uint64_t>(put);
    bytes_out += static_cast<uint64_t>(put);
    queue_.pop(static_cast<size_t>(put));
  }
  return true;
}

bool StreamLink::write_gathered() {
  size_t first = 0;
  int error = 0;
  while (first < parts_.size()) {
    const int count = static_cast<int>(std::min<size_t>(parts_.size() - first, kMaxParts));
    size_t offered = 0;
    for (int i = 0; i < count; i++) offered += parts_[first + static_cast<size_t>(i)].iov_len;
    const ssize_t put = channel_->write(&parts_[first], count);
    if (put < 0) {
      error = errno;
      break;
    }
    written_ += static_cast<uint64_t>(put);
    bytes_out += static_cast<uint64_t>(put);
    size_t rest = static_cast<size_t>(put);
    while (first < parts_.size() && rest >= parts_[first].iov_len) rest -= parts_[first++].iov_len;
    if (rest > 0) {
      parts_[first].iov_base = static_cast<uint8_t*>(parts_[first].iov_base) + rest;
      parts_[first].iov_len -= rest;
    }
    if (static_cast<size_t>(put) < offered) break;
  }
  // What did not leave is copied: after this turn nothing may point into a ring or into the arena. A dead peer's frames are kept
  // too, so that requests which provably never left can be sent elsewhere.
  for (; first < parts_.size(); first++) queue_.push(parts_[first].iov_base, parts_[first].iov_len);
  parts_.clear();
  gathered_ = 0;
  if (error == 0 || error == EAGAIN || error == EWOULDBLOCK) return true;
  reason = std::string("writing failed: ") + errno_text(error);
  return false;
}

void StreamLink::restore(std::string_view partial, std::string_view queue, uint64_t appended) {
  partial_.assign(partial.begin(), partial.end());
  queue_.push(queue.data(), queue.size());
  appended_ = appended;
  written_ = appended - queue.size();
}

const uint8_t* StreamLink::queued_frame(uint64_t end_position, size_t frame_bytes) const {
  if (end_position < frame_bytes || end_position - frame_bytes < written_ || end_position > appended_) return nullptr;
  const uint64_t offset = end_position - frame_bytes - written_;
  if (offset + frame_bytes > queue_.size()) return nullptr;
  return queue_.data() + offset;
}

}  // namespace ringside
