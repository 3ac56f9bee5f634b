// The flow table: what belongs to a key, what a full table forgets, and that random changes leave it as a std::map would be.
#include "native/engine/flow_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "native/test/engine/header_of.h"

namespace ringside {
namespace {

using testing::header_of;
using testing::HeaderFields;

constexpr uint8_t kAllFields = KeySpec::kMethod | KeySpec::kGroup | KeySpec::kVersion | KeySpec::kHashKey;
constexpr Direction kOut = Direction::kOutbound;

struct Found {
  bool flow = false;
  uint32_t cluster = 0;
  FlowRef ref;
  std::string miss_key;
};

Found look_up(FlowTable& table, const HeaderFields& fields, Direction direction = kOut) {
  const std::string header = header_of(fields);
  const auto* bytes = reinterpret_cast<const uint8_t*>(header.data());
  HeaderView view;
  EXPECT_EQ(parse_header(bytes, header.size(), &view), nullptr);
  const FlowLookup found = table.lookup(direction, view, bytes, header.size());
  Found out;
  out.flow = found.flow != nullptr;
  out.cluster = found.flow != nullptr ? found.flow->cluster : 0;
  out.ref = found.ref;
  out.miss_key = found.miss_key;
  return out;
}

FlowAction to_cluster(uint32_t cluster) {
  FlowAction action;
  action.cluster = cluster;
  return action;
}

bool add_flow(FlowTable& table, const HeaderFields& f, uint32_t cluster, std::vector<std::string> attachments = {},
              Direction direction = kOut) {
  return table.set_flow(direction, f.service, {f.method, f.group, f.version, f.hash_key}, attachments,
                        to_cluster(cluster));
}

TEST(FlowTable, ASpecOfNothingMatchesEveryRequestOfTheServiceInItsDirectionOnly) {
  FlowTable table(10, 1);
  ASSERT_TRUE(table.set_service(kOut, "s", {}));
  ASSERT_TRUE(add_flow(table, {.service = "s", .method = "ignored"}, 7));
  EXPECT_EQ(look_up(table, {.service = "s"}).cluster, 7u);
  EXPECT_EQ(look_up(table, {.service = "s", .method = "m", .group = "g"}).cluster, 7u);
  EXPECT_FALSE(look_up(table, {.service = "s2"}).flow);
  EXPECT_FALSE(look_up(table, {.service = "s"}, Direction::kInbound).flow);
  EXPECT_FALSE(table.set_flow(Direction::kInbound, "s", {}, {}, {}));
  EXPECT_FALSE(add_flow(table, {.service = "other"}, 1)) << "no spec was named for it";
}

TEST(FlowTable, EveryNamedFieldAndAttachmentDistinguishes) {
  FlowTable table(100, 1);
  ASSERT_TRUE(table.set_service(kOut, "s", {kAllFields, {"tenant", "zone"}}));
  const HeaderFields base{.service = "s",
                          .method = "m",
                          .group = "g",
                          .version = "v",
                          .source_app = "",
                          .hash_key = "h",
                          .attachments = {{"zone", "z"}, {"tenant", "t"}, {"other", "o"}}};
  ASSERT_TRUE(add_flow(table, base, 1, {"t", "z"}));
  EXPECT_EQ(look_up(table, base).cluster, 1u);

  HeaderFields changed = base;
  changed.source_app = "not part of the key";
  EXPECT_TRUE(look_up(table, changed).flow);
  changed = base;
  changed.attachments.pop_back();
  EXPECT_TRUE(look_up(table, changed).flow) << "an attachment that is not named";

  std::set<std::string> missed;
  for (std::string HeaderFields::* field :
       {&HeaderFields::method, &HeaderFields::group, &HeaderFields::version, &HeaderFields::hash_key}) {
    changed = base;
    changed.*field = "x";
    EXPECT_FALSE(look_up(table, changed).flow);
    missed.insert(look_up(table, changed).miss_key);
    changed.*field = "";
    missed.insert(look_up(table, changed).miss_key);
  }
  for (size_t i = 0; i < 2; i++) {
    changed = base;
    changed.attachments[i].second = "x";
    missed.insert(look_up(table, changed).miss_key);
  }
  EXPECT_EQ(missed.size(), 10u) << "each is a question of its own";
}

TEST(FlowTable, ValuesCannotBeShiftedIntoEachOther) {
  FlowTable table(100, 1);
  ASSERT_TRUE(table.set_service(kOut, "s", {KeySpec::kMethod | KeySpec::kGroup, {"a", "b"}}));
  ASSERT_TRUE(add_flow(table, {.service = "s", .method = "ab", .group = "c"}, 1, {"x", "yz"}));
  HeaderFields shifted{.service = "s", .method = "a", .group = "bc"};
  shifted.attachments = {{"a", "x"}, {"b", "yz"}};
  EXPECT_FALSE(look_up(table, shifted).flow);
  shifted = {.service = "s", .method = "ab", .group = "c"};
  shifted.attachments = {{"a", "xy"}, {"b", "z"}};
  EXPECT_FALSE(look_up(table, shifted).flow);

  // A service whose name holds what looks like the key of another one's flow.
  ASSERT_TRUE(table.set_service(kOut, "t", {KeySpec::kMethod, {}}));
  ASSERT_TRUE(add_flow(table, {.service = "t", .method = "m"}, 2));
  const std::string forged("t\x01\x00\x00\x00m", 6);
  EXPECT_FALSE(look_up(table, {.service = forged}).flow);
  ASSERT_TRUE(table.set_service(kOut, forged, {}));
  ASSERT_TRUE(add_flow(table, {.service = forged}, 3));
  EXPECT_EQ(look_up(table, {.service = "t", .method = "m"}).cluster, 2u);
  EXPECT_EQ(look_up(table, {.service = forged}).cluster, 3u);
}

TEST(FlowTable, ReplacingAFlowKeepsItsCountersAndReference) {
  FlowTable table(10, 1);
  ASSERT_TRUE(table.set_service(kOut, "s", {}));
  ASSERT_TRUE(add_flow(table, {.service = "s"}, 1));
  const FlowRef ref = look_up(table, {.service = "s"}).ref;
  table.detail(*table.get(ref)).requests = 5;
  ASSERT_TRUE(add_flow(table, {.service = "s"}, 2));
  ASSERT_NE(table.get(ref), nullptr);
  EXPECT_EQ(table.detail(*table.get(ref)).requests, 5u);
  EXPECT_EQ(table.get(ref)->cluster, 2u);
  EXPECT_EQ(table.get(ref)->service_name(), "s");
  EXPECT_EQ(table.size(), 1u);
}

TEST(FlowTable, AFullTableForgetsWhatWasNotUsedSinceTheHandPassed) {
  constexpr uint32_t kFlows = 8;
  FlowTable table(kFlows, 1);
  ASSERT_TRUE(table.set_service(kOut, "s", {KeySpec::kMethod, {}}));
  const auto method = [](uint32_t i) { return HeaderFields{.service = "s", .method = "m" + std::to_string(i)}; };
  for (uint32_t i = 0; i < kFlows; i++) ASSERT_TRUE(add_flow(table, method(i), i));
  // All are marked, so the first eviction clears the marks and takes any of them.
  ASSERT_TRUE(add_flow(table, method(100), 100));
  EXPECT_EQ(table.evictions(), 1u);
  std::vector<uint32_t> left;
  table.for_each([&](const Flow& flow) {
    if (flow.cluster != 100) left.push_back(flow.cluster);
  });
  ASSERT_EQ(left.size(), kFlows - 1);
  std::set<uint32_t> used{100};
  for (size_t i = 0; i < left.size(); i += 2) {
    used.insert(left[i]);
    ASSERT_TRUE(look_up(table, method(left[i])).flow);
  }
  for (uint32_t i = 0; i < kFlows - used.size(); i++) ASSERT_TRUE(add_flow(table, method(200 + i), 200 + i));
  std::set<uint32_t> kept;
  table.for_each([&](const Flow& flow) { kept.insert(flow.cluster); });
  EXPECT_EQ(table.size(), kFlows);
  for (const uint32_t i : used) EXPECT_TRUE(kept.contains(i)) << i;
  EXPECT_EQ(table.evictions(), 1 + kFlows - used.size());
}

TEST(FlowTable, AnEvictedFlowsReferenceIsStaleAlsoWhenItsSlotIsInUseAgain) {
  FlowTable table(1, 1);
  ASSERT_TRUE(table.set_service(kOut, "s", {KeySpec::kMethod, {}}));
  ASSERT_TRUE(add_flow(table, {.service = "s", .method = "a"}, 1));
  const FlowRef old = look_up(table, {.service = "s", .method = "a"}).ref;
  ASSERT_TRUE(add_flow(table, {.service = "s", .method = "b"}, 2));
  EXPECT_EQ(table.get(old), nullptr);
  EXPECT_EQ(table.get(FlowRef{}), nullptr);
  EXPECT_EQ(look_up(table, {.service = "s", .method = "b"}).ref.slot, old.slot);
  EXPECT_EQ(table.detail(*table.get(look_up(table, {.service = "s", .method = "b"}).ref)).requests, 0u);
}

TEST(FlowTable, RemovingAServiceOrChangingItsSpecDropsItsFlowsOnly) {
  FlowTable table(100, 1);
  ASSERT_TRUE(table.set_service(kOut, "a", {KeySpec::kMethod, {}}));
  ASSERT_TRUE(table.set_service(kOut, "b", {KeySpec::kMethod, {}}));
  for (uint32_t i = 0; i < 10; i++) {
    const std::string m = std::to_string(i);
    ASSERT_TRUE(add_flow(table, {.service = "a", .method = m}, i));
    ASSERT_TRUE(add_flow(table, {.service = "b", .method = m}, i));
  }
  ASSERT_TRUE(table.set_service(kOut, "a", {KeySpec::kMethod, {}}));
  EXPECT_EQ(table.size(), 20u) << "the same spec again";
  ASSERT_TRUE(table.set_service(kOut, "a", {KeySpec::kMethod, {"x"}}));
  EXPECT_EQ(table.size(), 10u);
  table.remove_service(kOut, "b");
  EXPECT_EQ(table.size(), 0u);
  EXPECT_FALSE(add_flow(table, {.service = "b"}, 1));
  EXPECT_TRUE(add_flow(table, {.service = "a", .method = "m"}, 1, {"v"}));
  table.remove_service(Direction::kInbound, "a");
  table.remove_service(kOut, "never there");
  EXPECT_EQ(table.size(), 1u);
}

TEST(FlowTable, ServicesAreBoundedAndTheirPlacesReused) {
  FlowTable table(3, 1);
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(table.set_service(kOut, name, {}));
  EXPECT_FALSE(table.set_service(kOut, "d", {}));
  EXPECT_FALSE(table.set_service(Direction::kInbound, "a", {}));
  EXPECT_TRUE(table.set_service(kOut, "a", {KeySpec::kGroup, {}}));
  table.remove_service(kOut, "b");
  EXPECT_TRUE(table.set_service(kOut, "d", {}));
  EXPECT_FALSE(table.set_service(kOut, "b", {}));
}

TEST(FlowTable, RandomChangesAgreeWithAMap) {
  constexpr uint32_t kMaxFlows = 64;
  std::mt19937 random(3);
  FlowTable table(kMaxFlows, 99);
  struct Model {
    uint32_t cluster;
    uint64_t requests;
  };
  std::map<std::string, std::map<std::string, Model>> services;
  const auto service_name = [&](uint32_t i) { return "service-" + std::to_string(i); };
  size_t flows = 0;
  for (int i = 0; i < 100'000; i++) {
    const std::string service = service_name(random() % 12);
    const std::string method = std::to_string(random() % 8);  // 96 keys for 64 places
    switch (random() % 16) {
      case 0:
        ASSERT_TRUE(table.set_service(kOut, service, {KeySpec::kMethod, {}}));
        services[service];
        break;
      case 1:
        table.remove_service(kOut, service);
        if (services.contains(service)) flows -= services[service].size();
        services.erase(service);
        break;
      case 2:
      case 3:
      case 4:
      case 5: {
        const uint64_t evictions = table.evictions();
        const bool known = services.contains(service);
        ASSERT_EQ(add_flow(table, {.service = service, .method = method}, static_cast<uint32_t>(i)), known);
        if (!known) break;
        if (table.evictions() != evictions) {  // find who it was
          ASSERT_EQ(flows, kMaxFlows);
          bool gone = false;
          for (auto& [name, methods] : services) {
            for (auto at = methods.begin(); at != methods.end() && !gone;) {
              if (look_up(table, {.service = name, .method = at->first}).flow) {
                table.get(look_up(table, {.service = name, .method = at->first}).ref)->used = random() % 2;
                ++at;
              } else {
                at = methods.erase(at);
                gone = true;
              }
            }
          }
          ASSERT_TRUE(gone);
          flows--;
        }
        auto [at, fresh] = services[service].try_emplace(method, Model{static_cast<uint32_t>(i), 0});
        at->second.cluster = static_cast<uint32_t>(i);
        if (fresh) flows++;
        break;
      }
      default: {
        const Found found = look_up(table, {.service = service, .method = method});
        const bool expected = services.contains(service) && services[service].contains(method);
        ASSERT_EQ(found.flow, expected) << i;
        if (!expected) break;
        Model& model = services[service][method];
        ASSERT_EQ(found.cluster, model.cluster);
        ASSERT_EQ(table.detail(*table.get(found.ref)).requests++, model.requests++);
      }
    }
    ASSERT_EQ(table.size(), flows);
  }
  size_t visited = 0;
  table.for_each([&](const Flow& flow) {
    visited++;
    EXPECT_TRUE(services[std::string(flow.service_name())].contains(std::string(flow.key_values().substr(4))));
  });
  EXPECT_EQ(visited, flows);
}

}  // namespace
}  // namespace ringside
