#include "native/engine/waiting.h"

namespace ringside {

bool WaitingTable::has_service_share(const std::string& service, uint32_t requests, size_t bytes) const {
  const auto it = service_shares_.find(service);
  return may_have(it == service_shares_.end() ? HeldShare{} : it->second, requests, bytes);
}

uint32_t WaitingTable::wait(uint32_t cluster, const std::string& service, Handle downstream, std::vector<uint8_t> frame) {
  const auto [at, is_new] = clusters_.try_emplace(cluster);
  Waiters& waiters = at->second;
  if (is_new) {
    waiters.service = service;
    waiters.retry.kind = TimerKind::kWaitingRetry;
    waiters.retry.slot = cluster;
  }
  HeldShare& share = service_shares_[waiters.service];
  share.requests++;
  share.bytes += frame.size();
  return hold(&waiters.requests, cluster, downstream, std::move(frame));
}

bool WaitingTable::append(uint32_t slot, const uint8_t* head, size_t head_bytes, const uint8_t* body, size_t body_bytes) {
  if (!HeldRequests::append(slot, head, head_bytes, body, body_bytes)) return false;
  service_shares_.at(service_of(slot)).bytes += head_bytes + body_bytes;
  return true;
}

void WaitingTable::remove(uint32_t slot) {
  const auto waiters = clusters_.find(at(slot).queue);
  const auto share = service_shares_.find(waiters->second.service);
  share->second.bytes -= at(slot).frame.size();
  if (--share->second.requests == 0) service_shares_.erase(share);
  leave(&waiters->second.requests, slot);
  if (waiters->second.requests.first == kNoHeld) clusters_.erase(waiters);
  free(slot);
}

std::vector<uint32_t> WaitingTable::at_cluster(uint32_t cluster) const {
  std::vector<uint32_t> requests;
  const auto waiters = clusters_.find(cluster);
  if (waiters == clusters_.end()) return requests;
  for (uint32_t slot = waiters->second.requests.first; slot != kNoHeld; slot = at(slot).next) requests.push_back(slot);
  return requests;
}

TimerNode* WaitingTable::retry_timer(uint32_t cluster) {
  const auto waiters = clusters_.find(cluster);
  return waiters == clusters_.end() ? nullptr : &waiters->second.retry;
}

}  // namespace ringside
