#include "native/link/shm_link.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "native/shm/layout.h"

namespace ringside {

namespace {
// Up to here a whole record is copied out of the ring: cheaper than an iovec of its own, and neighbours merge into one.
constexpr uint32_t kCopyWholeBytes = 4096;
// From here on a record is published before the turn ends: the app copies it out while the next one is copied in.
constexpr size_t kLargeBodyBytes = 16 * 1024;
}  // namespace

ShmLink::ShmLink(UniqueFd socket, Segment segment, AgentDoorbells doorbells, TurnArena* arena, uint64_t max_outbound_bytes)
    : Link(LinkKind::kShm, LinkRole::kApp),
      socket_(std::move(socket)),
      segment_(std::move(segment)),
      doorbells_(std::move(doorbells)),
      arena_(arena),
      max_outbound_bytes_(max_outbound_bytes) {
  in_.attach(segment_.control(shm::kAppToAgent), segment_.data(shm::kAppToAgent), segment_.ring_bytes());
  out_.attach(segment_.control(shm::kAgentToApp), segment_.data(shm::kAgentToApp), segment_.ring_bytes());
}

// An app that keeps the memfd would keep its pages charged to this process's group. One that is alive and well may still be reading
// replies, though, and bytes that vanish under its copy would be taken for a body of zeros; it lets go by itself.
ShmLink::~ShmLink() {
  if (peer_closed || condemned) segment_.punch_out();
}

bool ShmLink::restore(uint64_t in_position, uint64_t out_position, std::string_view queue) {
  if (in_position % shm::kRecordAlignment != 0 || !out_.restore(out_position)) return false;
  in_.restore(in_position);
  const auto* bytes = reinterpret_cast<const uint8_t*>(queue.data());
  for (size_t at = 0; at < queue.size();) {
    FixedPart fixed;
    const char* problem = nullptr;
    if (split_frame(bytes + at, queue.size() - at, &fixed, &problem) != Split::kFrame) return false;
    queued_record_bytes_ += shm::record_bytes(frame_bytes(fixed));
    at += frame_bytes(fixed);
  }
  queue_.push(queue.data(), queue.size());
  return true;
}

ReadResult ShmLink::read(FrameSink* sink, size_t budget_bytes) {
  size_t taken = 0;
  RecordView record;
  for (;;) {
    const RingRead result = in_.next(&record);
    if (result == RingRead::kEmpty) return ReadResult::kDrained;
    if (result == RingRead::kViolation) {
      reason = in_.violation();
      return ReadResult::kViolation;
    }
    read_something_ = true;
    if (record.size < kFixedBytes) {
      reason = "a record is shorter than a frame's fixed part";
      return ReadResult::kViolation;
    }
    // The app can change ring bytes at any moment: copy first, check the copy.
    uint8_t fixed[kFixedBytes];
    std::memcpy(fixed, record.data, kFixedBytes);
    Frame frame;
    if (const char* problem = decode_fixed(fixed, &frame.fixed)) {
      reason = problem;
      return ReadResult::kViolation;
    }
    if (frame_bytes(frame.fixed) != record.size) {
      reason = "a record's length is not that of its frame";
      return ReadResult::kViolation;
    }
    frame.head_bytes = kFixedBytes + frame.fixed.header_bytes;
    frame.body_bytes = frame.fixed.body_bytes;
    const size_t copied = record.size <= kCopyWholeBytes ? record.size : frame.head_bytes;
    frame.head = arena_->take(copied);
    std::memcpy(frame.head, fixed, kFixedBytes);
    std::memcpy(frame.head + kFixedBytes, record.data + kFixedBytes, copied - kFixedBytes);
    frame.body = (copied == record.size ? frame.head : record.data) + frame.head_bytes;
    frames_in++;
    bytes_in += record.size;
    taken += record.size;
    if (!sink->on_frame(this, frame)) return ReadResult::kDrained;
    if (taken >= budget_bytes) return ReadResult::kMore;
  }
}

bool ShmLink::put(const uint8_t* head, size_t head_bytes, const uint8_t* body, size_t body_bytes) {
  uint8_t* record = out_.reserve(static_cast<uint32_t>(head_bytes + body_bytes));
  if (record == nullptr) return false;
  std::memcpy(record, head, head_bytes);
  if (body_bytes > 0) std::memcpy(record + head_bytes, body, body_bytes);
  out_.commit();
  if (body_bytes >= kLargeBodyBytes && out_.publish()) ring_pipe(doorbells_.pipe_write.get());
  return true;
}

bool ShmLink::append(const Frame& frame, bool must_take) {
  if (queue_.empty() && put(frame.head, frame.head_bytes, frame.body, frame.body_bytes)) {
    frames_out++;
    bytes_out += frame.bytes();
    return true;
  }
  if (!must_take && queue_.size() + frame.bytes() > queue_bound(max_outbound_bytes_)) return false;
  frames_out++;
  bytes_out += frame.bytes();
  queue_.push(frame.head, frame.head_bytes);
  queue_.push(frame.body, frame.body_bytes);
  queued_record_bytes_ += shm::record_bytes(frame.bytes());
  return true;
}

void ShmLink::refill() {
  while (!queue_.empty()) {
    FixedPart fixed;
    decode_fixed(queue_.data(), &fixed);
    const size_t n = frame_bytes(fixed);
    if (!put(queue_.data(), n, nullptr, 0)) {
      if (out_.violated() || out_.arm_space_wanted(static_cast<uint32_t>(n))) return;
      continue;
    }
    queue_.pop(n);
    queue_left_ += n;
    queued_record_bytes_ -= shm::record_bytes(n);
  }
}

bool ShmLink::flush() {
  refill();
  if (out_.violated()) {
    reason = "the app's ring position makes no sense";
    return false;
  }
  ring_due_ |= out_.publish();
  return true;
}

bool ShmLink::end_turn() {
  if (read_something_) {
    ring_due_ |= in_.release();
    read_something_ = false;
  }
  if (ring_due_) {
    ring_due_ = false;
    ring_pipe(doorbells_.pipe_write.get());
  }
  if (in_.arm_waiting()) return false;
  in_.disarm();
  return true;
}

}  // namespace ringside
