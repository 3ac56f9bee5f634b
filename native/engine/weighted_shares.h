// Drawing an index in proportion to weights in the same time whatever their number: the alias method (Walker 1977, built as Vose 1991
// says). Each of n columns holds a threshold and the index that has the rest of it; a uniform number picks the column, a second one the side.
#pragma once

#include <cstdint>
#include <vector>

namespace ringside {

class WeightedShares {
 public:
  /// Empty where all weights are equal: then every index is drawn alike and no table is needed.
  static WeightedShares of(const std::vector<uint32_t>& weights);

  bool empty() const { return columns_.empty(); }
  /// `place`: 64 uniform bits, of which the upper half picks the column.
  uint32_t at(uint64_t place) const {
    const uint64_t scaled = (place >> 32) * columns_.size();
    return side(static_cast<uint32_t>(scaled >> 32), static_cast<uint32_t>(place));
  }
  /// The index whose turn it is: turns step through the table by the golden ratio, so that each index comes at even distances.
  uint32_t in_turn(uint32_t turn) const {
    const uint64_t scaled = uint64_t{turn * 0x9E3779B9u} * columns_.size();
    return side(static_cast<uint32_t>(scaled >> 32), static_cast<uint32_t>(scaled));
  }

 private:
  struct Column {
    uint32_t threshold;
    uint32_t alias;
  };
  uint32_t side(uint32_t column, uint32_t fraction) const {
    return fraction < columns_[column].threshold ? column : columns_[column].alias;
  }

  std::vector<Column> columns_;
};

}  // namespace ringside
