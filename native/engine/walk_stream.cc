// Bodies in pieces (docs/wire-format.md, "Streamed bodies"): chunks follow the way of their request or reply, credit goes the opposite way. The
// engine keeps no piece longer than a turn unless the next hop does not take it; how much that can be is bounded by the
// allowance of a stream and the number of streams on their way to a link.
#include <algorithm>
#include <cstring>
#include <utility>

#include "native/engine/engine.h"

namespace ringside {

namespace {
// Credit goes on in steps of this at least. A receiver that grants single bytes would else make of each window a quarter of a million
// frames, which fill the queue of the sender and close its link. The sender never waits for what is held: it is less than a window.
constexpr uint32_t kCreditStepBytes = 16 * 1024;
}  // namespace

/// Whether a request whose body comes in pieces may go on; answers it where not.
bool Engine::accept_stream(Handle downstream, const Frame& frame) {
  const char* problem = nullptr;
  Code code = Code::kInvalidArgument;
  if (frame.fixed.type == FrameType::kOneWay) {
    problem = "one-way requests are not streamed";
  } else if (frame.fixed.value <= frame.body_bytes) {
    problem = "the request's body is not as long as it says";
  } else if (frame.fixed.value > options_.max_body_bytes) {
    code = Code::kResourceExhausted;
    problem = "the request's body is over the agent's limit (limits.bodyBytes)";
  }
  if (problem == nullptr) return true;
  reply_to_request(downstream, frame.fixed.request_id, frame.fixed.type, {code, problem, true});
  return false;
}

bool Engine::on_chunk(Link* link, Frame& frame) {
  const bool is_reply = frame.fixed.flags & kFlagReply;
  const bool more = frame.fixed.flags & kFlagMore;
  if (frame.body_bytes == 0 && more) {
    violation(link, "a chunk with nothing in it");
    return false;
  }
  const uint64_t id = frame.fixed.request_id;
  const uint32_t slot = is_reply ? pending_.find_reply(id) : pending_.find_request(link->handle, id);
  if (slot == kNoPending) {
    if (is_reply) {
      counters_.stale_chunks++;
    } else {
      hold_chunk(link, frame);
    }
    return !link->closing_soon;
  }
  const Pending& p = pending_.at(slot);
  if (is_reply && !(p.upstream == link->handle)) {
    violation(link, "a chunk of a reply to a request that went to another link");
    return false;
  }
  const BodyStream& stream = is_reply ? p.reply : p.request;
  if (!stream.open || frame.body_bytes > stream.allowance_bytes) {
    violation(link, stream.open ? "more of a body than there was credit for" : "a chunk of a body that is complete or was not begun");
    return false;
  }
  return pass_chunk(slot, frame, is_reply);
}

bool Engine::pass_chunk(uint32_t slot, Frame& frame, bool is_reply) {
  Pending& p = pending_.at(slot);
  BodyStream& stream = is_reply ? p.reply : p.request;
  const bool more = frame.fixed.flags & kFlagMore;
  const bool failed = is_reply && frame.fixed.status != 0;
  const uint32_t bytes = static_cast<uint32_t>(frame.body_bytes);
  if (!failed && (more ? bytes >= stream.left_bytes : bytes != stream.left_bytes)) {
    const Verdict verdict = is_reply ? Verdict{Code::kDataLoss, "the reply's body is not as long as it says"}
                                     : Verdict{Code::kInvalidArgument, "the request's body is not as long as it says"};
    cancel_upstream(slot, verdict.code);
    finish_pending(slot, verdict);
    return true;
  }
  counters_.chunks++;
  stream.left_bytes -= failed ? 0 : bytes;
  stream.allowance_bytes -= bytes;
  Link* to = find_link(is_reply ? p.downstream : p.upstream);
  if (to != nullptr && !to->closing_soon) {
    if (!failed) {  // only a failure has something to say; the rest would not be covered by credit
      patch_header_bytes(frame.head, 0);
      frame.head_bytes = kFixedBytes;
    }
    patch_request_id(frame.head, is_reply ? p.downstream_id : pending_.request_id(slot));
    patch_flags(frame.head, frame.fixed.flags & static_cast<uint8_t>(~kFlagNotRun));  // it has begun, whatever its sender says
    // The room of a body covers its bytes and the fixed parts of chunks of decent size; what is beyond counts for who sends it.
    const uint64_t beyond_bytes = bytes < kStreamWindowBytes / kCoveredChunks ? frame.head_bytes : frame.head_bytes - kFixedBytes;
    if (is_reply ? !to->append(frame, false) : !append_shared(to, p.sender, frame, beyond_bytes)) {
      counters_.refused_outbound_full++;
      cancel_upstream(slot, Code::kResourceExhausted);
      finish_pending(slot, {Code::kResourceExhausted, "no room for the rest of the body: the next hop's outbound queue is full (limits.outboundBytesPerLink)"});
      return true;
    }
    touch(to);
  }
  if (more) return true;
  if (is_reply) {
    close_pending(slot, static_cast<Code>(frame.fixed.status));
  } else {
    end_stream(&stream, to, p.sender);
  }
  return true;
}

/// A piece of a request that still waits, for a decision or for an instance, waits with it.
void Engine::hold_chunk(Link* link, const Frame& frame) {
  const uint64_t id = frame.fixed.request_id;
  if (const uint32_t slot = waiting_.find_request(link->handle, id); slot != kNoHeld) {
    wait_chunk(link, slot, frame);
  } else if (const uint32_t parked = parked_.find_request(link->handle, id); parked != kNoHeld) {
    park_chunk(link, parked, frame);
  } else {
    counters_.stale_chunks++;
  }
}

/// Whether a held request may have this piece too. Chunks can be small, so what counts is what they take here.
bool Engine::is_within_credit(Link* link, const HeldRequest& held, const Frame& frame) {
  if (held.frame.size() + frame.bytes() <= kMaxFrameBytes + kMaxQueuedStreamBytes) return true;
  violation(link, "more of a body than there was credit for");
  return false;
}

void Engine::wait_chunk(Link* link, uint32_t slot, const Frame& frame) {
  if (!is_within_credit(link, waiting_.at(slot), frame)) return;
  if (waiting_.has_share(link->handle, 0, frame.bytes()) && waiting_.has_service_share(waiting_.service_of(slot), 0, frame.bytes()) &&
      waiting_.append(slot, frame.head, frame.head_bytes, frame.body, frame.body_bytes)) {
    return;
  }
  counters_.refused_waiting_full++;
  count(waiting_.at(slot).flow, static_cast<uint8_t>(Code::kResourceExhausted), now_ns_ - waiting_.at(slot).arrived_ns);
  stop_waiting(slot);
  reply_to_request(link->handle, frame.fixed.request_id, FrameType::kRequest,
                   {Code::kResourceExhausted, "too many bytes wait for an instance of their service (limits.waitingBytes)", true});
}

void Engine::park_chunk(Link* link, uint32_t slot, const Frame& frame) {
  if (!is_within_credit(link, parked_.at(slot), frame)) return;
  if (parked_.has_share(link->handle, 0, frame.bytes()) && parked_.append(slot, frame.head, frame.head_bytes, frame.body, frame.body_bytes)) return;
  counters_.refused_parked_full++;
  const bool not_run = !is_answered_here(parked_.at(slot));
  timers_.clear(&parked_.at(slot).timer);
  count(parked_.at(slot).flow, static_cast<uint8_t>(Code::kResourceExhausted), now_ns_ - parked_.at(slot).arrived_ns);
  parked_.remove(slot);
  reply_to_request(link->handle, frame.fixed.request_id, FrameType::kRequest,
                   {Code::kResourceExhausted, "too many bytes wait for a decision (limits.parkedBytes)", not_run});
}

bool Engine::on_credit(Link* link, const Frame& frame) {
  const bool is_reply = frame.fixed.flags & kFlagReply;
  const uint64_t id = frame.fixed.request_id;
  const uint32_t slot = is_reply ? pending_.find_request(link->handle, id) : pending_.find_reply(id);
  if (slot == kNoPending) return true;  // the body has ended meanwhile
  Pending& p = pending_.at(slot);
  if (!is_reply && !(p.upstream == link->handle)) {
    violation(link, "credit for a request that went to another link");
    return false;
  }
  BodyStream& stream = is_reply ? p.reply : p.request;
  if (!stream.open) return true;
  if (frame.fixed.value == 0 || frame.fixed.value > kStreamWindowBytes - stream.allowance_bytes) {
    violation(link, "credit of nothing, or for more than was sent");
    return false;
  }
  stream.allowance_bytes += frame.fixed.value;
  stream.held_credit_bytes += frame.fixed.value;
  if (stream.held_credit_bytes < kCreditStepBytes) return true;
  const uint32_t granted = std::exchange(stream.held_credit_bytes, 0u);
  Link* to = find_link(is_reply ? p.upstream : p.downstream);
  if (to == nullptr || to->closing_soon) return true;
  append_control(to, {.type = FrameType::kCredit,
                      .flags = frame.fixed.flags,
                      .request_id = is_reply ? pending_.request_id(slot) : p.downstream_id,
                      .value = granted},
                 {}, true);  // a few for each stream's window at most: no reason to lose the link of a slow reader
  return true;
}

}  // namespace ringside
