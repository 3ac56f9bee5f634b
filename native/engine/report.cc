// What the engine tells TypeScript. Upcalls are bounded by the table of parked requests and links by their table; records
// of slow and failed requests are dropped, and counted, while the other side does not read.
#include <algorithm>

#include "native/engine/engine.h"
#include "native/engine/sketch.h"

namespace ringside {

namespace {

constexpr size_t kMailboxBusyBytes = 1 << 20;

std::string_view view_of(const uint8_t* p, size_t n) { return {reinterpret_cast<const char*>(p), n}; }

}  // namespace

void Engine::report_upcall(Handle token, UpcallKind kind, Direction direction, const Link& link, const Frame& frame) {
  events_.add(EventType::kUpcall, [&](ByteWriter& out) {
    out.u64(token.pack());
    out.u8(static_cast<uint8_t>(kind));
    out.u8(static_cast<uint8_t>(direction));
    out.u64(link.handle.pack());
    out.u8(static_cast<uint8_t>(link.place));
    out.u32(link.uid);
    out.u8(static_cast<uint8_t>(frame.fixed.type));
    out.u32(frame.fixed.timeout_ms);
    out.bytes(view_of(frame.header(), frame.header_bytes()));
    out.bytes(kind == UpcallKind::kControl ? view_of(frame.body, frame.body_bytes) : std::string_view{});
  });
}

void Engine::report_links() {
  if (up_unreported_.empty() && down_unreported_.empty()) return;
  if (mailbox_->waiting() > kMailboxBusyBytes) return;
  for (const Handle handle : up_unreported_) {
    Link* link = find_link(handle);
    if (link == nullptr) continue;
    link->reported_up = true;
    events_.add(EventType::kLinkUp, [&](ByteWriter& out) {
      out.u64(handle.pack());
      out.u8(static_cast<uint8_t>(link->kind));
      out.u8(static_cast<uint8_t>(link->role));
      out.bytes(link->peer);
      out.bytes(link->app);
      out.bytes(link->note);
    });
  }
  up_unreported_.clear();
  for (const Departure& departure : down_unreported_) {
    events_.add(EventType::kLinkDown, [&](ByteWriter& out) {
      out.u64(departure.handle.pack());
      out.bytes(departure.reason);
    });
    free_slot(departure.handle.slot, departure.side);
  }
  down_unreported_.clear();
}

/// Tells when a listener's trouble begins, and with an empty text when it is over.
void Engine::report_listener(Listener* listener, std::string_view problem) {
  if (listener->problem_told == !problem.empty()) return;
  listener->problem_told = !problem.empty();
  events_.add(EventType::kListenerProblem, [&](ByteWriter& out) {
    out.u32(listener->id);
    out.bytes(problem);
  });
}

/// Tells when an address cannot be reached any more, and with an empty text when it can.
void Engine::report_upstream(Upstream* upstream, std::string_view problem) {
  if (upstream->problem_told == !problem.empty()) return;
  upstream->problem_told = !problem.empty();
  events_.add(EventType::kUpstreamProblem, [&](ByteWriter& out) {
    out.bytes(upstream->address);
    out.bytes(problem);
  });
}

void Engine::report_record(const Pending& pending, Code code, std::string_view text, int64_t latency_ns) {
  if (records_in_batch_ >= options_.max_records) {
    counters_.dropped_records++;
    return;
  }
  records_in_batch_++;
  const Flow* flow = flows_.get(pending.flow);
  const Link* up = find_link(pending.upstream);
  const Link* down = find_link(pending.downstream);
  events_.add(EventType::kRecord, [&](ByteWriter& out) {
    out.u8(static_cast<uint8_t>(code));
    out.f64(static_cast<double>(latency_ns) / 1000.0);
    out.u8(flow != nullptr ? static_cast<uint8_t>(flow->direction()) : uint8_t{0});
    out.bytes(flow != nullptr ? flow->service_name() : std::string_view{});
    out.bytes(up != nullptr ? std::string_view(up->peer) : std::string_view{});
    out.bytes(down != nullptr ? std::string_view(down->app) : std::string_view{});
    out.bytes(text.substr(0, kMaxNameBytes));
    const RequestNote& note = pending_.note_of(pending);
    out.bytes(note.method());
    out.bytes(note.trace_id());
  });
}

void Engine::report_idle_if_asked() {
  if (idle_questions_.empty() || pending_.size() > 0 || parked_.size() > 0 || waiting_.size() > 0) return;
  // The last replies count as under way until they have left.
  bool apps_gone = true;
  for (const LinkSlot& slot : links_) {
    const Link* link = slot.link.get();
    if (link == nullptr || link->state != LinkState::kOpen || link->closing_soon) continue;
    if (link->outbound_bytes() > 0) return;
    if (link->role == LinkRole::kApp) apps_gone = false;
  }
  std::erase_if(idle_questions_, [&](const AwaitIdle& question) {
    if (question.apps_gone && !apps_gone) return false;
    events_.add(EventType::kIdle, [&](ByteWriter& out) { out.u32(question.id); });
    return true;
  });
}

void Engine::publish_events() {
  report_links();
  report_idle_if_asked();
  // Looked at again while records are held back, else they would never come back.
  if (events_.empty() && records_in_batch_ == 0) return;
  const size_t waiting = mailbox_->waiting();
  // Records wait for nobody; what else is in the batch is bounded by the tables it speaks of.
  records_in_batch_ = waiting > kMailboxBusyBytes ? options_.max_records : 0;
  if (!events_.empty() && mailbox_->put(events_.take())) wake_();
}

void Engine::report_stats(uint32_t id) {
  events_.add(EventType::kStats, [&](ByteWriter& out) {
    out.u32(id);

    const std::pair<const char*, uint64_t> counters[] = {
        {"requests", counters_.requests},
        {"replies", counters_.replies},
        {"one_ways", counters_.one_ways},
        {"one_ways_dropped", counters_.one_ways_dropped},
        {"cancels", counters_.cancels},
        {"flow_hits", counters_.flow_hits},
        {"flow_misses", counters_.flow_misses},
        {"flow_evictions", flows_.evictions()},
        {"upcalls", counters_.upcalls},
        {"filter_upcalls", counters_.filter_upcalls},
        {"control_requests", counters_.control_requests},
        {"stale_decisions", counters_.stale_decisions},
        {"stale_replies", counters_.stale_replies},
        {"protocol_violations", counters_.protocol_violations},
        {"links_opened", counters_.links_opened},
        {"links_closed", counters_.links_closed},
        {"links_refused", counters_.links_refused},
        {"connects", counters_.connects},
        {"connect_failures", counters_.connect_failures},
        {"accept_failures", counters_.accept_failures},
        {"segments_refused", counters_.segments_refused},
        {"deadlines", counters_.deadlines},
        {"repicks", counters_.repicks},
        {"rejected", counters_.rejected},
        {"refused_pending_full", counters_.refused_pending_full},
        {"refused_parked_full", counters_.refused_parked_full},
        {"refused_upcalls_full", counters_.refused_upcalls_full},
        {"refused_outbound_full", counters_.refused_outbound_full},
        {"refused_miss_rate", counters_.refused_miss_rate},
        {"refused_streams_full", counters_.refused_streams_full},
        {"refused_legacy_full", legacy_account_.refused},
        {"streams", counters_.streams},
        {"chunks", counters_.chunks},
        {"stale_chunks", counters_.stale_chunks},
        {"dropped_records", counters_.dropped_records},
        {"turns", counters_.turns},
        {"batch_scheduling_begun", counters_.batch_begun},
        {"batch_scheduling_ended", counters_.batch_ended},
        {"busy_polls", counters_.busy_polls},
        {"busy_poll_hits", counters_.busy_poll_hits},
        {"waited", counters_.waited},
        {"refused_waiting_full", counters_.refused_waiting_full},
        {"links_crowded_out", counters_.links_crowded_out},
    };
    out.u32(std::size(counters));
    for (const auto& [name, value] : counters) {
      out.bytes(name);
      out.u64(value);
    }

    write_limits(&out);

    const size_t links_at = out.hold_u32();
    uint32_t link_count = 0;
    for (const LinkSlot& slot : links_) {
      const Link* link = slot.link.get();
      if (link == nullptr) continue;
      link_count++;
      out.u64(link->handle.pack());
      out.u8(static_cast<uint8_t>(link->kind));
      out.u8(static_cast<uint8_t>(link->role));
      out.u8(link->closing_soon || link->drain_then_close ? uint8_t{4} : static_cast<uint8_t>(link->state));
      out.bytes(link->peer);
      out.bytes(link->app);
      out.f64(static_cast<double>(now_ns_ - link->since_ns) / 1e6);
      out.u64(link->requests_in);
      out.u64(link->responses_out);
      out.u64(link->bytes_in);
      out.u64(link->bytes_out);
      out.u32(link->up.count);
      out.u32(link->down.count);
      out.u64(link->outbound_bytes());
    }
    out.fill_u32(links_at, link_count);

    const size_t clusters_at = out.hold_u32();
    uint32_t cluster_count = 0;
    clusters_.for_each([&](const Cluster& cluster) {
      cluster_count++;
      out.u32(cluster.id);
      out.u8(static_cast<uint8_t>(cluster.direction));
      out.u8(static_cast<uint8_t>(cluster.balancer));
      out.bytes(cluster.service);
      out.bytes(cluster.group);
      out.u32(static_cast<uint32_t>(cluster.instances.size()));
      for (size_t i = 0; i < cluster.instances.size(); i++) {
        const Instance& instance = clusters_.instance(cluster.instances[i]);
        out.u64(instance.id);
        out.u32(cluster.weights[i]);
        out.u8(instance.local ? 1 : 0);
        const Link* link = instance.local ? find_link(instance.link) : nullptr;
        std::string where;
        uint8_t state = 0;  // idle, ready, connecting, backoff, draining
        if (instance.local) {
          where = link != nullptr ? link->peer : "gone";
          state = link != nullptr ? 1 : 3;
        } else {
          const Upstream& upstream = upstreams_.at(instance.upstream);
          where = upstream.address;
          for (const Handle handle : upstream.links) {
            link = find_link(handle);
            state = link != nullptr && link->state == LinkState::kOpen ? 1 : 2;
            if (state == 1) break;
          }
          if (state == 0 && now_ns_ < upstream.next_attempt_ns) {
            state = 3;
          }
        }
        out.bytes(where);
        out.u8(instance.draining ? uint8_t{4} : state);
        out.u32(instance.in_flight);
        out.u64(instance.requests);
        out.u64(instance.failures);
        out.f64(instance.latency_us);
      }
    });
    out.fill_u32(clusters_at, cluster_count);

    const size_t flows_at = out.hold_u32();
    uint32_t flow_count = 0;
    flows_.for_each([&](const Flow& flow) {
      flow_count++;
      const FlowDetail& detail = flows_.detail(flow);
      const KeySpec& spec = flows_.spec_of(flow);
      out.u8(static_cast<uint8_t>(flow.direction()));
      out.bytes(flow.service_name());
      out.u8(spec.fields);
      out.u8(static_cast<uint8_t>(spec.attachments.size()));
      for (const std::string& name : spec.attachments) out.bytes(name);
      out.bytes(flow.key_values());
      out.u8(static_cast<uint8_t>(flow.kind));
      out.u8(flow.upcall ? 1 : 0);
      out.u32(flow.cluster);
      out.u64(detail.requests);
      for (const uint64_t status : detail.by_status) out.u64(status);
      out.f64(detail.latency ? detail.latency->sum_us() : 0);
      const size_t buckets_at = out.hold_u32();
      uint32_t buckets = 0;
      for (uint32_t i = 0; detail.latency && i < Sketch::kBuckets; i++) {
        if (detail.latency->at(i) == 0) continue;
        buckets++;
        out.u16(static_cast<uint16_t>(i));
        out.u32(detail.latency->at(i));
      }
      out.fill_u32(buckets_at, buckets);
    });
    out.fill_u32(flows_at, flow_count);
  });
}

}  // namespace ringside
