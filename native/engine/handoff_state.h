// What one engine hands over to the next, as plain values: links with their unsent and half-read bytes, pendings, parked requests, and what
// was learnt and counted. Times are durations, because only they mean the same in both processes. Made by handoff_export.cc, put to
// use by handoff_import.cc; on the wire it is a protobuf message (docs/upgrade.md), which leaves out zeros: every field's default is zero. Fields
// are only ever added; when that does not do, its version (options.h) is raised.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/engine/flow_table.h"
#include "native/engine/parked.h"
#include "native/link/legacy_state.h"
#include "native/link/link.h"

namespace ringside {

struct StreamedBodyState {
  uint32_t left_bytes = 0, allowance_bytes = 0, held_credit_bytes = 0;
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.left_bytes), a(2, s.allowance_bytes), a(3, s.held_credit_bytes);
  }
};

struct PendingState {
  uint32_t slot = 0, generation = 0;
  uint8_t attempt = 0;
  uint64_t left_ns = 0, age_ns = 0;
  uint64_t downstream = 0, downstream_id = 0, upstream = 0;  // packed handles
  uint64_t end_position = 0;
  uint32_t frame_bytes = 0, cluster = 0;
  uint64_t instance_id = 0;  // 0: none
  uint32_t flow = 0;         // place in EngineState::flows plus 1; 0: none
  bool streamed = false;
  uint32_t sender_app = 0;  // a hash of its name where it counts for a share of the way out
  std::string method, trace_id;  // for a record of it
  std::vector<StreamedBodyState> request, reply;  // one where that body is on its way, else none
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.slot), a(2, s.generation), a(3, s.attempt), a(4, s.left_ns), a(5, s.age_ns), a(6, s.downstream), a(7, s.downstream_id);
    a(8, s.upstream), a(9, s.end_position), a(10, s.frame_bytes), a(11, s.cluster), a(12, s.instance_id), a(13, s.flow);
    a(14, s.streamed), a(15, s.request), a(16, s.reply), a(17, s.sender_app), a(18, s.method), a(19, s.trace_id);
  }
};

struct MovedLink {
  uint64_t handle = 0;
  LinkKind kind{};
  LinkRole role{};
  LinkState state{};
  std::string app, peer, upstream;  // upstream: the address it was connected for, empty if none
  uint32_t uid = 0, pid = 0, listener = 0, ring_bytes = 0;
  uint64_t timer_ns = 0;  // until the link's timer; 0: not armed
  uint64_t age_ns = 0;
  std::string reason;  // of drain_then_close
  bool drain_then_close = false, hung_up = false, reported_up = false;
  uint8_t silent_intervals = 0;
  uint64_t bytes_in_at_last_check = 0;
  uint64_t requests_in = 0, responses_out = 0, frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
  std::string partial;  // begin of a frame or a legacy message that has not come whole (streams)
  std::string queue;    // what was not handed over yet
  uint64_t in_position = 0;   // ring: released; stream: unused
  uint64_t out_position = 0;  // ring: published; stream: bytes ever appended; legacy: unused
  std::vector<LegacyState> legacy;  // one where it speaks the legacy protocol, else none; since version 2
  CallerPlace place{};
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.handle), a(2, s.kind), a(3, s.role), a(4, s.state), a(5, s.app), a(6, s.peer), a(7, s.upstream), a(8, s.uid), a(9, s.pid);
    a(10, s.listener), a(11, s.ring_bytes), a(12, s.timer_ns), a(13, s.age_ns), a(14, s.reason), a(15, s.drain_then_close);
    a(16, s.hung_up), a(17, s.reported_up), a(18, s.silent_intervals), a(19, s.bytes_in_at_last_check), a(20, s.requests_in);
    a(21, s.responses_out), a(22, s.frames_in), a(23, s.frames_out), a(24, s.bytes_in), a(25, s.bytes_out), a(26, s.partial);
    a(27, s.queue), a(28, s.in_position), a(29, s.out_position), a(30, s.legacy), a(31, s.place);
  }
};

struct ParkedState {
  uint64_t link = 0, age_ns = 0;
  UpcallKind kind{};
  std::string frames;  // the request, and what came of its body
  uint32_t cluster = 0;  // where it waits for an instance, as it has passed its filters; 0: for a decision
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.link), a(2, s.age_ns), a(3, s.kind), a(4, s.frames), a(5, s.cluster);
  }
};

struct InstanceState {
  uint64_t id = 0, requests = 0, failures = 0;
  bool draining = false;
  double latency_us = 0;
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.id), a(2, s.requests), a(3, s.failures), a(4, s.draining), a(5, s.latency_us);
  }
};

struct FlowState {
  std::string key;  // as the table builds it
  uint64_t requests = 0;
  std::vector<uint64_t> by_status;
  std::vector<uint64_t> buckets;  // of the latency sketch: index, count, index, count, ...
  double latency_sum_us = 0;
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.key), a(2, s.requests), a(3, s.by_status), a(4, s.buckets), a(5, s.latency_sum_us);
  }
};

struct ListenerState {
  uint32_t id = 0;
  LinkKind kind{};
  LinkRole role{};
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.id), a(2, s.kind), a(3, s.role);
  }
};

struct EngineState {
  uint32_t pending_generation = 0;  // the highest in use: free slots begin above it, so that late replies of old requests stay stale
  uint32_t link_generation = 0;
  std::vector<uint64_t> counters;  // in the order of EngineCounters
  std::vector<ListenerState> listeners;
  std::vector<MovedLink> links;
  std::vector<FlowState> flows;
  std::vector<InstanceState> instances;
  std::vector<PendingState> pendings;
  std::vector<ParkedState> parked;
  uint64_t legacy_refused = 0, largest_legacy_message_bytes = 0;
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.pending_generation), a(2, s.link_generation), a(3, s.counters), a(4, s.listeners), a(5, s.links), a(6, s.flows);
    a(7, s.instances), a(8, s.pendings), a(9, s.parked), a(10, s.legacy_refused), a(11, s.largest_legacy_message_bytes);
  }
};

}  // namespace ringside
