#include "native/engine/weighted_shares.h"

#include <algorithm>
#include <functional>

namespace ringside {

WeightedShares WeightedShares::of(const std::vector<uint32_t>& weights) {
  WeightedShares shares;
  const size_t n = weights.size();
  uint64_t total = 0;
  for (const uint32_t weight : weights) total += weight;
  const bool equal = std::adjacent_find(weights.begin(), weights.end(), std::not_equal_to<>()) == weights.end();
  if (equal || total == 0) return shares;
  // What an index still has to give, where `total` fills a column: 32 bits of weight times at most 2^20 endpoints.
  std::vector<uint64_t> rest(n);
  std::vector<uint32_t> under;
  std::vector<uint32_t> over;
  for (size_t i = 0; i < n; i++) {
    rest[i] = uint64_t{weights[i]} * n;
    (rest[i] < total ? under : over).push_back(static_cast<uint32_t>(i));
  }
  shares.columns_.resize(n);
  while (!under.empty() && !over.empty()) {
    const uint32_t small = under.back();
    under.pop_back();
    const uint32_t large = over.back();
    __extension__ using Wide = unsigned __int128;
    shares.columns_[small] = {static_cast<uint32_t>((Wide{rest[small]} << 32) / total), large};
    rest[large] -= total - rest[small];
    if (rest[large] < total) {
      over.pop_back();
      under.push_back(large);
    }
  }
  for (const uint32_t i : over) shares.columns_[i] = {UINT32_MAX, i};
  for (const uint32_t i : under) shares.columns_[i] = {UINT32_MAX, i};
  return shares;
}

}  // namespace ringside
