#include "native/engine/commands.h"

#include <optional>

#include "native/engine/byte_stream.h"

namespace ringside {

namespace {

// Numbers are part of the contract with src/native/engine-commands.ts.
enum class CommandType : uint8_t {
  kSetCluster = 1,
  kRemoveCluster = 2,
  kSetService = 3,
  kSetFlow = 4,
  kRemoveService = 5,
  kResolve = 6,
  kCloseLink = 7,
  kGoAway = 8,
  kReadStats = 9,
  kAwaitIdle = 10,
  kCloseListener = 11,
  kSetTimeouts = 12,
  kOfferHandoff = 13,
  kRefuseHandoff = 14,
  kTakeOver = 15,
  kTakeOverReady = 16,
};

Direction read_direction(ByteReader* in) { return in->u8() == 0 ? Direction::kOutbound : Direction::kInbound; }

Code read_code(ByteReader* in) {
  const uint8_t code = in->u8();
  return code <= kMaxCode ? static_cast<Code>(code) : Code::kUnknown;
}

std::vector<std::string> read_texts(ByteReader* in) {
  std::vector<std::string> texts;
  const uint8_t n = in->u8();
  for (uint8_t i = 0; i < n && in->ok(); i++) texts.push_back(in->text());
  return texts;
}

Command read_set_cluster(ByteReader* in) {
  ClusterSpec spec;
  spec.id = in->u32();
  spec.direction = read_direction(in);
  spec.balancer = in->u8() == 1 ? Balancer::kRoundRobin : Balancer::kLeastRequest;
  spec.service = in->text();
  spec.group = in->text();
  spec.awaited = in->text();
  const uint32_t n = in->u32();
  for (uint32_t i = 0; i < n && in->ok(); i++) {
    EndpointSpec endpoint;
    endpoint.instance_id = in->u64();
    endpoint.weight = in->u32();
    const uint8_t kind = in->u8();
    endpoint.local = kind == 1;
    endpoint.protocol = kind == 2 ? LinkProtocol::kLegacy : LinkProtocol::kMesh;
    if (endpoint.local) {
      endpoint.link = Handle::unpack(in->u64());
    } else {
      endpoint.address = in->text();
    }
    spec.endpoints.push_back(std::move(endpoint));
  }
  return SetCluster{std::move(spec)};
}

Command read_set_service(ByteReader* in) {
  SetService command;
  command.direction = read_direction(in);
  command.service = in->text();
  command.spec.fields = in->u8();
  command.spec.attachments = read_texts(in);
  return command;
}

Command read_set_flow(ByteReader* in) {
  SetFlow command;
  command.direction = read_direction(in);
  command.service = in->text();
  for (std::string& value : command.values) value = in->text();
  command.attachment_values = read_texts(in);
  FlowAction& action = command.action;
  action.kind = in->u8() == 1 ? FlowAction::Kind::kReject : FlowAction::Kind::kForward;
  action.upcall = in->u8() != 0;
  action.cluster = in->u32();
  action.timeout_ms = in->u32();
  action.code = read_code(in);
  action.text = in->text();
  return command;
}

Command read_resolve(ByteReader* in) {
  Resolve command;
  command.token = in->u64();
  const uint8_t verdict = in->u8();
  command.verdict = verdict <= 3 ? static_cast<Resolve::Verdict>(verdict) : Resolve::Verdict::kReject;
  command.code = read_code(in);
  command.text = in->text();
  command.header = in->text();
  command.body = in->text();
  command.cluster = in->u32();
  command.timeout_ms = in->u32();
  return command;
}

std::optional<Command> read_command(uint8_t type, ByteReader* in) {
  switch (static_cast<CommandType>(type)) {
    case CommandType::kSetCluster:
      return read_set_cluster(in);
    case CommandType::kRemoveCluster:
      return RemoveCluster{in->u32()};
    case CommandType::kSetService:
      return read_set_service(in);
    case CommandType::kSetFlow:
      return read_set_flow(in);
    case CommandType::kRemoveService: {
      RemoveService command;
      command.direction = read_direction(in);
      command.service = in->text();
      return command;
    }
    case CommandType::kResolve:
      return read_resolve(in);
    case CommandType::kCloseLink: {
      CloseLink command;
      command.link = Handle::unpack(in->u64());
      command.reason = in->text();
      return command;
    }
    case CommandType::kGoAway: {
      GoAway command;
      command.id = in->u32();
      command.apps = in->u8() != 0;
      command.service = in->text();
      command.timeout_ms = in->u32();
      return command;
    }
    case CommandType::kReadStats:
      return ReadStats{in->u32()};
    case CommandType::kAwaitIdle: {
      AwaitIdle command;
      command.id = in->u32();
      command.apps_gone = in->u8() != 0;
      return command;
    }
    case CommandType::kCloseListener:
      return CloseListener{in->u32()};
    case CommandType::kSetTimeouts: {
      SetTimeouts command;
      command.default_ms = in->u32();
      command.max_ms = in->u32();
      return command;
    }
    case CommandType::kOfferHandoff: {
      OfferHandoff command;
      command.blob = in->text();
      command.freeze_ms = in->u32();
      return command;
    }
    case CommandType::kRefuseHandoff:
      return RefuseHandoff{in->text()};
    case CommandType::kTakeOver: {
      TakeOver command;
      command.path = in->text();
      command.text = in->text();
      command.deadline_ms = in->u32();
      return command;
    }
    case CommandType::kTakeOverReady:
      return TakeOverReady{};
  }
  return std::nullopt;
}

}  // namespace

Result<Unit> decode_commands(const uint8_t* bytes, size_t n, std::vector<Command>* out) {
  const size_t before = out->size();
  ByteReader batch(bytes, n);
  while (batch.left() > 0) {
    const uint8_t type = batch.u8();
    const std::string_view payload = batch.bytes();
    if (!batch.ok()) break;
    ByteReader in(reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
    std::optional<Command> command = read_command(type, &in);
    if (!command || !in.ok() || in.left() > 0) {
      out->erase(out->begin() + static_cast<std::ptrdiff_t>(before), out->end());
      return Error{Code::kInvalidArgument, "command type " + std::to_string(type) + " does not decode"};
    }
    out->push_back(std::move(*command));
  }
  if (batch.ok()) return Unit{};
  out->erase(out->begin() + static_cast<std::ptrdiff_t>(before), out->end());
  return Error{Code::kInvalidArgument, "the batch of commands ends in the middle of one"};
}

}  // namespace ringside
