// What comes from the process that hands over, into an engine: whatever the bytes say, the import ends in a state that can be served or in a
// refusal, and a state that was read is written as it was.
#include <sys/socket.h>

#include "native/codec/protobuf_fields.h"
#include "native/engine/engine.h"
#include "native/engine/handoff_wire.h"
#include "native/fuzz/require.h"
#include "native/shm/doorbell.h"

using namespace ringside;

namespace {

UniqueFd a_socket() {
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return {};
  close(ends[1]);
  return UniqueFd(ends[0]);
}

/// Tables and descriptors of a size that many rounds a second can bear.
bool is_small(const EngineState& state) {
  for (const MovedLink& link : state.links) {
    if (Handle::unpack(link.handle).slot > 64) return false;
  }
  for (const PendingState& pending : state.pendings) {
    if (pending.slot > 64) return false;
  }
  return state.links.size() + state.listeners.size() <= 32;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  EngineState state;
  if (!decode_fields({reinterpret_cast<const char*>(data), size}, &state) || !is_small(state)) return 0;
  const std::string written = encode_fields(state);
  EngineState again;
  REQUIRE(decode_fields(written, &again) && encode_fields(again) == written);

  EngineOptions options;
  options.max_pending = options.max_parked = options.max_links = options.max_flows = options.max_clusters = 16;
  MonotonicClock clock;
  EventMailbox mailbox;
  Engine engine(options, &clock, &mailbox, [] {});
  DescriptorStore descriptors;
  for (const MovedLink& link : state.links) {
    MovedDescriptors fds;
    fds.socket = a_socket();
    if (link.kind == LinkKind::kShm) {
      if (Result<Segment> segment = Segment::create(kMinRingBytes)) fds.segment = segment.take();
      if (Result<AgentDoorbells> bells = AgentDoorbells::create()) {
        fds.eventfd = std::move(bells.value().eventfd);
        fds.pipe_write = std::move(bells.value().pipe_write);
      }
    }
    // Two links with one handle are refused here already: then the second has no descriptors of its own.
    static_cast<void>(descriptors.add_link(link.handle, std::move(fds)));
  }
  for (const ListenerState& listener : state.listeners) descriptors.listeners[listener.id] = a_socket();
  if (!engine.import_state(state, &descriptors)) return 0;
  engine.resume_imported();
  for (int i = 0; i < 3; i++) engine.turn(0);
  return 0;
}
