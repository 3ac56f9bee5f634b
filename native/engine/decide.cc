// What TypeScript decided, applied between two turns: snapshots of clusters, flows, verdicts on parked requests. A decision about something
// that is gone is a counted no-op.
#include <sys/epoll.h>

#include <algorithm>
#include <cstring>

#include "native/codec/mesh_header.h"
#include "native/engine/engine.h"

namespace ringside {

void Engine::on_command(SetCluster& command) {
  const uint32_t id = command.spec.id;
  if (!clusters_.set(std::move(command.spec))) counters_.stale_decisions++;
  resume_waiting(id);
}
void Engine::on_command(RemoveCluster& command) {
  clusters_.remove(command.id);
  resume_waiting(command.id);
}

void Engine::on_command(SetService& command) {
  if (!flows_.set_service(command.direction, command.service, std::move(command.spec))) counters_.stale_decisions++;
}
void Engine::on_command(SetFlow& command) {
  const std::array<std::string_view, 4> values{command.values[0], command.values[1], command.values[2], command.values[3]};
  if (!flows_.set_flow(command.direction, command.service, values, command.attachment_values, std::move(command.action))) {
    counters_.stale_decisions++;
  }
}
void Engine::on_command(RemoveService& command) { flows_.remove_service(command.direction, command.service); }

void Engine::on_command(Resolve& command) {
  const Handle token = Handle::unpack(command.token);
  if (!parked_.is_open(token)) {
    counters_.stale_decisions++;
    return;
  }
  for (const uint32_t slot : parked_.close_upcall(token.slot)) resolve_one(slot, command);
}

/// Ends the wait of one request: carries out the verdict, then lets what came of its body meanwhile follow.
void Engine::resolve_one(uint32_t slot, Resolve& verdict) {
  HeldRequest& parked = parked_.at(slot);
  timers_.clear(&parked.timer);
  const Waited waited{parked.flow, parked.arrived_ns, parked.deadline_ns};
  const Handle downstream = parked.downstream;
  const size_t n = parked.frame.size();
  uint8_t* const bytes = arena_.take(n);
  std::memcpy(bytes, parked.frame.data(), n);
  parked_.remove(slot);

  size_t at = 0;
  while (at < n) {
    Link* link = find_link(downstream);
    if (link == nullptr || link->closing_soon) return;
    FixedPart fixed;
    decode_fixed(bytes + at, &fixed);
    Frame frame = frame_at(bytes + at, fixed);
    at += frame.bytes();
    if (frame.fixed.type == FrameType::kChunk) {
      on_chunk(link, frame);
    } else {
      carry_out(link, frame, waited, verdict);
    }
  }
}

void Engine::carry_out(Link* link, Frame& frame, const Waited& waited, const Resolve& verdict) {
  const Handle downstream = link->handle;
  const uint64_t id = frame.fixed.request_id;
  const FrameType type = frame.fixed.type;
  switch (verdict.verdict) {
    case Resolve::Verdict::kLookUp: {
      HeaderView view;
      if (parse_header(frame.header(), frame.header_bytes(), &view) != nullptr) return;  // it was accepted before
      const Direction direction = link->role == LinkRole::kApp ? Direction::kOutbound : Direction::kInbound;
      route(link, frame, direction, view, waited.arrived_ns, true);
      return;
    }
    case Resolve::Verdict::kReject:
      counters_.rejected++;
      count(waited.flow, static_cast<uint8_t>(verdict.code), now_ns_ - waited.arrived_ns);
      reply_to_request(downstream, id, type, {verdict.code, verdict.text, true});
      return;
    case Resolve::Verdict::kAnswer:
      count(waited.flow, static_cast<uint8_t>(verdict.code), now_ns_ - waited.arrived_ns);
      if (type != FrameType::kOneWay) answer(link, id, verdict);
      return;
    case Resolve::Verdict::kForward: {
      if (verdict.header.size() > kMaxHeaderBytes) {
        count(waited.flow, static_cast<uint8_t>(Code::kInternal), now_ns_ - waited.arrived_ns);
        reply_to_request(downstream, id, type, {Code::kInternal, "a filter made the header too large", true});
        return;
      }
      if (!verdict.header.empty()) replace_header(&frame, verdict.header);
      const int64_t by_verdict_ns = waited.arrived_ns + verdict.timeout_ms * kNsPerMs;
      const int64_t deadline_ns = verdict.timeout_ms == 0 ? waited.deadline_ns : std::min(waited.deadline_ns, by_verdict_ns);
      HeaderView view;
      const bool readable = parse_header(frame.header(), frame.header_bytes(), &view) == nullptr;
      forward(downstream, frame, waited.flow, verdict.cluster, deadline_ns, waited.arrived_ns, 0,
              readable ? RequestName::of(view) : RequestName{});
      return;
    }
  }
}

/// The frame with another header, in fresh memory: the body stays where it is.
void Engine::replace_header(Frame* frame, std::string_view header) {
  uint8_t* const head = arena_.take(kFixedBytes + header.size());
  frame->fixed.header_bytes = static_cast<uint32_t>(header.size());
  encode_fixed(frame->fixed, head);
  std::memcpy(head + kFixedBytes, header.data(), header.size());
  frame->head = head;
  frame->head_bytes = kFixedBytes + header.size();
}

/// Answers a request with TypeScript's header and body.
void Engine::answer(Link* link, uint64_t request_id, const Resolve& verdict) {
  if (verdict.header.size() > kMaxHeaderBytes || verdict.body.size() > kMaxFrameBodyBytes) {
    reply_to_request(link->handle, request_id, FrameType::kRequest,
                     {Code::kInternal, "the agent's answer is too large for a frame", false});
    return;
  }
  Frame reply;
  reply.head_bytes = kFixedBytes + verdict.header.size();
  reply.body_bytes = verdict.body.size();
  reply.head = arena_.take(reply.bytes());
  reply.fixed.type = FrameType::kResponse;
  reply.fixed.status = static_cast<uint8_t>(verdict.code);
  reply.fixed.header_bytes = static_cast<uint32_t>(verdict.header.size());
  reply.fixed.body_bytes = static_cast<uint32_t>(verdict.body.size());
  reply.fixed.request_id = request_id;
  encode_fixed(reply.fixed, reply.head);
  std::memcpy(reply.head + kFixedBytes, verdict.header.data(), verdict.header.size());
  std::memcpy(reply.head + reply.head_bytes, verdict.body.data(), verdict.body.size());
  reply.body = reply.head + reply.head_bytes;
  link->responses_out++;
  touch(link);
  if (link->append(reply, false)) return;
  reply_to_request(link->handle, request_id, FrameType::kRequest,
                   {Code::kResourceExhausted, "the caller reads too slowly: its outbound queue is full", false});
}

void Engine::on_command(CloseLink& command) {
  Link* link = find_link(command.link);
  if (link == nullptr) {
    counters_.stale_decisions++;
    return;
  }
  close_soon(link, std::move(command.reason));
}

void Engine::on_command(ReadStats& command) { report_stats(command.id); }
void Engine::on_command(AwaitIdle& command) { idle_questions_.push_back(command); }

/// For requests that come from now on.
void Engine::on_command(SetTimeouts& command) {
  options_.default_timeout_ms = command.default_ms;
  options_.max_timeout_ms = command.max_ms;
}

void Engine::on_command(AddListener& command) {
  uint32_t slot = 0;
  while (slot < listeners_.size() && listeners_[slot].live) slot++;
  if (slot == listeners_.size()) listeners_.emplace_back();
  Listener& listener = listeners_[slot];
  listener = Listener{command.id, command.kind, command.role, std::move(command.fd), false, true};
  if (!poll_add(listener.fd.get(), EPOLLIN, poll_data(PollTag::kListener, slot))) listener.live = false;
}

void Engine::on_command(CloseListener& command) {
  for (Listener& listener : listeners_) {
    if (!listener.live || listener.id != command.id) continue;
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener.fd.get(), nullptr);
    listener.fd.reset();
    listener.live = false;
    return;
  }
  counters_.stale_decisions++;
}

}  // namespace ringside
