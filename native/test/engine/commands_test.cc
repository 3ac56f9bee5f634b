// Batches of commands from hand-built bytes: every command, and every way in which one can be wrong. A batch that is wrong
// anywhere leaves nothing behind.
#include "native/engine/commands.h"

#include <gtest/gtest.h>

#include "native/engine/byte_stream.h"

namespace ringside {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes command(uint8_t type, const ByteWriter& payload) {
  ByteWriter out;
  out.u8(type);
  out.bytes({reinterpret_cast<const char*>(payload.view().data()), payload.size()});
  return out.take();
}

template <typename T>
T only(const Bytes& batch) {
  std::vector<Command> commands;
  const Result<Unit> decoded = decode_commands(batch.data(), batch.size(), &commands);
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().text);
  EXPECT_EQ(commands.size(), 1u);
  if (commands.size() != 1 || !std::holds_alternative<T>(commands[0])) {
    ADD_FAILURE() << "another command";
    return T{};
  }
  return std::get<T>(std::move(commands[0]));
}

constexpr Handle kLink{5, 9};

ByteWriter set_cluster_payload() {
  ByteWriter p;
  p.u32(7);
  p.u8(1);
  p.u8(1);
  p.bytes("service");
  p.bytes("group");
  p.bytes("not read yet");
  p.u32(2);
  p.u64(100);
  p.u32(3);
  p.u8(0);
  p.bytes("127.0.0.1:80");
  p.u64(101);
  p.u32(1);
  p.u8(1);
  p.u64(kLink.pack());
  return p;
}

ByteWriter set_flow_payload() {
  ByteWriter p;
  p.u8(0);
  for (const char* text : {"service", "method", "group", "version", "hash"}) p.bytes(text);
  p.u8(2);
  p.bytes("a");
  p.bytes("b");
  p.u8(1);
  p.u8(1);
  p.u32(7);
  p.u32(250);
  p.u8(5);
  p.bytes("no");
  return p;
}

ByteWriter resolve_payload(uint8_t verdict, uint8_t code) {
  ByteWriter p;
  p.u64(kLink.pack());
  p.u8(verdict);
  p.u8(code);
  p.bytes("text");
  p.bytes("header");
  p.bytes("body");
  p.u32(7);
  p.u32(250);
  return p;
}

std::vector<Bytes> one_of_each() {
  std::vector<Bytes> all;
  all.push_back(command(1, set_cluster_payload()));
  ByteWriter p;
  p.u32(7);
  all.push_back(command(2, p));
  all.push_back(command(9, p));
  all.push_back(command(11, p));
  p.u8(1);
  all.push_back(command(10, p));
  p = {};
  p.u8(1);
  p.bytes("service");
  all.push_back(command(5, p));
  p.u8(3);
  p.u8(2);
  p.bytes("tenant");
  p.bytes("zone");
  all.push_back(command(3, p));
  all.push_back(command(4, set_flow_payload()));
  all.push_back(command(6, resolve_payload(2, 0)));
  p = {};
  p.u64(kLink.pack());
  p.bytes("why");
  all.push_back(command(7, p));
  p = {};
  p.u32(7);
  p.u8(1);
  p.bytes("service");
  p.u32(500);
  all.push_back(command(8, p));
  p = {};
  p.u32(1000);
  p.u32(2000);
  all.push_back(command(12, p));
  return all;
}

TEST(Commands, SetCluster) {
  const ClusterSpec spec = only<SetCluster>(command(1, set_cluster_payload())).spec;
  EXPECT_EQ(spec.id, 7u);
  EXPECT_EQ(spec.direction, Direction::kInbound);
  EXPECT_EQ(spec.balancer, Balancer::kRoundRobin);
  EXPECT_EQ(spec.service, "service");
  EXPECT_EQ(spec.group, "group");
  EXPECT_EQ(spec.awaited, "not read yet");
  ASSERT_EQ(spec.endpoints.size(), 2u);
  EXPECT_EQ(spec.endpoints[0].instance_id, 100u);
  EXPECT_EQ(spec.endpoints[0].weight, 3u);
  EXPECT_FALSE(spec.endpoints[0].local);
  EXPECT_EQ(spec.endpoints[0].address, "127.0.0.1:80");
  EXPECT_TRUE(spec.endpoints[1].local);
  EXPECT_EQ(spec.endpoints[1].link, kLink);
}

TEST(Commands, SetServiceAndRemoveService) {
  ByteWriter p;
  p.u8(0);
  p.bytes("service");
  const RemoveService removed = only<RemoveService>(command(5, p));
  EXPECT_EQ(removed.direction, Direction::kOutbound);
  EXPECT_EQ(removed.service, "service");
  p.u8(KeySpec::kMethod | KeySpec::kHashKey);
  p.u8(1);
  p.bytes("tenant");
  const SetService set = only<SetService>(command(3, p));
  EXPECT_EQ(set.service, "service");
  EXPECT_EQ(set.spec.fields, KeySpec::kMethod | KeySpec::kHashKey);
  EXPECT_EQ(set.spec.attachments, std::vector<std::string>{"tenant"});
}

