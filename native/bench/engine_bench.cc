// What the engine's tables cost per request: flow lookup among 100,000 flows under uniform keys, every balancer's pick among
// 10,000 endpoints, arming and clearing of deadlines, opening and closing of pending requests, a latency sample. Run by
// `npm run bench -- --scenario scale`, or by hand after a change to native/engine.
#include <cstdio>
#include <string>
#include <vector>

#include "native/bench/measure.h"
#include "native/engine/flow_table.h"
#include "native/engine/pending.h"
#include "native/engine/pick.h"
#include "native/engine/sketch.h"
#include "native/engine/timers.h"

using namespace ringside;

namespace {

constexpr uint64_t kSeed = 0x1234567;

template <typename Work>
void measure_engine(const char* name, Work work) {
  constexpr int kCalls = 200'000;
  measure(name, kCalls, 1, work);
}

void flows() {
  constexpr uint32_t kServices = 1000;
  constexpr uint32_t kMethods = 100;
  FlowTable table(kServices * kMethods, kSeed);
  std::vector<std::string> services;
  std::vector<std::string> methods;
  for (uint32_t m = 0; m < kMethods; ++m) methods.push_back("Method" + std::to_string(m));
  for (uint32_t s = 0; s < kServices; ++s) {
    services.push_back("shop.Service" + std::to_string(s));
    table.set_service(Direction::kOutbound, services[s], {KeySpec::kMethod, {}});
    for (const std::string& method : methods) {
      table.set_flow(Direction::kOutbound, services[s], {method, "", "", ""}, {}, {});
    }
  }
  Random random(kSeed);
  // The engine has just parsed the header, so its bytes are at hand; here the few names stand for it. The flow's action is
  // read too, as the engine does next.
  const auto look_up = [&](uint32_t which) -> uint64_t {
    HeaderView view;
    view.service = services[which / kMethods];
    view.method = methods[which % kMethods];
    const FlowLookup found = table.lookup(Direction::kOutbound, view, nullptr, 0);
    return found.flow != nullptr ? 1 + found.flow->cluster : 0;
  };
  measure_engine("flow lookup, 100,000 flows, uniform keys", [&](uint32_t) { return look_up(random.below(kServices * kMethods)); });
  measure_engine("flow lookup, 100,000 flows, the same 16 keys", [&](uint32_t i) { return look_up((i & 15) * 6001); });
}

class NoUpstreams final : public InstanceHooks {
 public:
  uint32_t acquire_upstream(const std::string&, LinkProtocol) override { return 0; }
  void release_upstream(uint32_t) override {}
};

void picks() {
  constexpr uint32_t kEndpoints = 10'000;
  NoUpstreams hooks;
  ClusterTable table(4, &hooks);
  Random random(kSeed);
  const std::pair<const char*, Balancer> balancers[] = {{"round robin", Balancer::kRoundRobin},
                                                        {"least request", Balancer::kLeastRequest}};
  for (const auto& [name, balancer] : balancers) {
    for (const uint32_t endpoints : {10u, kEndpoints}) {
      ClusterSpec spec;
      spec.id = 1;
      spec.balancer = balancer;
      for (uint32_t i = 0; i < endpoints; ++i) {
        EndpointSpec endpoint;
        endpoint.instance_id = i;
        spec.endpoints.push_back(endpoint);
      }
      table.set(std::move(spec));
      Cluster& cluster = *table.find(1);
      char text[80];
      std::snprintf(text, sizeof text, "pick, %s, %u endpoints", name, endpoints);
      measure_engine(text, [&](uint32_t) {
        const uint32_t slot = pick(cluster, table, random, [](uint32_t) { return true; });
        table.instance(slot).in_flight += slot & 1;
        return slot;
      });
      std::snprintf(text, sizeof text, "pick, %s, %u endpoints, half of them out", name, endpoints);
      measure_engine(text, [&](uint32_t) { return pick(cluster, table, random, [](uint32_t slot) { return slot % 2 == 0; }); });
      table.remove(1);
    }
  }
}

void timers() {
  constexpr uint32_t kArmed = 10'000;
  TimerHeap heap;
  std::vector<TimerNode> nodes(kArmed + 1);
  Random random(kSeed);
  int64_t now = 0;
  for (TimerNode& node : nodes) heap.set(&node, random.below(5'000'000));
  heap.clear(&nodes[kArmed]);
  measure_engine("timer set and clear, 10,000 armed, one timeout for all", [&](uint32_t i) {
    TimerNode& node = nodes[i % kArmed];
    heap.clear(&node);
    heap.set(&node, 5'000'000 + now++);
    return static_cast<uint64_t>(node.heap_index);
  });
  measure_engine("timer set and clear, 10,000 armed, random timeouts", [&](uint32_t i) {
    TimerNode& node = nodes[i % kArmed];
    heap.clear(&node);
    heap.set(&node, now + random.below(5'000'000));
    return static_cast<uint64_t>(node.heap_index);
  });
  measure_engine("timer expiry and setting again, 10,000 armed", [&](uint32_t) {
    TimerNode* node = heap.pop_expired(INT64_MAX);
    heap.set(node, node->deadline_ns + 1 + random.below(5'000'000));
    return static_cast<uint64_t>(node->slot);
  });
}

void pendings() {
  constexpr uint32_t kOpen = 10'000;
  PendingTable table(65'536, kSeed);
  PendingList down;
  PendingList up;
  const Handle app{1, 1};
  const Handle peer{2, 1};
  uint64_t id = 0;
  std::vector<uint64_t> open(kOpen);
  const auto begin = [&] {
    const uint32_t slot = table.open(app, ++id, &down);
    table.attach_upstream(slot, peer, &up);
    return table.request_id(slot);
  };
  for (uint64_t& request : open) request = begin();
  measure_engine("pending: find reply, close, open; 10,000 open", [&](uint32_t i) {
    uint64_t& request = open[(i * 7919u) % kOpen];
    table.close(table.find_reply(request), &down, &up);
    request = begin();
    return request & 1;
  });
  measure_engine("pending: find request by its sender's id; 10,000 open",
          [&](uint32_t i) -> uint64_t { return table.find_request(app, id - i % 5000); });
}

void sketches() {
  Sketch sketch;
  Random random(kSeed);
  measure_engine("latency sample", [&](uint32_t) {
    sketch.add_ns(random.below(50'000'000));
    return uint64_t{1};
  });
}

}  // namespace

int main() {
  flows();
  picks();
  timers();
  pendings();
  sketches();
  return 0;
}
