// The hex examples of docs/shm-layout.md, made by the code and compared byte for byte, so that the page stays true.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "native/shm/layout.h"
#include "native/shm/segment.h"
#include "native/test/shm/ring_fixture.h"

namespace ringside {
namespace {

using testing::RingPair;

constexpr uint32_t kCapacity = 262144;

std::string hex(const uint8_t* bytes, size_t n) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < n; ++i) {
    out += kDigits[bytes[i] >> 4];
    out += kDigits[bytes[i] & 15];
  }
  return out;
}

// Name of the example to its digits, white space removed.
std::map<std::string, std::string> read_examples() {
  const auto page = std::filesystem::path(__FILE__).parent_path() / "../../../docs/shm-layout.md";
  std::ifstream in(page);
  std::map<std::string, std::string> examples;
  std::string line;
  std::string name;
  while (std::getline(in, line)) {
    if (line.rfind("```hex ", 0) == 0) {
      name = line.substr(7);
      examples[name];
    } else if (line.rfind("```", 0) == 0) {
      name.clear();
    } else if (!name.empty()) {
      std::istringstream words(line);
      for (std::string word; words >> word;) examples[name] += word;
    }
  }
  return examples;
}

TEST(LayoutExamples, AreWhatTheCodeWrites) {
  std::map<std::string, std::string> made;
  Result<Segment> segment = Segment::create(kCapacity);
  ASSERT_TRUE(segment.ok());
  uint8_t header[shm::kHeaderUsedBytes];
  ASSERT_EQ(::pread(segment.value().fd(), header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
  made["segment-header"] = hex(header, sizeof header);

  RingPair batch(kCapacity);
  batch.put("hello");
  batch.put("ring");
  batch.producer.publish();
  EXPECT_EQ(batch.memory.head(), 32u);
  made["two-records"] = hex(batch.memory.data(), 32);

  RingPair wrap(kCapacity);
  wrap.stand_at(kCapacity - 8);
  ASSERT_TRUE(wrap.consumer.arm_waiting());
  uint8_t* const control = wrap.memory.control();
  const std::string waiting_before = hex(control + shm::kConsumerWaitingAt, 4);
  wrap.put("hello");
  EXPECT_TRUE(wrap.producer.publish());
  made["pad-at-the-end"] = hex(wrap.memory.data() + kCapacity - 8, 8);
  made["record-behind-the-pad"] = hex(wrap.memory.data(), 16);
  made["control-head"] = hex(control + shm::kHeadAt, 8);
  made["control-tail"] = hex(control + shm::kTailAt, 8);
  made["control-consumer-waiting-before-and-after"] = waiting_before + hex(control + shm::kConsumerWaitingAt, 4);
  made["control-space-wanted"] = hex(control + shm::kSpaceWantedAt, 4);

  EXPECT_EQ(read_examples(), made);
}

}  // namespace
}  // namespace ringside
