// Reads the engine's batches of events and its statistics, written apart from the writer and from the TypeScript reader.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "native/engine/byte_stream.h"
#include "native/engine/events.h"
#include "native/engine/handle.h"
#include "native/engine/parked.h"

namespace ringside::testing {

struct UpcallEvent {
  uint64_t token = 0;
  UpcallKind kind = UpcallKind::kMiss;
  Direction direction = Direction::kOutbound;
  Handle link;
  uint8_t place = 0;
  uint32_t uid = 0;
  uint8_t type = 0;
  uint32_t timeout_ms = 0;
  std::string header;
  std::string body;
};
struct LinkUpEvent {
  Handle link;
  uint8_t kind = 0;
  uint8_t role = 0;
  std::string peer;
  std::string app;
  std::string note;
};
struct LinkDownEvent {
  Handle link;
  std::string reason;
};
struct UpstreamProblemEvent {
  std::string address;
  std::string problem;  // empty: it is over
};
struct GoAwayDoneEvent {
  uint32_t id = 0, acknowledged = 0, missing = 0;
};
struct RecordEvent {
  uint8_t code = 0;
  double latency_us = 0;
  uint8_t direction = 0;
  std::string service, upstream, app, text, method, trace_id;
};

struct LinkStats {
  Handle handle;
  uint8_t kind = 0, role = 0, state = 0;
  std::string peer, app;
  double age_ms = 0;
  uint64_t requests_in = 0, responses_out = 0, bytes_in = 0, bytes_out = 0;
  uint32_t up = 0, down = 0;
  uint64_t outbound_bytes = 0;
};
struct EndpointStats {
  uint64_t id = 0;
  uint32_t weight = 0;
  bool local = false;
  std::string where;
  uint8_t state = 0;
  uint32_t in_flight = 0;
  uint64_t requests = 0, failures = 0;
  double latency_us = 0;
};
struct ClusterStats {
  uint32_t id = 0;
  uint8_t direction = 0, balancer = 0;
  std::string service, group;
  std::vector<EndpointStats> endpoints;
};
struct FlowStats {
  uint8_t direction = 0;
  std::string service;
  uint8_t fields = 0;
  std::vector<std::string> attachments;
  std::string key_values;
  uint8_t kind = 0;
  bool upcall = false;
  uint32_t cluster = 0;
  uint64_t requests = 0;
  std::vector<uint64_t> by_status;
  double sum_us = 0;
  std::map<uint16_t, uint32_t> buckets;
};
struct Stats {
  uint32_t id = 0;
  std::map<std::string, uint64_t> counters;
  std::map<std::string, std::pair<uint64_t, uint64_t>> limits;  // used and bound
  std::vector<LinkStats> links;
  std::vector<ClusterStats> clusters;
  std::vector<FlowStats> flows;
};

struct Events {
  std::vector<UpcallEvent> upcalls;
  std::vector<LinkUpEvent> ups;
  std::vector<LinkDownEvent> downs;
  std::vector<GoAwayDoneEvent> go_aways;
  std::vector<uint32_t> idle;
  std::vector<RecordEvent> records;
  std::vector<std::string> listener_problems;  // an empty one: it is over
  std::vector<UpstreamProblemEvent> upstream_problems;
  std::vector<Stats> stats;
  std::vector<std::string> asked, offered, handoff_failures;
  int handed_over = 0, taken_over = 0;
  std::vector<std::string> order;  // of links: "up 0/1", "down 0/1"

