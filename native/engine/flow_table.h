// The flow table: which requests the engine may answer for without asking TypeScript, and how. A request's key is
// direction + service + only those attributes that the service's routes read (its KeySpec, named by TypeScript).
// Bounded: when it is full, a flow that was not used lately makes room (CLOCK). Owned and read by one worker.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/huge_pages.h"
#include "native/base/status.h"
#include "native/codec/mesh_header.h"
#include "native/engine/inline_key.h"
#include "native/engine/sketch.h"

namespace ringside {

enum class Direction : uint8_t { kOutbound = 0, kInbound = 1 };

/// Which attributes of a request belong to its service's key.
struct KeySpec {
  static constexpr uint8_t kMethod = 1, kGroup = 2, kVersion = 4, kHashKey = 8;
  uint8_t fields = 0;
  std::vector<std::string> attachments;
};

inline constexpr size_t kKeyPrefixBytes = 3;  // direction, length of the service's name

struct FlowAction {
  enum class Kind : uint8_t { kForward = 0, kReject = 1 };
  Kind kind = Kind::kForward;
  bool upcall = false;  // a user's filter looks at every request of this flow
  uint32_t cluster = 0;
  uint32_t timeout_ms = 0;  // 0: the engine's default
  Code code = Code::kOk;    // kReject
  std::string text;
};

/// What a forwarded request needs of its flow: one cache line. Among many flows each line more is a miss, and lines that lie close keep
/// the table within the reach of the page tables' cache.
struct alignas(64) Flow {
  InlineKey key;
  uint32_t generation = 0;
  uint32_t cluster = 0;
  uint32_t timeout_ms = 0;
  FlowAction::Kind kind = FlowAction::Kind::kForward;
  bool upcall = false;
  bool live = false;
  bool used = false;  // since the clock hand passed

  Direction direction() const { return static_cast<Direction>(key.view()[0]); }
  std::string_view service_name() const { return key.view().substr(kKeyPrefixBytes, service_bytes()); }
  /// The values of the spec's attributes, each behind its u32 length.
  std::string_view key_values() const { return key.view().substr(kKeyPrefixBytes + service_bytes()); }

 private:
  size_t service_bytes() const { return load_u16(reinterpret_cast<const uint8_t*>(key.view().data()) + 1); }
};
static_assert(sizeof(Flow) == 64);

/// What else is known of a flow: its account, and what a refused request is told.
struct FlowDetail {
  uint32_t service = 0;  // slot in the table of services
  Code code = Code::kOk;
  std::string text;
  uint64_t requests = 0;
  std::array<uint64_t, kMaxCode + 1> by_status{};
  std::unique_ptr<Sketch> latency;  // allocated with the first sample
};

struct FlowRef {
  uint32_t slot = UINT32_MAX;
  uint32_t generation = 0;
};

/// The key that a lookup builds, in memory that stays: its pieces are short, and each is copied without a call.
class KeyBuilder {
 public:
  /// Begins with direction and service.
  void start(Direction direction, std::string_view service);
  /// A value behind its length: no value can be chosen so that two different requests share a key.
  void append_value(std::string_view value);
  std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  /// The next n bytes.
  uint8_t* take(size_t n) {
    if (bytes_.size() - size_ < n) bytes_.resize(2 * (size_ + n));
    uint8_t* const place = reinterpret_cast<uint8_t*>(bytes_.data()) + size_;
    size_ += n;
    return place;
  }
  std::vector<char> bytes_ = std::vector<char>(256);
  size_t size_ = 0;
};

/// What a lookup found: a flow, or the key under which TypeScript must decide.
struct FlowLookup {
  Flow* flow = nullptr;
  FlowRef ref;
  std::string_view miss_key;  // valid until the next call of the table
};

class FlowTable {
 public:
  FlowTable(uint32_t max_flows, uint64_t seed);

  /// `header` is the bytes that `view` was parsed from (attachments are looked up in it).
  FlowLookup lookup(Direction direction, const HeaderView& view, const uint8_t* header, size_t header_bytes);

  /// Names the attributes that make up the key of a service. A changed spec drops the service's flows.
  /// False: no room for another service.
  bool set_service(Direction direction, std::string_view service, KeySpec spec);
  /// Installs or replaces a flow; counters of a replaced one go on. `values` are the attributes' values in the
  /// order method, group, version, hash key, attachments; those outside the spec are ignored.
  /// False: the service has no spec.
  bool set_flow(Direction direction, std::string_view service, const std::array<std::string_view, 4>& values,
                const std::vector<std::string>& attachment_values, FlowAction action);
  void remove_service(Direction direction, std::string_view service);

  Flow* get(FlowRef ref) {
    if (ref.slot >= flows_.size()) return nullptr;
    Flow& flow = flows_[ref.slot];
    return flow.live && flow.generation == ref.generation ? &flow : nullptr;
  }
  /// The flow with this whole key (Flow::key), or a reference that get() knows nothing behind.
  FlowRef find(std::string_view key) const {
    const uint32_t slot = find_flow(key);
    return slot == UINT32_MAX ? FlowRef{} : FlowRef{slot, flows_[slot].generation};
  }
  uint32_t size() const { return live_flows_; }
  uint32_t capacity() const { return max_flows_; }
  uint64_t evictions() const { return evictions_; }

  /// `flow` is one of this table's.
  FlowDetail& detail(const Flow& flow) { return details_[slot_of(flow)]; }
  const FlowDetail& detail(const Flow& flow) const { return details_[slot_of(flow)]; }
  const KeySpec& spec_of(const Flow& flow) const { return services_[detail(flow).service].spec; }

  template <typename Visit>
  void for_each(Visit visit) const {
    for (const Flow& flow : flows_) {
      if (flow.live) visit(flow);
    }
  }

 private:
  struct Service {
    InlineKey key;  // direction + name
    KeySpec spec;
  };
  // Open addressing over pairs of half a hash and an index; the keys live in the entries they index.
  struct Bucket {
    uint32_t hash = 0;
    uint32_t index = kFree;
  };
  static constexpr uint32_t kFree = UINT32_MAX;
  struct Index {
    std::vector<Bucket, HugePageAllocator<Bucket>> buckets;
    uint32_t mask = 0;
    uint32_t used = 0;
    void init(size_t entries);
    template <typename Same>
    uint32_t find(uint32_t hash, Same same) const;
    /// Grows when half of the buckets would be taken.
    void insert(uint32_t hash, uint32_t index);
    void place(uint32_t hash, uint32_t index);
    void erase(uint32_t hash, uint32_t index);
  };

  size_t slot_of(const Flow& flow) const { return static_cast<size_t>(&flow - flows_.data()); }
  uint32_t hash(std::string_view key) const;
  uint32_t find_service(std::string_view key) const;
  uint32_t find_flow(std::string_view key) const;
  uint32_t take_flow_slot();
  void erase_flow(uint32_t slot);
  void erase_service(uint32_t slot);

  uint32_t max_flows_;
  uint64_t seed_;
  std::vector<Service> services_;
  std::vector<Flow, HugePageAllocator<Flow>> flows_;
  std::vector<FlowDetail> details_;  // under the slots of flows_
  std::vector<uint32_t> free_services_;
  std::vector<uint32_t> free_flows_;
  Index service_index_;
  Index flow_index_;
  uint32_t live_flows_ = 0;
  uint32_t flow_hand_ = 0;
  uint64_t evictions_ = 0;
  KeyBuilder key_;
};

}  // namespace ringside
