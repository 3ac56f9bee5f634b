// The engine's state as values, taken between two turns: nothing is gathered, no ring has unpublished records, nobody is about to close. Taking it
// changes nothing, so that a handoff that fails leaves an engine that simply goes on; let_go() comes after the commit.
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <unordered_map>

#include "native/engine/engine.h"
#include "native/engine/handoff_state.h"
#include "native/link/legacy_link.h"
#include "native/link/shm_link.h"
#include "native/link/stream_link.h"

namespace ringside {

namespace {

std::string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }
std::string text_of(const OutQueue& queue) { return {reinterpret_cast<const char*>(queue.data()), queue.size()}; }

uint64_t left_ns(int64_t deadline_ns, int64_t now_ns) { return static_cast<uint64_t>(std::max<int64_t>(deadline_ns - now_ns, 1)); }
uint64_t age_ns(int64_t since_ns, int64_t now_ns) { return static_cast<uint64_t>(std::max<int64_t>(now_ns - since_ns, 0)); }

std::vector<StreamedBodyState> state_of(const BodyStream& stream) {
  if (!stream.open) return {};
  return {{stream.left_bytes, stream.allowance_bytes, stream.held_credit_bytes}};
}

FlowState state_of(const Flow& flow, const FlowDetail& detail) {
  FlowState state;
  state.key = flow.key.view();
  state.requests = detail.requests;
  state.by_status.assign(detail.by_status.begin(), detail.by_status.end());
  for (uint32_t i = 0; detail.latency && i < Sketch::kBuckets; i++) {
    if (detail.latency->at(i) == 0) continue;
    state.buckets.push_back(i);
    state.buckets.push_back(detail.latency->at(i));
  }
  state.latency_sum_us = detail.latency ? detail.latency->sum_us() : 0;
  return state;
}

}  // namespace

MovedLink Engine::export_link(const Link& link) const {
  MovedLink moved;
  moved.handle = link.handle.pack();
  moved.kind = link.kind;
  moved.role = link.role;
  moved.state = link.state;
  moved.app = link.app;
  moved.peer = link.peer;
  if (link.upstream != UINT32_MAX) moved.upstream = upstreams_.at(link.upstream).address;
  moved.uid = link.uid;
  moved.pid = link.pid;
  moved.place = link.place;
  moved.listener = link.listener;
  moved.timer_ns = link.timer.armed() ? left_ns(link.timer.deadline_ns, now_ns_) : 0;
  moved.age_ns = age_ns(link.since_ns, now_ns_);
  moved.drain_then_close = link.drain_then_close;
  if (link.drain_then_close || link.protocol == LinkProtocol::kLegacy) moved.reason = link.reason;
  moved.hung_up = link.hung_up;
  moved.reported_up = link.reported_up || link.state == LinkState::kOpen;
  moved.silent_intervals = link.silent_intervals;
  moved.bytes_in_at_last_check = link.bytes_in_at_last_check;
  moved.requests_in = link.requests_in;
  moved.responses_out = link.responses_out;
  moved.frames_in = link.frames_in;
  moved.frames_out = link.frames_out;
  moved.bytes_in = link.bytes_in;
  moved.bytes_out = link.bytes_out;
  if (link.kind == LinkKind::kShm) {
    const auto& shm = static_cast<const ShmLink&>(link);
    moved.ring_bytes = shm.segment_ring_bytes();
    moved.in_position = shm.in_position();
    moved.out_position = shm.out_position();
    moved.queue = text_of(shm.queue());
  } else if (link.protocol == LinkProtocol::kLegacy) {
    const auto& legacy = static_cast<const LegacyLink&>(link);
    moved.legacy.push_back(legacy.save());
    moved.partial = legacy.unread();
    moved.queue = text_of(legacy.queue());
  } else {
    const auto& stream = static_cast<const StreamLink&>(link);
    moved.out_position = stream.end_position();
    moved.partial = text_of(stream.partial());
    moved.queue = text_of(stream.queue());
  }
  return moved;
}

