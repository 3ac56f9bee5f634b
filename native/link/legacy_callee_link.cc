#include "native/link/legacy_callee_link.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "native/codec/legacy_mesh.h"
#include "native/codec/legacy_status.h"
#include "native/codec/mesh_patch.h"
#include "native/codec/resp.h"

namespace ringside {

LegacyCalleeLink::LegacyCalleeLink(LinkKind link_kind, std::unique_ptr<Channel> channel, TurnArena* arena, const Bounds& bounds)
    : LegacyLink(link_kind, LinkRole::kUpstream, std::move(channel), arena, bounds) {}

bool LegacyCalleeLink::take_frame(const Frame& given, bool must_take) {
  const Frame frame = as_patched(given);
  const uint64_t id = frame.fixed.request_id;
  const bool more = frame.fixed.flags & kFlagMore;
  switch (frame.fixed.type) {
    case FrameType::kRequest:
    case FrameType::kOneWay: {
      if (!must_take && outbound_bytes() + frame.bytes() > queue_bound(max_outbound_bytes_)) return false;
      const char* const problem = no_room_for(frame);
      if (problem != nullptr && frame.fixed.type == FrameType::kOneWay) return false;
      frames_out++;
      appended_++;
      if (problem != nullptr) {
        refused_.push_back({id, Code::kResourceExhausted, problem});
        wake();
      } else if (!more) {
        enqueue(frame.fixed, appended_, frame.header(), frame.header_bytes(), private_body(frame));
      } else {
        join(frame, 0)->position = appended_;
      }
      return true;
    }
    case FrameType::kChunk: {
      const Incoming* body = join(frame, 0);
      if (body == nullptr || more) return true;
      FixedPart fixed = body->fixed;
      fixed.flags &= static_cast<uint8_t>(~kFlagMore);
      enqueue(fixed, body->position, reinterpret_cast<const uint8_t*>(body->header.data()), body->header.size(), body->body);
      forget_incoming(id);
      return true;
    }
    case FrameType::kCancel:
      cancel(id);
      return true;
    case FrameType::kCredit:
      on_credit(frame);
      return true;
    default:
      return true;  // there is no word for the others
  }
}

void LegacyCalleeLink::enqueue(const FixedPart& fixed, uint64_t position, const uint8_t* header, size_t header_bytes,
                               std::string_view body) {
  const uint64_t id = fixed.type == FrameType::kOneWay ? 0 : fixed.request_id;
  if (!busy_ && state != LinkState::kConnecting && waiting_.empty()) {
    send(id, position, header, header_bytes, body);
    return;
  }
  Waiting later{id, position, std::vector<uint8_t>(kFixedBytes + header_bytes + body.size())};
  FixedPart whole = fixed;
  whole.header_bytes = static_cast<uint32_t>(header_bytes);
  whole.body_bytes = static_cast<uint32_t>(body.size());
  encode_fixed(whole, later.frame.data());
  if (header_bytes > 0) std::memcpy(later.frame.data() + kFixedBytes, header, header_bytes);
  if (!body.empty()) std::memcpy(later.frame.data() + kFixedBytes + header_bytes, body.data(), body.size());
  waiting_bytes_ += later.frame.size();
  waiting_.push_back(std::move(later));
}

void LegacyCalleeLink::send(uint64_t id, uint64_t position, const uint8_t* header, size_t header_bytes, std::string_view body) {
  json_.clear();
  if (const char* problem = append_request_json(header, header_bytes, body, &json_)) {
    if (id != 0) refused_.push_back({id, Code::kInvalidArgument, problem});
    wake();
    return;
  }
  account_->saw_message(json_.size());
  busy_ = true;
  busy_id_ = id;
  busy_position_ = position;
  char head[kRespHeadBytes];
  out_.push("*2\r\n$3\r\nGET\r\n", 13);
  out_.push(head, write_resp_head(head, '$', json_.size()));
  out_.push(json_.data(), json_.size());
  out_.push("\r\n", 2);
  if (json_.capacity() > kKeptScratchBytes) std::string().swap(json_);
}

void LegacyCalleeLink::send_next() {
  while (!busy_ && !waiting_.empty()) {
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= next.frame.size();
    // Not decoded as a frame: a body that came in pieces is longer than one may be.
    const size_t header_bytes = load_u32(next.frame.data() + kHeaderBytesOffset);
    const uint8_t* const header = next.frame.data() + kFixedBytes;
    const char* const body = reinterpret_cast<const char*>(header + header_bytes);
    send(next.id, next.position, header, header_bytes, {body, next.frame.size() - kFixedBytes - header_bytes});
  }
}

void LegacyCalleeLink::cancel(uint64_t id) {
  forget_incoming(id);
  forget_outgoing(id);
  std::erase_if(refused_, [id](const Refused& refused) { return refused.id == id; });
  const auto it = std::find_if(waiting_.begin(), waiting_.end(), [id](const Waiting& waiting) { return waiting.id == id; });
  if (it != waiting_.end()) {
    waiting_bytes_ -= it->frame.size();
    waiting_.erase(it);
  }
  if (!busy_ || busy_id_ != id) return;
  given_up_ = true;
  drain_then_close = true;  // nothing is wrong with the address
  reason = "its request timed out or was cancelled, and its late reply would answer the next one";
}

bool LegacyCalleeLink::never_sent(uint64_t position) {
  if (busy_ && position == busy_position_) return !out_.empty();
  const auto same = [position](const auto& request) { return request.position == position; };
  return std::any_of(waiting_.begin(), waiting_.end(), same) || std::any_of(incoming_.begin(), incoming_.end(), same);
}

const uint8_t* LegacyCalleeLink::queued_frame(uint64_t position, size_t frame_bytes) const {
  for (const Waiting& waiting : waiting_) {
    if (waiting.position == position) return waiting.frame.size() == frame_bytes ? waiting.frame.data() : nullptr;
  }
  return nullptr;
}

void LegacyCalleeLink::pump(FrameSink* sink) {
  send_next();
  for (const Refused& refused : std::exchange(refused_, {})) {
    if (!give_failure(sink, refused.id, refused.code, refused.text, true)) return;
  }
}

ReadResult LegacyCalleeLink::out_of_room(FrameSink* sink, const char* why) {
  refuse_reply(sink, why);
  reason = why;
  return ReadResult::kClosed;
}

/// The reply under way cannot be held: its call fails, and the connection ends, because the rest cannot be skipped without reading it all.
/// Requests that wait for this connection go to another one.
void LegacyCalleeLink::refuse_reply(FrameSink* sink, const char* why) {
  answered = true;  // as it should, only too much
  if (!busy_) return;
  busy_ = false;
  if (busy_id_ != 0) give_failure(sink, busy_id_, Code::kResourceExhausted, std::string("the old server's answer cannot be held: ") + why, false);
}

/// One reply at most: the next request is sent when nothing is left of what came, as it would be taken for the answer to it.
size_t LegacyCalleeLink::take(FrameSink* sink, const uint8_t* p, size_t n) {
  if (n == 0) return 0;
  if (!busy_) {
    fail("an old server replied to nothing, or twice");
    return n;
  }
  RespReply reply;
  const char* problem = nullptr;
  switch (cut_resp_reply(p, n, max_message_bytes_, &reply, &wanted_bytes_, &problem)) {
    case RespCut::kNeedMore:
      return 0;
    case RespCut::kTooLong:
      refuse_reply(sink, problem);
      end(problem);
      return n;
    case RespCut::kBad:
      fail(problem);
      return n;
    case RespCut::kWhole:
      break;
  }
  wanted_bytes_ = 0;
  busy_ = false;
  answered = true;
  if (busy_id_ != 0 && !give_answer(sink, busy_id_, reply)) return n;
  if (reply.bytes < n) {
    fail("an old server replied twice");
    return n;
  }
  send_next();
  if (!refused_.empty()) wake();
  return n;
}

/// Hands the engine what the old server said to a request. False: the link is over.
bool LegacyCalleeLink::give_answer(FrameSink* sink, uint64_t id, const RespReply& reply) {
  switch (reply.kind) {
    case RespReply::Kind::kBulk:
      return give_reply(sink, id, reply.text);
    case RespReply::Kind::kError:
      return give_failure(sink, id, Code::kInternal, "the old server refused: " + std::string(reply.text.substr(0, 256)), false);
    case RespReply::Kind::kText:
    case RespReply::Kind::kNull:
      break;
  }
  return give_failure(sink, id, Code::kInternal, "the old server answered with something that is no reply to a call", false);
}

bool LegacyCalleeLink::give_reply(FrameSink* sink, uint64_t id, std::string_view json) {
  account_->saw_message(json.size());
  LegacyReply reply;
  if (const char* problem = parse_legacy_reply(reinterpret_cast<const uint8_t*>(json.data()), json.size(), &reply)) {
    return give_failure(sink, id, Code::kInternal, std::string("the old server's answer cannot be read: ") + problem, false);
  }
  FixedPart fixed;
  fixed.type = FrameType::kResponse;
  fixed.request_id = id;
  const Code status = status_of_ec(reply.ec);
  if (status == Code::kOk) return give_body(sink, fixed, nullptr, 0, reply.result);
  fixed.status = static_cast<uint8_t>(status);
  uint8_t* const header = arena_->take(kMaxHeaderBytes);
  const size_t header_bytes = write_reply_header(reply, header);
  arena_->give_back(header, header_bytes);
  Frame frame = make_frame(fixed, header, header_bytes, {});
  return give(sink, frame);
}

bool LegacyCalleeLink::give_failure(FrameSink* sink, uint64_t id, Code code, std::string_view text, bool not_run) {
  uint8_t header[1024];
  FixedPart fixed;
  fixed.type = FrameType::kResponse;
  fixed.status = static_cast<uint8_t>(code);
  fixed.flags = not_run ? kFlagNotRun : uint8_t{0};
  fixed.request_id = id;
  Frame frame = make_frame(fixed, header, encode_status_message(header, sizeof header, text), {});
  return give(sink, frame);
}

}  // namespace ringside