TEST(Commands, SetFlow) {
  const SetFlow flow = only<SetFlow>(command(4, set_flow_payload()));
  EXPECT_EQ(flow.direction, Direction::kOutbound);
  EXPECT_EQ(flow.service, "service");
  EXPECT_EQ(flow.values, (std::array<std::string, 4>{"method", "group", "version", "hash"}));
  EXPECT_EQ(flow.attachment_values, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(flow.action.kind, FlowAction::Kind::kReject);
  EXPECT_TRUE(flow.action.upcall);
  EXPECT_EQ(flow.action.cluster, 7u);
  EXPECT_EQ(flow.action.timeout_ms, 250u);
  EXPECT_EQ(flow.action.code, Code::kNotFound);
  EXPECT_EQ(flow.action.text, "no");
}

TEST(Commands, Resolve) {
  const Resolve resolve = only<Resolve>(command(6, resolve_payload(3, 14)));
  EXPECT_EQ(resolve.token, kLink.pack());
  EXPECT_EQ(resolve.verdict, Resolve::Verdict::kForward);
  EXPECT_EQ(resolve.code, Code::kUnavailable);
  EXPECT_EQ(resolve.text, "text");
  EXPECT_EQ(resolve.header, "header");
  EXPECT_EQ(resolve.body, "body");
  EXPECT_EQ(resolve.cluster, 7u);
  EXPECT_EQ(resolve.timeout_ms, 250u);
  // What is no verdict lets nothing through, and what is no code is UNKNOWN.
  EXPECT_EQ(only<Resolve>(command(6, resolve_payload(4, 0))).verdict, Resolve::Verdict::kReject);
  EXPECT_EQ(only<Resolve>(command(6, resolve_payload(1, 17))).code, Code::kUnknown);
}

TEST(Commands, TheSmallOnes) {
  const std::vector<Bytes> all = one_of_each();
  EXPECT_EQ(only<RemoveCluster>(all[1]).id, 7u);
  EXPECT_EQ(only<ReadStats>(all[2]).id, 7u);
  EXPECT_EQ(only<CloseListener>(all[3]).id, 7u);
  EXPECT_EQ(only<AwaitIdle>(all[4]).id, 7u);
  EXPECT_TRUE(only<AwaitIdle>(all[4]).apps_gone);
  EXPECT_EQ(only<CloseLink>(all[9]).link, kLink);
  EXPECT_EQ(only<CloseLink>(all[9]).reason, "why");
  const GoAway away = only<GoAway>(all[10]);
  EXPECT_EQ(away.id, 7u);
  EXPECT_TRUE(away.apps);
  EXPECT_EQ(away.service, "service");
  EXPECT_EQ(away.timeout_ms, 500u);
  EXPECT_EQ(only<SetTimeouts>(all[11]).default_ms, 1000u);
  EXPECT_EQ(only<SetTimeouts>(all[11]).max_ms, 2000u);
}

TEST(Commands, ABatchKeepsItsOrder) {
  Bytes batch;
  for (const Bytes& one : one_of_each()) batch.insert(batch.end(), one.begin(), one.end());
  std::vector<Command> commands;
  commands.emplace_back(ReadStats{1});
  ASSERT_TRUE(decode_commands(batch.data(), batch.size(), &commands));
  ASSERT_EQ(commands.size(), 13u);
  EXPECT_TRUE(std::holds_alternative<ReadStats>(commands[0]));
  EXPECT_TRUE(std::holds_alternative<SetCluster>(commands[1]));
  EXPECT_TRUE(std::holds_alternative<SetTimeouts>(commands[12]));
  EXPECT_TRUE(decode_commands(nullptr, 0, &commands));
  EXPECT_EQ(commands.size(), 13u);
}

// Refused whole: what stood before the bad one is not applied, what the caller had stays.
void expect_refused(const Bytes& bad, const char* what) {
  Bytes batch = one_of_each()[2];
  batch.insert(batch.end(), bad.begin(), bad.end());
  std::vector<Command> commands;
  commands.emplace_back(AwaitIdle{3});
  const Result<Unit> decoded = decode_commands(batch.data(), batch.size(), &commands);
  ASSERT_FALSE(decoded) << what;
  EXPECT_EQ(decoded.error().code, Code::kInvalidArgument);
  EXPECT_FALSE(decoded.error().text.empty());
  ASSERT_EQ(commands.size(), 1u) << what;
  EXPECT_TRUE(std::holds_alternative<AwaitIdle>(commands[0]));
}

TEST(Commands, ABatchThatEndsEarlyIsRefusedWhole) {
  for (const Bytes& one : one_of_each()) {
    for (size_t n = 1; n < one.size(); n++) expect_refused({one.begin(), one.begin() + static_cast<std::ptrdiff_t>(n)}, "cut");
  }
}

TEST(Commands, APayloadThatIsTooShortOrTooLongIsRefusedWhole) {
  for (const Bytes& one : one_of_each()) {
    const uint32_t payload = static_cast<uint32_t>(one.size() - 5);
    for (uint32_t n = 0; n < payload; n++) {
      Bytes shorter(one.begin(), one.begin() + 5 + n);
      store_u32(&shorter[1], n);
      expect_refused(shorter, "a payload too short");
    }
    Bytes longer = one;
    longer.push_back(0);
    store_u32(&longer[1], payload + 1);
    expect_refused(longer, "a payload too long");
  }
}

TEST(Commands, UnknownTypesAndCountsBeyondThePayloadAreRefused) {
  for (const int type : {0, 13, 255}) expect_refused(command(static_cast<uint8_t>(type), ByteWriter{}), "type");
  ByteWriter p;
  p.u32(7);
  p.u8(0);
  p.u8(0);
  p.bytes("s");
  p.bytes("");
  p.u32(UINT32_MAX);
  expect_refused(command(1, p), "four billion endpoints");
  p = {};
  p.u8(0);
  p.u32(UINT32_MAX);
  expect_refused(command(5, p), "a text of four gigabytes");
}

}  // namespace
}  // namespace ringside