PendingState Engine::export_pending(uint32_t slot, uint32_t flow_place) {
  const Pending& p = pending_.at(slot);
  PendingState moved;
  moved.slot = slot;
  moved.generation = p.generation;
  moved.attempt = p.attempt;
  moved.left_ns = left_ns(p.timer.deadline_ns, now_ns_);
  moved.age_ns = age_ns(p.started_ns, now_ns_);
  moved.downstream = p.downstream.pack();
  moved.downstream_id = p.downstream_id;
  moved.upstream = p.upstream.pack();
  moved.end_position = p.end_position;
  moved.frame_bytes = p.frame_bytes;
  moved.cluster = p.cluster;
  moved.instance_id = p.instance == UINT32_MAX ? 0 : clusters_.instance(p.instance).id;
  moved.flow = flow_place;
  moved.streamed = p.streamed;
  moved.sender_app = p.sender.app;
  moved.method = pending_.note_of(p).method();
  moved.trace_id = pending_.note_of(p).trace_id();
  moved.request = state_of(p.request);
  moved.reply = state_of(p.reply);
  return moved;
}

EngineState Engine::export_state() {
  now_ns_ = clock_->now_ns();
  EngineState state;
  state.legacy_refused = legacy_account_.refused;
  state.largest_legacy_message_bytes = legacy_account_.largest_message_bytes;
  const auto counters = std::bit_cast<std::array<uint64_t, sizeof(EngineCounters) / sizeof(uint64_t)>>(counters_);
  state.counters.assign(counters.begin(), counters.end());
  for (const Listener& listener : listeners_) {
    if (listener.live) state.listeners.push_back({listener.id, listener.kind, listener.role});
  }
  state.links.reserve(live_links_);
  for (const LinkSlot& slot : links_) {
    state.link_generation = std::max(state.link_generation, slot.generation);
    // A refused one only waits to be told so; this process does that with its last breath.
    if (slot.link && slot.link->state != LinkState::kClosing) state.links.push_back(export_link(*slot.link));
  }
  std::unordered_map<const Flow*, uint32_t> flow_places;
  state.flows.reserve(flows_.size());
  flow_places.reserve(flows_.size());
  flows_.for_each([&](const Flow& flow) {
    state.flows.push_back(state_of(flow, flows_.detail(flow)));
    flow_places.emplace(&flow, static_cast<uint32_t>(state.flows.size()));
  });
  clusters_.for_each_instance([&](const Instance& instance) {
    state.instances.push_back({instance.id, instance.requests, instance.failures, instance.draining, instance.latency_us});
  });
  state.pending_generation = pending_.highest_generation();
  for (const LinkSlot& slot : links_) {
    if (!slot.link) continue;
    for (uint32_t at = slot.link->down.head; at != kNoPending; at = pending_.at(at).down_next) {
      const auto place = flow_places.find(flows_.get(pending_.at(at).flow));
      state.pendings.push_back(export_pending(at, place == flow_places.end() ? 0 : place->second));
    }
  }
  for (uint32_t slot = 0; parked_.size() > 0 && slot < parked_.capacity(); slot++) {
    const HeldRequest& parked = parked_.at(slot);
    if (!parked.live) continue;
    const UpcallKind kind = parked_.upcall(parked.queue).kind;
    state.parked.push_back({parked.downstream.pack(), age_ns(parked.arrived_ns, now_ns_), kind, text_of(parked.frame)});
  }
  for (uint32_t slot = 0; waiting_.size() > 0 && slot < waiting_.capacity(); slot++) {
    const HeldRequest& held = waiting_.at(slot);
    if (!held.live) continue;
    state.parked.push_back({held.downstream.pack(), age_ns(held.arrived_ns, now_ns_), UpcallKind::kMiss, text_of(held.frame), held.queue});
  }
  // In order of arrival, so that the decisions are asked for in it.
  std::stable_sort(state.parked.begin(), state.parked.end(),
                   [](const ParkedState& a, const ParkedState& b) { return a.age_ns > b.age_ns; });
  return state;
}

/// Forgets everything without a word to anybody: another process has it. What is left answers nothing but statistics.
void Engine::let_go() {
  let_go_ = true;
  reserve_.lend();
  // First of all: an old poller would go on telling of descriptors whose duplicates live on.
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  poll_add(wake_fd_.get(), EPOLLIN, poll_data(PollTag::kWake));
  for (Parting& parting : partings_) parting.fd.reset();
  timers_ = TimerHeap{};
  links_.clear();
  free_links_.clear();
  live_links_ = 0;
  link_shares_ = LinkShares(options_.max_links);
  for (std::deque<Handle>& silent : silent_) silent.clear();
  links_of_uid_.clear();
  tcp_links_of_uid_.clear();
  links_of_address_.clear();
  listeners_.clear();
  listeners_paused_ = false;
  dirty_.clear();
  read_again_.clear();
  closing_.clear();
  to_shm_.clear();
  up_unreported_.clear();
  down_unreported_.clear();
}

}  // namespace ringside
