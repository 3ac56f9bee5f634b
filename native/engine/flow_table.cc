#include "native/engine/flow_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "native/engine/hash.h"

namespace ringside {

void FlowTable::Index::init(size_t entries) {
  buckets.resize(std::bit_ceil(std::max<size_t>(16, entries * 2)));
  mask = static_cast<uint32_t>(buckets.size() - 1);
}

template <typename Same>
uint32_t FlowTable::Index::find(uint32_t hash, Same same) const {
  for (uint32_t at = hash & mask;; at = (at + 1) & mask) {
    const Bucket& bucket = buckets[at];
    if (bucket.index == kFree) return kFree;
    if (bucket.hash == hash && same(bucket.index)) return bucket.index;
  }
}

void FlowTable::Index::insert(uint32_t hash, uint32_t index) {
  if (++used * size_t{2} > buckets.size()) {
    const auto before = std::exchange(buckets, {});
    init(before.size());
    for (const Bucket& bucket : before) {
      if (bucket.index != kFree) place(bucket.hash, bucket.index);
    }
  }
  place(hash, index);
}

void FlowTable::Index::place(uint32_t hash, uint32_t index) {
  uint32_t at = hash & mask;
  while (buckets[at].index != kFree) at = (at + 1) & mask;
  buckets[at] = {hash, index};
}

void FlowTable::Index::erase(uint32_t hash, uint32_t index) {
  used--;
  uint32_t hole = hash & mask;
  while (buckets[hole].index != index) hole = (hole + 1) & mask;
  // Linear probing without tombstones: whatever stands behind the hole and may move into it, does.
  for (uint32_t at = (hole + 1) & mask; buckets[at].index != kFree; at = (at + 1) & mask) {
    const uint32_t home = buckets[at].hash & mask;
    if (((at - home) & mask) >= ((at - hole) & mask)) {
      buckets[hole] = buckets[at];
      hole = at;
    }
  }
  buckets[hole] = Bucket{};
}

FlowTable::FlowTable(uint32_t max_flows, uint64_t seed) : max_flows_(max_flows), seed_(seed) {
  service_index_.init(0);  // mostly few: they lie close then
  flow_index_.init(max_flows);
  // Pages come with use; growing in the midst of traffic would move everything.
  flows_.reserve(max_flows);
  details_.reserve(max_flows);
}

uint32_t FlowTable::hash(std::string_view key) const { return static_cast<uint32_t>(hash_bytes(key, seed_)); }

uint32_t FlowTable::find_service(std::string_view key) const {
  return service_index_.find(hash(key), [&](uint32_t i) { return services_[i].key.view() == key; });
}
uint32_t FlowTable::find_flow(std::string_view key) const {
  return flow_index_.find(hash(key), [&](uint32_t i) { return flows_[i].key.view() == key; });
}

void KeyBuilder::start(Direction direction, std::string_view service) {
  size_ = 0;
  uint8_t* const place = take(kKeyPrefixBytes + service.size());
  place[0] = static_cast<uint8_t>(direction);
  store_u16(place + 1, static_cast<uint16_t>(service.size()));
  if (!service.empty()) std::memcpy(place + kKeyPrefixBytes, service.data(), service.size());
}

void KeyBuilder::append_value(std::string_view value) {
  uint8_t* const place = take(sizeof(uint32_t) + value.size());
  store_u32(place, static_cast<uint32_t>(value.size()));
  if (!value.empty()) std::memcpy(place + sizeof(uint32_t), value.data(), value.size());
}

FlowLookup FlowTable::lookup(Direction direction, const HeaderView& view, const uint8_t* header,
                             size_t header_bytes) {
  key_.start(direction, view.service);
  const uint32_t service_slot = find_service(key_.view());
  if (service_slot == kFree) return FlowLookup{nullptr, {}, key_.view()};
  const KeySpec& spec = services_[service_slot].spec;
  if (spec.fields & KeySpec::kMethod) key_.append_value(view.method);
  if (spec.fields & KeySpec::kGroup) key_.append_value(view.group);
  if (spec.fields & KeySpec::kVersion) key_.append_value(view.version);
  if (spec.fields & KeySpec::kHashKey) key_.append_value(view.hash_key);
  for (const std::string& name : spec.attachments) {
    key_.append_value(find_attachment(header, header_bytes, name).value_or(std::string_view{}));
  }
  const uint32_t slot = find_flow(key_.view());
  if (slot == kFree) return FlowLookup{nullptr, {}, key_.view()};
  Flow& flow = flows_[slot];
  flow.used = true;
  return FlowLookup{&flow, {slot, flow.generation}, {}};
}

bool FlowTable::set_service(Direction direction, std::string_view name, KeySpec spec) {
  key_.start(direction, name);
  const uint32_t existing = find_service(key_.view());
  if (existing != kFree) {
    Service& service = services_[existing];
    if (service.spec.fields == spec.fields && service.spec.attachments == spec.attachments) return true;
    // `name` may be a view of what is removed.
    const std::string key(service.key.view());
    remove_service(direction, std::string_view(key).substr(kKeyPrefixBytes));
    key_.start(direction, std::string_view(key).substr(kKeyPrefixBytes));
  }
  uint32_t slot;
  if (!free_services_.empty()) {
    slot = free_services_.back();
    free_services_.pop_back();
  } else {
    // A service without flows is only a name that was once asked for; bounded like the flows themselves.
    if (services_.size() >= max_flows_) return false;
    slot = static_cast<uint32_t>(services_.size());
    services_.emplace_back();
  }
  services_[slot].key.assign(key_.view());
  services_[slot].spec = std::move(spec);
  service_index_.insert(hash(key_.view()), slot);
  return true;
}

bool FlowTable::set_flow(Direction direction, std::string_view name, const std::array<std::string_view, 4>& values,
                         const std::vector<std::string>& attachment_values, FlowAction action) {
  key_.start(direction, name);
  const uint32_t service_slot = find_service(key_.view());
  if (service_slot == kFree) return false;
  const KeySpec& spec = services_[service_slot].spec;
  for (size_t i = 0; i < values.size(); i++) {
    if (spec.fields & (1u << i)) key_.append_value(values[i]);
  }
  for (size_t i = 0; i < spec.attachments.size(); i++) {
    key_.append_value(i < attachment_values.size() ? std::string_view(attachment_values[i]) : std::string_view{});
  }
  uint32_t slot = find_flow(key_.view());
  if (slot == kFree) {
    slot = take_flow_slot();
    Flow& flow = flows_[slot];
    flow.generation++;
    flow.key.assign(key_.view());
    flow.live = true;
    details_[slot] = FlowDetail{};
    details_[slot].service = service_slot;
    flow_index_.insert(hash(key_.view()), slot);
    live_flows_++;
  }
  Flow& flow = flows_[slot];
  flow.kind = action.kind;
  flow.upcall = action.upcall;
  flow.cluster = action.cluster;
  flow.timeout_ms = action.timeout_ms;
  flow.used = true;
  details_[slot].code = action.code;
  details_[slot].text = std::move(action.text);
  return true;
}

uint32_t FlowTable::take_flow_slot() {
  if (!free_flows_.empty()) {
    const uint32_t slot = free_flows_.back();
    free_flows_.pop_back();
    return slot;
  }
  if (flows_.size() < max_flows_) {
    flows_.emplace_back();
    details_.emplace_back();
    return static_cast<uint32_t>(flows_.size() - 1);
  }
  for (;;) {  // ends: one round clears every mark
    flow_hand_ = (flow_hand_ + 1) % static_cast<uint32_t>(flows_.size());
    Flow& flow = flows_[flow_hand_];
    if (!flow.used) break;
    flow.used = false;
  }
  const uint32_t slot = flow_hand_;
  erase_flow(slot);
  free_flows_.pop_back();
  evictions_++;
  return slot;
}

void FlowTable::erase_flow(uint32_t slot) {
  Flow& flow = flows_[slot];
  flow_index_.erase(hash(flow.key.view()), slot);
  flow.live = false;
  flow.generation++;
  flow.key.clear();
  details_[slot] = FlowDetail{};
  free_flows_.push_back(slot);
  live_flows_--;
}

void FlowTable::erase_service(uint32_t slot) {
  service_index_.erase(hash(services_[slot].key.view()), slot);
  services_[slot] = Service{};
  free_services_.push_back(slot);
}

void FlowTable::remove_service(Direction direction, std::string_view name) {
  KeyBuilder key;  // `name` may be a view of the other one
  key.start(direction, name);
  const uint32_t service_slot = find_service(key.view());
  if (service_slot == kFree) return;
  for (uint32_t slot = 0; slot < flows_.size(); slot++) {
    if (flows_[slot].live && details_[slot].service == service_slot) erase_flow(slot);
  }
  erase_service(service_slot);
}

}  // namespace ringside