  void read(const std::vector<uint8_t>& batch);
};

namespace events_detail {

inline double f64(ByteReader& in) {
  const uint64_t bits = in.u64();
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline uint16_t u16(ByteReader& in) {
  const uint8_t low = in.u8();
  return static_cast<uint16_t>(low | in.u8() << 8);
}

inline LinkStats link_stats(ByteReader& in) {
  LinkStats s;
  s.handle = Handle::unpack(in.u64());
  s.kind = in.u8();
  s.role = in.u8();
  s.state = in.u8();
  s.peer = in.text();
  s.app = in.text();
  s.age_ms = f64(in);
  s.requests_in = in.u64();
  s.responses_out = in.u64();
  s.bytes_in = in.u64();
  s.bytes_out = in.u64();
  s.up = in.u32();
  s.down = in.u32();
  s.outbound_bytes = in.u64();
  return s;
}

inline ClusterStats cluster_stats(ByteReader& in) {
  ClusterStats s;
  s.id = in.u32();
  s.direction = in.u8();
  s.balancer = in.u8();
  s.service = in.text();
  s.group = in.text();
  for (uint32_t n = in.u32(); n > 0 && in.ok(); n--) {
    EndpointStats e;
    e.id = in.u64();
    e.weight = in.u32();
    e.local = in.u8();
    e.where = in.text();
    e.state = in.u8();
    e.in_flight = in.u32();
    e.requests = in.u64();
    e.failures = in.u64();
    e.latency_us = f64(in);
    s.endpoints.push_back(e);
  }
  return s;
}

inline FlowStats flow_stats(ByteReader& in) {
  FlowStats s;
  s.direction = in.u8();
  s.service = in.text();
  s.fields = in.u8();
  for (uint8_t n = in.u8(); n > 0 && in.ok(); n--) s.attachments.push_back(in.text());
  s.key_values = in.text();
  s.kind = in.u8();
  s.upcall = in.u8();
  s.cluster = in.u32();
  s.requests = in.u64();
  for (int i = 0; i <= kMaxCode; i++) s.by_status.push_back(in.u64());
  s.sum_us = f64(in);
  for (uint32_t n = in.u32(); n > 0 && in.ok(); n--) {
    const uint16_t bucket = u16(in);
    s.buckets[bucket] = in.u32();
  }
  return s;
}

inline Stats stats(ByteReader& in) {
  Stats s;
  s.id = in.u32();
  for (uint32_t n = in.u32(); n > 0 && in.ok(); n--) {
    const std::string name = in.text();
    s.counters[name] = in.u64();
  }
  for (uint32_t n = in.u32(); n > 0 && in.ok(); n--) {
    const std::string name = in.text();
    const uint64_t used = in.u64();
    s.limits[name] = {used, in.u64()};
  }
  for (uint32_t n = in.u32(); n > 0 && in.ok(); n--) s.links.push_back(link_stats(in));
  for (uint32_t n = in.u32(); n > 0 && in.ok(); n--) s.clusters.push_back(cluster_stats(in));
  for (uint32_t n = in.u32(); n > 0 && in.ok(); n--) s.flows.push_back(flow_stats(in));
  return s;
}

inline std::string name_of(Handle link) { return std::to_string(link.slot) + "/" + std::to_string(link.generation); }

}  // namespace events_detail

inline void Events::read(const std::vector<uint8_t>& batch) {
  using namespace events_detail;
  ByteReader all(batch.data(), batch.size());
  while (all.left() > 0) {
    const auto type = static_cast<EventType>(all.u8());
    const std::string_view payload = all.bytes();
    ASSERT_TRUE(all.ok());
    ByteReader in(reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
    switch (type) {
      case EventType::kUpcall: {
        UpcallEvent e;
        e.token = in.u64();
        e.kind = static_cast<UpcallKind>(in.u8());
        e.direction = static_cast<Direction>(in.u8());
        e.link = Handle::unpack(in.u64());
        e.place = in.u8();
        e.uid = in.u32();
        e.type = in.u8();
        e.timeout_ms = in.u32();
        e.header = in.text();
        e.body = in.text();
        upcalls.push_back(e);
        break;
      }
      case EventType::kLinkUp: {
        LinkUpEvent e;
        e.link = Handle::unpack(in.u64());
        e.kind = in.u8();
        e.role = in.u8();
        e.peer = in.text();
        e.app = in.text();
        e.note = in.text();
        order.push_back("up " + name_of(e.link));
        ups.push_back(e);
        break;
      }
      case EventType::kLinkDown: {
        LinkDownEvent e;
        e.link = Handle::unpack(in.u64());
        e.reason = in.text();
        order.push_back("down " + name_of(e.link));
        downs.push_back(e);
        break;
      }
      case EventType::kGoAwayDone: {
        GoAwayDoneEvent e;
        e.id = in.u32();
        e.acknowledged = in.u32();
        e.missing = in.u32();
        go_aways.push_back(e);
        break;
      }
      case EventType::kStats:
        stats.push_back(events_detail::stats(in));
        break;
      case EventType::kIdle:
        idle.push_back(in.u32());
        break;
      case EventType::kRecord: {
        RecordEvent e;
        e.code = in.u8();
        e.latency_us = f64(in);
        e.direction = in.u8();
        e.service = in.text();
        e.upstream = in.text();
        e.app = in.text();
        e.text = in.text();
        e.method = in.text();
        e.trace_id = in.text();
        records.push_back(e);
        break;
      }
      case EventType::kHandoffAsked:
        in.u32();
        asked.push_back(in.text());
        break;
      case EventType::kHandoffOffered:
        offered.push_back(in.text());
        break;
      case EventType::kHandoffFailed:
        handoff_failures.push_back(in.text());
        break;
      case EventType::kHandedOver:
        f64(in);
        in.u32();
        in.u32();
        in.u32();
        handed_over++;
        break;
      case EventType::kTakenOver:
        f64(in);
        in.u32();
        in.u32();
        for (uint32_t n = in.u32(); n > 0 && in.ok(); n--) {
          in.u32();
          in.u8();
          in.u8();
          in.u32();
        }
        for (uint32_t n = in.u32(); n > 0 && in.ok(); n--) in.u64();
        taken_over++;
        break;
      case EventType::kListenerProblem:
        in.u32();
        listener_problems.push_back(in.text());
        break;
      case EventType::kUpstreamProblem: {
        UpstreamProblemEvent e;
        e.address = in.text();
        e.problem = in.text();
        upstream_problems.push_back(e);
        break;
      }
    }
    ASSERT_TRUE(in.ok()) << "event " << static_cast<int>(type) << " is too short";
    ASSERT_EQ(in.left(), 0u) << "event " << static_cast<int>(type) << " is too long";
  }
}

}  // namespace ringside::testing
