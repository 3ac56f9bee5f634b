// The app's end of a shared-memory link, without Node: connect, hello, welcome with three descriptors, then two rings.
// Driven by whoever polls its descriptors (the Node port today, a C ABI later); it never blocks, sleeps or calls back.
// The agent is treated as hostile too: all it sends is checked before use, and any violation closes the link with a
// reason. Time limits belong to the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "native/base/limits.h"
#include "native/fd/scm_rights.h"
#include "native/fd/unique_fd.h"
#include "native/shm/ring.h"
#include "native/shm/segment.h"

namespace ringside {

class AppLink {
 public:
  enum class State : uint8_t {
    kIdle,
    kSendingHello,
    kAwaitingWelcome,
    kOpen,
    kDraining,  // the agent hung up; what it had published can still be drained
    kClosed,
  };
  enum class Written : uint8_t { kAll, kSome, kMalformed };
  enum class Sleep : uint8_t { kYes, kMore };

  AppLink() = default;
  AppLink(const AppLink&) = delete;
  AppLink& operator=(const AppLink&) = delete;

  /// Connects to the agent's unix socket; on_socket() then sends the hello. On failure the state is kClosed, as where somebody listens who is
  /// none of `agent_uids`; nullptr: whoever it is.
  void start(std::string_view socket_path, const uint8_t* hello, size_t hello_bytes, const std::vector<uint32_t>* agent_uids = nullptr);

  /// The socket is readable or writable, or may be. Moves the handshake on by one state; later notices the agent's
  /// death. For a level-triggered poller: it may leave something to be read.
  void on_socket();

  /// Reads the doorbell empty. Call when it is readable, before draining.
  void on_doorbell();

  /// Puts the whole frames in bytes[0, n) into the ring and wakes the agent if it sleeps. `*taken` is a whole number of
  /// frames. kSome: the ring is full and space_returned() tells when there is room, or the link is not open.
  /// kMalformed: the bytes are no sequence of whole valid frames; nothing was sent and the link lives on.
  Written write(const uint8_t* bytes, size_t n, size_t* taken);

  /// Whether the ring takes a frame of any size now. If not, space_returned() tells when it does, unless the link is not open.
  bool has_room();

  /// Puts one whole frame that lies in two pieces, its fixed part and header and its body, into the ring; the agent is woken at
  /// once, so that it works while the next piece is copied. kSome: there is no room (see has_room()), or the link is not open.
  Written write_frame(const uint8_t* prefix, size_t prefix_bytes, const uint8_t* body, size_t body_bytes);

  /// Copies records out, back to back, while `room` takes the largest possible frame, then releases them.
  /// Returns the bytes filled, all of them whole valid frames, even when the link closed behind them: see state().
  size_t drain(uint8_t* slab, size_t room);

  /// True once for each kSome, when there is room for the frame that did not fit.
  bool space_returned();

  /// After a drain and before sleeping. kMore: call drain() again without waiting for the doorbell.
  Sleep arm();

  /// Ends the link; the first reason stays. Descriptors and memory go with the object, so that a poller of the
  /// descriptors can let go of them before.
  void close(std::string_view reason);

  State state() const { return state_; }
  bool wants_writable() const { return state_ == State::kSendingHello; }
  /// True from the moment a whole valid welcome is there, also when the link then closed.
  bool has_welcome() const { return welcome_complete_; }
  const std::vector<uint8_t>& welcome() const { return welcome_; }
  const std::string& reason() const { return reason_; }
  int socket_fd() const { return socket_.get(); }
  int doorbell_fd() const { return doorbell_in_.get(); }

 private:
  void send_hello();
  void read_welcome();
  bool take_welcome_fds(ReceivedFds* fds);
  void finish_welcome();
  void open_rings(uint32_t ring_bytes);
  void watch_socket();
  void ring_agent();
  void hang_up();

  State state_ = State::kIdle;
  UniqueFd socket_;
  UniqueFd memfd_;
  UniqueFd doorbell_out_;  // eventfd, app to agent
  UniqueFd doorbell_in_;   // pipe, agent to app
  Segment segment_;
  RingProducer to_agent_;
  RingConsumer from_agent_;
  std::vector<uint8_t> hello_;
  size_t hello_sent_ = 0;
  uint32_t ring_bytes_wanted_ = 0;
  std::vector<uint8_t> welcome_;
  size_t welcome_read_ = 0;
  bool welcome_complete_ = false;
  uint32_t space_wanted_bytes_ = 0;  // size of the frame that found no room, 0 = none
  uint64_t drain_until_ = 0;         // in kDraining: what was published when the agent hung up
  std::string reason_;
};

/// Reason of a close that passes: the agent's backlog is full. Mirrored in src/native/app-link.ts.
inline constexpr std::string_view kAgentBusyReason = "agent busy: its backlog is full";

}  // namespace ringside
