// Batches of commands as the port hands them over: whatever the bytes, decoding ends, leaves what was there alone, takes
// all or nothing, and what it took is within its bounds. Then the batch is applied to a real engine, which must survive
// any order and any nonsense in it.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "native/engine/commands.h"
#include "native/engine/engine.h"
#include "native/fuzz/require.h"

using namespace ringside;

namespace {

class StandingClock final : public Clock {
 public:
  int64_t now_ns() const override { return 1'000'000'000; }
};

struct Target {
  StandingClock clock;
  EventMailbox mailbox;
  std::unique_ptr<Engine> engine;

  Target() {
    EngineOptions options;
    options.max_flows = 16;
    options.max_clusters = 8;
    options.max_pending = 16;
    options.max_parked = 8;
    options.max_links = 8;
    engine = std::make_unique<Engine>(std::move(options), &clock, &mailbox, [] {});
    REQUIRE(engine->init_error() == nullptr);
  }
};

bool is_bounded(const SetFlow& flow) {
  return flow.attachment_values.size() <= UINT8_MAX && static_cast<uint8_t>(flow.action.code) <= kMaxCode;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<Command> commands;
  commands.emplace_back(ReadStats{1});
  const Result<Unit> decoded = decode_commands(data, size, &commands);
  REQUIRE(!commands.empty() && std::holds_alternative<ReadStats>(commands[0]));
  // A command takes its type and its length at least.
  REQUIRE(commands.size() <= 1 + size / 5);
  if (!decoded) {
    REQUIRE(commands.size() == 1);
    REQUIRE(decoded.error().code == Code::kInvalidArgument && !decoded.error().text.empty());
    return 0;
  }
  for (const Command& command : commands) {
    if (const auto* flow = std::get_if<SetFlow>(&command)) REQUIRE(is_bounded(*flow));
    if (const auto* cluster = std::get_if<SetCluster>(&command)) {
      REQUIRE(cluster->spec.endpoints.size() * 17 <= size);
    }
    REQUIRE(!std::holds_alternative<AddListener>(command));
  }
  Target target;
  commands.emplace_back(ReadStats{2});
  target.engine->apply(std::move(commands));
  target.engine->turn(0);
  const std::vector<uint8_t> events = target.mailbox.take();
  ByteReader in(events.data(), events.size());
  while (in.left() > 0) {
    const uint8_t type = in.u8();
    in.bytes();
    REQUIRE(in.ok() && type >= 1 && type <= static_cast<uint8_t>(EventType::kUpstreamProblem));
  }
  return 0;
}
