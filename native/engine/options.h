// Everything an operator may set about the engine, with the defaults of docs/configuration.md. Fixed while the
// engine runs: the tables are allocated from these numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ringside {

/// Versions of the state that a handoff moves (handoff_state.h). The newest is raised when an older reader could no longer make sense of it,
/// whatever it skips; the oldest is the one before it, which is still read and written.
inline constexpr uint32_t kHandoffStateVersion = 2;
/// The first one that moves links of the legacy protocol: in an older one they would be taken for others.
inline constexpr uint32_t kLegacyLinksStateVersion = 2;
inline constexpr uint32_t kOldestHandoffStateVersion = 1;

struct EngineOptions {
  std::string app = "app";

  uint32_t max_links = 4096;
  uint32_t max_links_per_uid = 256;
  uint32_t max_links_per_address = 1024;  // from one address, at listeners for other agents
  uint32_t max_pending = 65536;
  uint32_t max_parked = 1024;
  uint64_t max_parked_bytes = 16 << 20;
  uint32_t max_waiting = 1024;  // for an instance of their service
  uint64_t max_waiting_bytes = 16 << 20;
  uint32_t max_flows = 10000;
  uint32_t max_clusters = 4096;
  uint64_t max_outbound_bytes = 8 << 20;  // per link
  uint32_t max_body_bytes = 64 << 20;
  uint32_t max_streams_per_link = 256;      // each may have kStreamWindowBytes queued
  uint32_t upcalls_per_second_per_link = 200;
  uint32_t max_legacy_message_bytes = 8 << 20;
  uint64_t max_legacy_bytes = 64 << 20;
  uint32_t legacy_connections_per_instance = 32;
  uint32_t max_records = 1024;  // slow and failed requests kept until they are read

  uint32_t default_timeout_ms = 5000;
  uint32_t max_timeout_ms = 60000;
  uint32_t connect_timeout_ms = 1000;
  uint32_t open_timeout_ms = 5000;
  uint32_t keepalive_ms = 10000;
  uint32_t slow_request_ms = 1000;
  uint32_t takeover_deadline_ms = 30000;  // how long a successor may take until the freeze

  bool batch_scheduling = true;  // of the worker thread, while nobody keeps its core busy (batch_scheduling.h)
  uint32_t busy_poll_us = 25;  // how long to look for events before sleeping where that has been worthwhile (busy_poll.h); 0: never
  bool shm_enabled = true;
  uint32_t ring_bytes = 512 * 1024;

  std::vector<uint32_t> allow_uids;  // of apps on the unix socket; empty: nobody
  std::vector<uint32_t> loopback_uids;  // of apps on TCP, as far as they are on this machine; empty: nobody
  bool loopback_any_uid = false;        // whoever they are
  bool place_peers = false;             // whether it matters where other agents and old clients on the inbound port are
  std::string loopback_token;        // empty: none asked for
  uint32_t handoff_version = kHandoffStateVersion;  // other numbers make a test's engine one of another build
  uint32_t oldest_handoff_version = kOldestHandoffStateVersion;
  uint64_t seed = 1;                 // of hashing, balancing and jitter; random in production
};

}  // namespace ringside
