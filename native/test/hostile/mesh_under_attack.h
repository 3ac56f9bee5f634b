// One engine with small bounds, an honest caller, an honest server and what stands in for TypeScript, all in the test's
// own thread with time moved by hand, so that a seed repeats a run exactly. The hostile tests add whoever attacks it,
// and ask after every round whether the honest two are still served.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/engine/engine.h"
#include "native/test/hostile/honest_app.h"
#include "native/test/hostile/random_source.h"

namespace ringside::testing {

class ManualClock final : public Clock {
 public:
  int64_t now_ns() const override { return now_ns_; }
  void advance_ms(int64_t ms) { now_ns_ += ms * kNsPerMs; }

 private:
  int64_t now_ns_ = 1'000'000'000;
};

/// How much of each table is in use, as the engine's statistics say.
using Usage = std::map<std::string, uint64_t>;

inline constexpr uint32_t kEchoCluster = 1;
inline constexpr uint32_t kTrapCluster = 2;

class MeshUnderAttack {
 public:
  static EngineOptions small_bounds();
  explicit MeshUnderAttack(EngineOptions options, uint64_t seed);
  MeshUnderAttack(const MeshUnderAttack&) = delete;
  ~MeshUnderAttack();

  const std::string& unix_path() const { return unix_path_; }
  uint16_t loopback_port() const { return loopback_port_; }
  uint16_t inbound_port() const { return inbound_port_; }
  Engine& engine() { return engine_; }
  ManualClock& clock() { return clock_; }

  /// One turn of the engine, of the honest two, and of TypeScript (unless it is blocked).
  void turn();
  void turns(int n) {
    for (int i = 0; i < n; i++) turn();
  }
  /// While blocked nobody reads the mailbox and no verdict comes; what was asked is answered afterwards.
  void block_typescript(bool blocked) { typescript_blocked_ = blocked; }

  /// Sends an honest request that the honest server will only answer in finish_call(). False: the ring is full.
  void begin_call();
  /// The id under which the engine forwarded that request: what a hostile app must not be able to use.
  uint64_t id_at_server() const { return id_at_server_; }
  /// The server answers. An empty text is success; else what went wrong.
  std::string finish_call();
  /// Asks for a service that nobody offers; TypeScript decides each time. Empty text: it was refused as not found.
  std::string call_unknown();
  /// Calls the service that the attacker offers. Whatever it does, there must be one status at the deadline at the latest.
  std::string call_trap(uint32_t timeout_ms);

  Usage usage();
  uint64_t limit_of(const std::string& name) const { return limits_.at(name); }
  size_t largest_outbound_bytes() const { return largest_outbound_bytes_; }
  /// Why links ended, and how many for each reason.
  const std::map<std::string, uint64_t>& reasons() const { return reasons_; }
  uint64_t links_reported_without_reason() const { return without_reason_; }

 private:
  void read_events();
  void on_upcall(ByteReader* in);
  void on_link_up(ByteReader* in);
  void on_stats(ByteReader* in);
  void set_endpoint(uint32_t cluster, const std::string& service, Handle link);
  void install(const std::string& service);
  void serve();
  std::optional<OwnedFrame> await_reply(uint64_t id, int turns_at_most);

  ManualClock clock_;
  EventMailbox mailbox_;
  RandomSource random_;
  Engine engine_;
  std::string directory_;
  std::string unix_path_;
  uint16_t loopback_port_ = 0;
  uint16_t inbound_port_ = 0;
  bool typescript_blocked_ = false;
  std::unique_ptr<HonestApp> server_;
  std::unique_ptr<HonestApp> caller_;
  std::vector<OwnedFrame> to_caller_;
  std::vector<OwnedFrame> held_;  // requests that the server has not answered yet
  bool serving_ = true;
  uint64_t next_id_ = 1;
  uint64_t open_call_ = 0;
  uint64_t id_at_server_ = 0;
  std::vector<uint64_t> undecided_;  // upcalls of attackers that are answered later
  Usage used_;
  Usage limits_;
  size_t largest_outbound_bytes_ = 0;
  bool stats_there_ = false;
  std::map<std::string, uint64_t> reasons_;
  uint64_t without_reason_ = 0;
};

}  // namespace ringside::testing
