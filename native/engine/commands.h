// What TypeScript tells the engine: snapshots, flows, decisions, in batches of length-prefixed commands. Decoded on the
// caller's thread into values that the worker applies between two turns; a batch that does not decode is refused whole.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "native/base/status.h"
#include "native/engine/cluster.h"
#include "native/engine/flow_table.h"
#include "native/engine/handle.h"
#include "native/fd/unique_fd.h"
#include "native/link/link.h"

namespace ringside {

struct SetCluster {
  ClusterSpec spec;
};
struct RemoveCluster {
  uint32_t id = 0;
};
struct SetService {
  Direction direction = Direction::kOutbound;
  std::string service;
  KeySpec spec;
};
struct SetFlow {
  Direction direction = Direction::kOutbound;
  std::string service;
  std::array<std::string, 4> values;  // method, group, version, hash key
  std::vector<std::string> attachment_values;
  FlowAction action;
};
struct RemoveService {
  Direction direction = Direction::kOutbound;
  std::string service;
};
/// The decision on parked requests.
struct Resolve {
  enum class Verdict : uint8_t {
    kLookUp = 0,   // a flow was installed: look again
    kReject = 1,   // answer with code and text; not run
    kAnswer = 2,   // answer with code, header and body
    kForward = 3,  // send this one to a cluster, with the header given if it is not empty
  };
  uint64_t token = 0;
  Verdict verdict = Verdict::kLookUp;
  Code code = Code::kOk;
  std::string text;
  std::string header;
  std::string body;
  uint32_t cluster = 0;
  uint32_t timeout_ms = 0;
};
struct CloseLink {
  Handle link;
  std::string reason;
};
/// Asks peers to send no new requests for `service`, or at all when it is empty. With `apps` it is also for the agent's own apps; all services without
/// `apps` leaves out what they call of each other, so the link of this agent to itself.
struct GoAway {
  uint32_t id = 0;
  bool apps = false;
  std::string service;
  uint32_t timeout_ms = 0;
};
struct ReadStats {
  uint32_t id = 0;
};
/// Reports once when no request is pending or parked; with `apps_gone` only when no app is linked any more, either.
struct AwaitIdle {
  uint32_t id = 0;
  bool apps_gone = false;
};
struct CloseListener {
  uint32_t id = 0;
};
struct SetTimeouts {
  uint32_t default_ms = 0;
  uint32_t max_ms = 0;
};
/// Not decoded from bytes: made by the port, which opens sockets on its own thread so that errors have a caller.
struct AddListener {
  uint32_t id = 0;
  LinkKind kind = LinkKind::kTcp;
  LinkRole role = LinkRole::kPeer;
  UniqueFd fd;
};

/// Lets the process that asked take over: `blob` is what it must know beforehand, `freeze_ms` how long it may keep this engine waiting.
struct OfferHandoff {
  std::string blob;
  uint32_t freeze_ms = 0;
};
struct RefuseHandoff {
  std::string text;
};
/// Asks the agent behind a takeover socket for everything it has; `text` names this software.
struct TakeOver {
  std::string path;
  std::string text;
  uint32_t deadline_ms = 0;
};
/// The clusters and flows for what comes are made.
struct TakeOverReady {};

using Command = std::variant<SetCluster, RemoveCluster, SetService, SetFlow, RemoveService, Resolve, CloseLink, GoAway,
                             ReadStats, AwaitIdle, CloseListener, SetTimeouts, AddListener, OfferHandoff,
                             RefuseHandoff, TakeOver, TakeOverReady>;

/// Appends the batch's commands to `out`, or says what is wrong with it and leaves `out` alone.
Result<Unit> decode_commands(const uint8_t* bytes, size_t n, std::vector<Command>* out);

}  // namespace ringside
