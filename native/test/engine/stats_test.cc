// Statistics, read back by a reader written apart: after a known number of calls every number is the one expected.
#include <gtest/gtest.h>

#include "native/test/engine/engine_box.h"

namespace ringside {
namespace {

using namespace testing;

TEST(Stats, OfAnIdleEngine) {
  EngineOptions options;
  options.max_flows = 11;
  options.max_clusters = 12;
  options.max_pending = 13;
  options.max_parked = 14;
  options.max_parked_bytes = 15'000;
  options.max_waiting = 17;
  options.max_waiting_bytes = 18'000;
  options.max_links = 16;
  EngineBox box(std::move(options));
  const Stats stats = box.stats();
  EXPECT_EQ(stats.id, 99u);
  const std::map<std::string, uint64_t> limits{
      {"links", 16},
      {"linksPerUid", 256},
      {"linksPerAddress", 1024},
      {"pending", 13},
      {"parked", 14},
      {"parkedBytes", 15'000},
      {"waiting", 17},
      {"waitingBytes", 18'000},
      {"unreadBytes", (4 << 20) + 15'000},
      {"flows", 11},
      {"clusters", 12},
      {"upcallsPerSecondPerLink", 200},
      {"outboundBytesPerLink", 8 << 20},
      {"bodyBytes", 64 << 20},
      {"streamsPerLink", 256},
      {"legacyMessageBytes", 8 << 20},
      {"legacyBytes", 64 << 20},
      {"legacyConnectionsPerInstance", 32},
  };
  for (const auto& [name, max] : limits) {
    ASSERT_TRUE(stats.limits.contains(name)) << name;
    // What the statistics themselves bring is not read yet.
    if (name != "unreadBytes") {
      EXPECT_EQ(stats.limits.at(name).first, 0u) << name;
    }
    EXPECT_EQ(stats.limits.at(name).second, max) << name;
  }
  EXPECT_EQ(stats.limits.size(), limits.size());
  for (const auto& [name, value] : stats.counters) EXPECT_EQ(value, 0u) << name;
  EXPECT_GE(stats.counters.size(), 28u);
  EXPECT_TRUE(stats.links.empty() && stats.clusters.empty() && stats.flows.empty());
}

TEST(Stats, AfterAKnownNumberOfCalls) {
  Mesh mesh;
  Wire server = mesh.server("server");
  SetService spec = set_service("s");
  spec.spec = {KeySpec::kMethod, {"tenant"}};
  SetFlow flow = set_flow("s", 7);
  flow.values[0] = "m";
  flow.attachment_values = {""};
  mesh.box.apply(set_cluster(7, {local_endpoint(123, mesh.box.link_of("server"))}), std::move(spec), std::move(flow));
  const std::pair<Code, int64_t> calls[] = {{Code::kOk, 2}, {Code::kOk, 2}, {Code::kNotFound, 8}, {Code::kOk, 0}};
  for (const auto& [code, ms] : calls) {
    mesh.call(1, "12345");
    mesh.box.clock->advance_ms(ms);
    server.send(response(server.take().id(), "123", code));
    EXPECT_EQ(mesh.answer().code(), code);
  }
  mesh.call(2);
  mesh.box.clock->advance_ms(10);
  const Stats stats = mesh.box.stats();

  const std::map<std::string, uint64_t> expected{{"requests", 5},      {"replies", 4},      {"flow_hits", 5},
                                                 {"links_opened", 2},  {"flow_misses", 0},  {"upcalls", 0},
                                                 {"links_closed", 0},  {"cancels", 0},      {"deadlines", 0},
                                                 {"protocol_violations", 0}};
  for (const auto& [name, value] : expected) EXPECT_EQ(stats.counters.at(name), value) << name;
  EXPECT_EQ(stats.limits.at("links").first, 2u);
  EXPECT_EQ(stats.limits.at("pending").first, 1u);
  EXPECT_EQ(stats.limits.at("flows").first, 1u);
  EXPECT_EQ(stats.limits.at("clusters").first, 1u);

  ASSERT_EQ(stats.links.size(), 2u);
  const LinkStats& down = stats.links[0];
  EXPECT_EQ(down.handle, mesh.box.link_of("caller"));
  EXPECT_EQ(down.app, "caller");
  EXPECT_EQ(down.state, static_cast<uint8_t>(LinkState::kOpen));
  EXPECT_EQ(down.age_ms, 22);
  EXPECT_EQ(down.requests_in, 5u);
  EXPECT_EQ(down.responses_out, 4u);
  EXPECT_EQ(down.down, 1u);
  EXPECT_EQ(down.up, 0u);
  const size_t request_bytes = request(1, {.service = "s", .method = "m"}).bytes().size();
  EXPECT_EQ(down.bytes_in, hello("caller").bytes().size() + 5 * request_bytes + 4 * 5);
  EXPECT_EQ(down.bytes_out, kFixedBytes + 4 * (kFixedBytes + 3));
  EXPECT_EQ(stats.links[1].up, 1u);
  EXPECT_EQ(stats.links[1].bytes_out, kFixedBytes + 5 * request_bytes + 4 * 5);

  ASSERT_EQ(stats.clusters.size(), 1u);
  EXPECT_EQ(stats.clusters[0].id, 7u);
  EXPECT_EQ(stats.clusters[0].balancer, static_cast<uint8_t>(Balancer::kRoundRobin));
  ASSERT_EQ(stats.clusters[0].endpoints.size(), 1u);
  const EndpointStats& endpoint = stats.clusters[0].endpoints[0];
  EXPECT_EQ(endpoint.id, 123u);
  EXPECT_TRUE(endpoint.local);
  EXPECT_EQ(endpoint.state, 1);
  EXPECT_EQ(endpoint.in_flight, 1u);
  EXPECT_EQ(endpoint.requests, 5u);
  EXPECT_EQ(endpoint.failures, 1u);
  EXPECT_GT(endpoint.latency_us, 0);

  ASSERT_EQ(stats.flows.size(), 1u);
  const FlowStats& numbers = stats.flows[0];
  EXPECT_EQ(numbers.service, "s");
  EXPECT_EQ(numbers.fields, KeySpec::kMethod);
  EXPECT_EQ(numbers.attachments, std::vector<std::string>{"tenant"});
  EXPECT_EQ(numbers.key_values, std::string("\x01\x00\x00\x00m\x00\x00\x00\x00", 9));
  EXPECT_EQ(numbers.cluster, 7u);
  EXPECT_EQ(numbers.requests, 5u);
  EXPECT_EQ(numbers.by_status[0], 3u);
  EXPECT_EQ(numbers.by_status[5], 1u);
  EXPECT_EQ(numbers.sum_us, 12'000);
  const std::map<uint16_t, uint32_t> buckets{{0, 1},
                                             {static_cast<uint16_t>(Sketch::bucket_of(2 * kNsPerMs)), 2},
                                             {static_cast<uint16_t>(Sketch::bucket_of(8 * kNsPerMs)), 1}};
  EXPECT_EQ(numbers.buckets, buckets);
}

TEST(Stats, ShowWhatIsClosingConnectingAndGone) {
  EngineBox box;
  box.listen_unix_socket();
  Wire app = box.app("app");
  Wire caller = box.app("caller");
  Result<Listening> listening = listen_tcp("127.0.0.1", 0);
  const std::string address = "127.0.0.1:" + std::to_string(listening.value().port);
  box.apply(set_cluster(1, {remote_endpoint(100, listening.value().port), local_endpoint(101, box.link_of("app"))}),
            set_service("s"), set_flow("s", 1));
  Stats stats = box.stats();
  EXPECT_EQ(stats.clusters.at(0).endpoints.at(0).state, 0) << "idle";
  EXPECT_EQ(stats.clusters.at(0).endpoints.at(0).where, address);
  app.close();
  caller.send(request(1, {.service = "s"}));
  box.turn();
  stats = box.stats();
  EXPECT_EQ(stats.clusters.at(0).endpoints.at(0).state, 2) << "connecting, or awaiting the welcome";
  EXPECT_EQ(stats.clusters.at(0).endpoints.at(1).where, "gone");
  EXPECT_EQ(stats.counters.at("connects"), 1u);
}

}  // namespace
}  // namespace ringside
