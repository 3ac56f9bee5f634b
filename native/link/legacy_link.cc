#include "native/link/legacy_link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "native/base/errno_text.h"

namespace ringside {

namespace {
constexpr size_t kLegacyReadBytes = 64 * 1024;
constexpr const char* kNoRoom = "the agent holds too many bytes of the legacy protocol (limits.legacyBytes): try again later";
}  // namespace

LegacyLink::LegacyLink(LinkKind kind_, LinkRole role_, std::unique_ptr<Channel> channel, TurnArena* arena, const Bounds& bounds)
    : Link(kind_, role_),
      arena_(arena),
      account_(bounds.account),
      max_outbound_bytes_(bounds.max_outbound_bytes),
      max_message_bytes_(bounds.max_message_bytes),
      channel_(std::move(channel)) {
  protocol = LinkProtocol::kLegacy;
}

void LegacyLink::begin_with(std::vector<uint8_t> bytes) {
  partial_ = std::move(bytes);
  wake_ = true;
}

uint64_t LegacyLink::held_bytes() const {
  uint64_t bytes = partial_.size() + outbound_bytes() + own_bytes();
  for (const Incoming& body : incoming_) bytes += body.total_bytes;
  for (const Outgoing& body : outgoing_) bytes += body.body.size();
  return bytes;
}

void LegacyLink::book() {
  const uint64_t held = held_bytes();
  account_->bytes += held;
  account_->bytes -= booked_bytes_;
  booked_bytes_ = held;
}

ReadResult LegacyLink::read(FrameSink* sink, size_t budget_bytes) {
  const ReadResult result = read_all(sink, budget_bytes);
  book();
  return result;
}

bool LegacyLink::append(const Frame& frame, bool must_take) {
  const bool taken = take_frame(frame, must_take);
  if (taken) appended_bytes_ += frame.bytes();
  book();
  return taken;
}

ReadResult LegacyLink::read_all(FrameSink* sink, size_t budget_bytes) {
  wake_ = stopped_ = false;
  pump(sink);
  if (gone_ || !send_pieces(sink)) return ReadResult::kDrained;
  size_t read_bytes = 0;
  for (;;) {
    if (!partial_.empty() && partial_.size() >= wanted_bytes_ && may_read()) {
      // Whoever gets a frame may keep pointing into it until the end of the turn.
      const size_t n = partial_.size();
      uint8_t* const whole = arena_->take(n);
      std::memcpy(whole, partial_.data(), n);
      partial_.clear();
      if (partial_.capacity() > kLegacyReadBytes) std::vector<uint8_t>().swap(partial_);
      if (!take_from(sink, whole, n)) return failed_ ? ReadResult::kViolation : over_ ? ReadResult::kClosed : ReadResult::kDrained;
    }
    if (!may_read()) {
      stopped_ = true;
      return ReadResult::kDrained;
    }
    if (read_bytes >= budget_bytes) return ReadResult::kMore;
    uint8_t* const block = arena_->take(kLegacyReadBytes);
    const ssize_t got = channel_->read(block, kLegacyReadBytes);
    arena_->give_back(block, got > 0 ? static_cast<size_t>(got) : 0);
    if (got == 0) {
      reason = "the peer closed the connection";
      return on_end() ? ReadResult::kDrained : ReadResult::kClosed;
    }
    if (got < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return ReadResult::kDrained;
      reason = std::string("reading failed: ") + errno_text(errno);
      return ReadResult::kClosed;
    }
    const size_t n = static_cast<size_t>(got);
    bytes_in += n;
    read_bytes += n;
    if (!partial_.empty()) {
      // What one reading brings is always taken, so that short messages get through when long ones fill the account.
      if (partial_.size() + n > kLegacyReadBytes && !account_->may_hold(booked_bytes_, n)) return out_of_room(sink, kNoRoom);
      partial_.insert(partial_.end(), block, block + n);
      book();
    } else if (!take_from(sink, block, n)) {
      return failed_ ? ReadResult::kViolation : over_ ? ReadResult::kClosed : ReadResult::kDrained;
    }
  }
}

/// Gives n bytes to the codec and keeps what it left. False: the link is over.
bool LegacyLink::take_from(FrameSink* sink, const uint8_t* p, size_t n) {
  wanted_bytes_ = 0;
  const size_t taken = take(sink, p, n);
  partial_.assign(p + taken, p + n);
  return !failed_ && !over_ && !gone_;
}

bool LegacyLink::give(FrameSink* sink, Frame& frame) {
  if (gone_) return false;
  frames_in++;
  gone_ = !sink->on_frame(this, frame);
  return !gone_;
}

bool LegacyLink::flush() {
  const bool open = write_all();
  book();
  return open;
}

bool LegacyLink::write_all() {
  if (state == LinkState::kConnecting) return true;
  while (!out_.empty()) {
    const iovec part{const_cast<uint8_t*>(out_.data()), out_.size()};
    const ssize_t put = channel_->write(&part, 1);
    if (put < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
      reason = std::string("writing failed: ") + errno_text(errno);
      return false;
    }
    bytes_out += static_cast<uint64_t>(put);
    out_.pop(static_cast<size_t>(put));
  }
  return written();
}

Frame LegacyLink::make_frame(const FixedPart& fixed, const uint8_t* header, size_t header_bytes, std::string_view body) {
  Frame frame;
  frame.fixed = fixed;
  frame.fixed.header_bytes = static_cast<uint32_t>(header_bytes);
  frame.fixed.body_bytes = static_cast<uint32_t>(body.size());
  frame.head_bytes = kFixedBytes + header_bytes;
  frame.head = arena_->take(frame.head_bytes);
  encode_fixed(frame.fixed, frame.head);
  if (header_bytes > 0) std::memcpy(frame.head + kFixedBytes, header, header_bytes);
  frame.body = reinterpret_cast<const uint8_t*>(body.data());
  frame.body_bytes = body.size();
  return frame;
}

std::string_view LegacyLink::private_body(const Frame& frame) {
  if (frame.body_bytes == 0) return {};
  uint8_t* const copy = arena_->take(frame.body_bytes);
  std::memcpy(copy, frame.body, frame.body_bytes);
  return {reinterpret_cast<const char*>(copy), frame.body_bytes};
}

bool LegacyLink::give_body(FrameSink* sink, FixedPart fixed, const uint8_t* header, size_t header_bytes, std::string_view body) {
  const std::string_view first = body.substr(0, kMaxFrameBodyBytes);
  if (first.size() < body.size()) {
    Outgoing& rest = begin_outgoing(fixed.request_id, fixed.type == FrameType::kResponse);
    rest.body = body;
    rest.sent_bytes = first.size();
    rest.allowance_bytes = kStreamWindowBytes - static_cast<uint32_t>(first.size());
    fixed.flags |= kFlagMore;
    fixed.value = static_cast<uint32_t>(body.size());
  }
  Frame frame = make_frame(fixed, header, header_bytes, first);
  return give(sink, frame) && (first.size() == body.size() || send_pieces(sink));
}

/// A body whose chunks belong to a request or a reply of that id.
LegacyLink::Outgoing& LegacyLink::begin_outgoing(uint64_t id, bool is_reply) {
  Outgoing& body = outgoing_.emplace_back();
  body.id = body.fixed.request_id = id;
  body.fixed.type = FrameType::kChunk;
  body.fixed.flags = is_reply ? kFlagReply : uint8_t{0};
  return body;
}

/// Sends of the bodies in pieces what there is credit for. False: the link is over.
bool LegacyLink::send_pieces(FrameSink* sink) {
  for (const Credit& credit : std::exchange(credits_, {})) {
    FixedPart fixed;
    fixed.type = FrameType::kCredit;
    fixed.flags = credit.flags;
    fixed.request_id = credit.id;
    fixed.value = credit.bytes;
    Frame frame = make_frame(fixed, nullptr, 0, {});
    if (!give(sink, frame)) return false;
  }
  for (size_t i = 0; i < outgoing_.size(); i++) {
    for (;;) {
      // Looked up anew each time: the engine may end a body while it gets a piece of it.
      if (i >= outgoing_.size()) return true;
      Outgoing& body = outgoing_[i];
      const size_t n = std::min({body.body.size() - body.sent_bytes, size_t{body.allowance_bytes}, kMaxFrameBodyBytes});
      if (n == 0) break;
      FixedPart fixed = body.fixed;
      const uint64_t id = body.id;
      if (body.sent_bytes + n < body.body.size()) fixed.flags |= kFlagMore;
      uint8_t* const piece = arena_->take(n);
      std::memcpy(piece, body.body.data() + body.sent_bytes, n);
      body.sent_bytes += n;
      body.allowance_bytes -= static_cast<uint32_t>(n);
      const bool last = body.sent_bytes == body.body.size();
      Frame frame = make_frame(fixed, nullptr, 0, {reinterpret_cast<const char*>(piece), n});
      if (!give(sink, frame)) return false;
      if (last) {
        forget_outgoing(id);
        i--;
        break;
      }
    }
  }
  return true;
}

void LegacyLink::on_credit(const Frame& frame) {
  for (Outgoing& body : outgoing_) {
    if (body.id != frame.fixed.request_id) continue;
    body.allowance_bytes += frame.fixed.value;
    wake();
  }
}

void LegacyLink::forget_outgoing(uint64_t id) {
  std::erase_if(outgoing_, [id](const Outgoing& body) { return body.id == id; });
}

const char* LegacyLink::no_room_for(const Frame& frame) {
  const bool in_pieces = frame.fixed.flags & kFlagMore;
  const uint64_t bytes = in_pieces ? frame.fixed.value : frame.body_bytes;
  if (in_pieces && bytes > max_message_bytes_) return "over the agent's bound for messages of the legacy protocol (limits.legacyMessageBytes)";
  return account_->may_hold(booked_bytes_, bytes) ? nullptr : kNoRoom;
}

LegacyLink::Incoming* LegacyLink::join(const Frame& frame, uint8_t credit_flags) {
  const bool begins = frame.fixed.type != FrameType::kChunk;
  Incoming* body = begins ? &incoming_.emplace_back() : find_incoming(frame.fixed.request_id);
  if (body == nullptr) return nullptr;
  if (begins) {
    body->id = frame.fixed.request_id;
    body->fixed = frame.fixed;
    body->total_bytes = frame.fixed.value;
    body->header.assign(reinterpret_cast<const char*>(frame.header()), frame.header_bytes());
  }
  body->body.append(reinterpret_cast<const char*>(frame.body), frame.body_bytes);
  if (frame.body_bytes > 0 && frame.fixed.flags & kFlagMore) {
    credits_.push_back({body->id, credit_flags, static_cast<uint32_t>(frame.body_bytes)});
    wake();
  }
  return body;
}

LegacyLink::Incoming* LegacyLink::find_incoming(uint64_t id) {
  const auto it = std::find_if(incoming_.begin(), incoming_.end(), [id](const Incoming& body) { return body.id == id; });
  return it == incoming_.end() ? nullptr : &*it;
}

void LegacyLink::forget_incoming(uint64_t id) {
  std::erase_if(incoming_, [id](const Incoming& body) { return body.id == id; });
  std::erase_if(credits_, [id](const Credit& credit) { return credit.id == id; });
}

}  // namespace ringside
