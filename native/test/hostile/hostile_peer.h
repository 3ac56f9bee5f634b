// Whoever attacks: a raw socket over which the handshake is done by hand, with a ring or without one, and then
// misdeeds of all kinds, chosen by a seed. Nothing here waits, and nothing here is checked: what the agent refuses, it refuses.
#pragma once

#include <string>
#include <vector>

#include "native/fd/unique_fd.h"
#include "native/shm/ring.h"
#include "native/test/hostile/frames.h"
#include "native/test/hostile/random_source.h"

namespace ringside::testing {

class HostilePeer {
 public:
  enum class Way { kShm, kUnix, kLoopback, kInbound };

  explicit HostilePeer(RandomSource* random) : random_(random), patient_(random->one_in(2)) {}
  HostilePeer(const HostilePeer&) = delete;
  HostilePeer& operator=(const HostilePeer&) = delete;
  ~HostilePeer() { unmap(); }

  bool connect_unix(const std::string& path);
  bool connect_tcp(uint16_t port);
  void say_hello(const std::string& app, uint32_t ring_bytes);
  /// Reads the welcome and maps the segment that came with it. False: not there yet, or none was granted.
  bool take_welcome();

  /// One misdeed. `foreign_id` is the id of a request that went to somebody else.
  void misbehave(uint64_t foreign_id);
  /// Garbage instead of a handshake.
  void send_garbage();

  bool has_ring() const { return base_ != nullptr; }
  /// Flips bits in the mapping until told to stop: for a thread beside the engine's.
  void scribble_once();
  bool is_connected() const { return socket_.valid(); }
  void hang_up() { socket_.reset(); }
  const std::string& last_misdeed() const { return last_; }

 private:
  void scribble_indices();
  void scribble_records();
  void punch_holes();
  void abuse_doorbells();
  void clear_nonblocking();
  void send_frames(uint64_t foreign_id);
  void forge_for(uint64_t foreign_id);
  void invent_services();
  void flood_control();
  void stream_bodies();
  void answer_what_came(bool honestly);
  void read_what_came();
  void put(const Bytes& frame);
  void send_raw(const void* bytes, size_t n);
  void unmap();
  uint64_t some_id(uint64_t foreign_id);
  FixedPart any_fixed(uint64_t foreign_id);

  RandomSource* random_;
  bool patient_;  // stays within the protocol, so that what it takes piles up
  UniqueFd socket_;
  UniqueFd memfd_;
  UniqueFd eventfd_;
  UniqueFd pipe_read_;
  UniqueFd pipe_write_;  // opened anew through /proc: the app has only the read end
  uint8_t* base_ = nullptr;
  uint32_t ring_bytes_ = 0;
  size_t mapped_bytes_ = 0;
  RingProducer out_;
  RingConsumer in_;
  Bytes stream_;
  std::vector<uint64_t> requests_seen_;
  uint64_t next_id_ = 1;
  std::string last_;
};

}  // namespace ringside::testing
