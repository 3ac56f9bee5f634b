// The latency sketch: bounds of its buckets and the accuracy it promises.
#include "native/engine/sketch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace ringside {
namespace {

constexpr double kGamma = 1.02 / 0.98;

double estimate_us(uint32_t bucket) { return bucket == 0 ? 1 : 2 * std::pow(kGamma, bucket) / (kGamma + 1); }

double quantile_us(const Sketch& sketch, double q) {
  const auto rank = static_cast<uint64_t>(q * static_cast<double>(sketch.count() - 1));
  uint64_t seen = 0;
  for (uint32_t i = 0; i < Sketch::kBuckets; i++) {
    seen += sketch.at(i);
    if (seen > rank) return estimate_us(i);
  }
  return 0;
}

TEST(Sketch, TheFirstAndTheLastBucketTakeWhatIsBeyondThem) {
  EXPECT_EQ(Sketch::bucket_of(INT64_MIN), 0u);
  EXPECT_EQ(Sketch::bucket_of(-1), 0u);
  EXPECT_EQ(Sketch::bucket_of(0), 0u);
  EXPECT_EQ(Sketch::bucket_of(1000), 0u);
  EXPECT_EQ(Sketch::bucket_of(1001), 1u);
  EXPECT_EQ(Sketch::bucket_of(3'600'000'000'000), Sketch::kBuckets - 1);
  EXPECT_EQ(Sketch::bucket_of(INT64_MAX), Sketch::kBuckets - 1);
  // Ten minutes are not yet "everything longer".
  EXPECT_LT(Sketch::bucket_of(600'000'000'000), Sketch::kBuckets - 1);
}

TEST(Sketch, BucketsEndAtPowersOfGamma) {
  for (uint32_t i = 1; i < Sketch::kBuckets - 1; i++) {
    const double end_ns = std::pow(kGamma, i) * 1000;
    EXPECT_EQ(Sketch::bucket_of(static_cast<int64_t>(end_ns * 1.001) + 1), i + 1) << i;
    EXPECT_LE(Sketch::bucket_of(static_cast<int64_t>(end_ns * 0.999)), i) << i;
  }
}

TEST(Sketch, EveryValueIsWithinTwoPercentOfItsBucketsEstimate) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; i++) {
    const int64_t ns = 1001 + static_cast<int64_t>(std::pow(10.0, static_cast<double>(random() % 11'000) / 1000));
    const double us = static_cast<double>(ns) / 1000;
    ASSERT_NEAR(estimate_us(Sketch::bucket_of(ns)) / us, 1, 0.0201) << ns;
  }
}

TEST(Sketch, QuantilesSumAndCount) {
  std::mt19937_64 random(2);
  std::lognormal_distribution<double> latency(5, 1.5);  // us
  Sketch sketch;
  std::vector<double> all;
  double sum = 0;
  for (int i = 0; i < 50'000; i++) {
    const double us = 1.5 + latency(random);
    sketch.add_ns(static_cast<int64_t>(us * 1000));
    all.push_back(us);
    sum += us;
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(sketch.count(), all.size());
  EXPECT_NEAR(sketch.sum_us() / sum, 1, 0.001);
  for (const double q : {0.0, 0.5, 0.9, 0.99, 0.999}) {
    const double exact = all[static_cast<size_t>(q * static_cast<double>(all.size() - 1))];
    EXPECT_NEAR(quantile_us(sketch, q) / exact, 1, 0.0202) << q;
  }
}

}  // namespace
}  // namespace ringside
