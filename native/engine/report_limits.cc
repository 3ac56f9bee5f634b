// How much is used of each bound that an operator may set (docs/configuration.md, `limits`), under its name there. Where a bound holds
// for each link, user or address, the fullest counts; where it holds for single messages, the largest so far. Worked out when somebody
// asks, from what is kept anyway.
#include <algorithm>
#include <tuple>

#include "native/engine/engine.h"

namespace ringside {

void Engine::write_limits(ByteWriter* out) const {
  uint64_t links_of_uid = 0, links_of_address = 0, outbound_bytes = 0, streams = 0, legacy_connections = 0;
  double upcalls = 0;
  for (const auto& [address, links] : links_of_address_) links_of_address = std::max<uint64_t>(links_of_address, links);
  for (const auto& [uid, links] : links_of_uid_) links_of_uid = std::max<uint64_t>(links_of_uid, links);
  for (const LinkSlot& slot : links_) {
    const Link* const link = slot.link.get();
    if (link == nullptr) continue;
    outbound_bytes = std::max<uint64_t>(outbound_bytes, link->outbound_bytes());
    streams = std::max<uint64_t>(streams, link->shares.streams());
    upcalls = std::max(upcalls, options_.upcalls_per_second_per_link - miss_tokens_of(*link));
  }
  upstreams_.for_each([&](const Upstream& upstream) {
    if (upstream.protocol == LinkProtocol::kLegacy) legacy_connections = std::max<uint64_t>(legacy_connections, upstream.links.size());
  });

  const std::tuple<const char*, uint64_t, uint64_t> limits[] = {
      {"links", live_links_, options_.max_links},
      {"linksPerUid", links_of_uid, options_.max_links_per_uid},
      {"linksPerAddress", links_of_address, options_.max_links_per_address},
      {"pending", pending_.size(), pending_.capacity()},
      {"parked", parked_.size(), parked_.capacity()},
      {"parkedBytes", parked_.bytes(), parked_.max_bytes()},
      {"waiting", waiting_.size(), waiting_.capacity()},
      {"waitingBytes", waiting_.bytes(), waiting_.max_bytes()},
      {"unreadBytes", unread_bytes(), max_unread_bytes()},
      {"flows", flows_.size(), flows_.capacity()},
      {"clusters", clusters_.size(), clusters_.capacity()},
      {"upcallsPerSecondPerLink", static_cast<uint64_t>(upcalls), options_.upcalls_per_second_per_link},
      {"outboundBytesPerLink", outbound_bytes, options_.max_outbound_bytes},
      {"bodyBytes", largest_body_bytes_, options_.max_body_bytes},
      {"streamsPerLink", streams, options_.max_streams_per_link},
      {"legacyMessageBytes", legacy_account_.largest_message_bytes, options_.max_legacy_message_bytes},
      {"legacyBytes", legacy_account_.bytes, legacy_account_.max_bytes},
      {"legacyConnectionsPerInstance", legacy_connections, options_.legacy_connections_per_instance},
  };
  out->u32(std::size(limits));
  for (const auto& [name, used, max] : limits) {
    out->bytes(name);
    out->u64(used);
    out->u64(max);
  }
}

}  // namespace ringside
