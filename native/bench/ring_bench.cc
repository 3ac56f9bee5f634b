// Nanoseconds per record through the ring of a shared-memory link, both ends on one thread: what remains when nobody has to be
// woken. Copying in and out is part of it, as it is of every link. Run by `npm run bench -- --scenario scale`.
#include <array>
#include <cstring>
#include <memory>
#include <string>

#include "native/bench/measure.h"
#include "native/shm/ring.h"

using namespace ringside;

namespace {

constexpr uint32_t kCapacity = 512 * 1024;
constexpr uint32_t kLargestPayload = 16 * 1024;

struct Pair {
  alignas(4096) std::array<uint8_t, 4096> control{};
  alignas(4096) std::array<uint8_t, kCapacity> data{};
  RingProducer producer;
  RingConsumer consumer;
  std::array<uint8_t, kLargestPayload> copy{};
};

/// Sends and receives one batch; returns the bytes that arrived.
uint64_t pass(Pair* pair, int records, uint32_t payload_bytes) {
  for (int i = 0; i < records; ++i) {
    uint8_t* place = pair->producer.reserve(payload_bytes);
    if (place == nullptr) return 0;
    std::memcpy(place, pair->copy.data(), payload_bytes);
    pair->producer.commit();
  }
  uint64_t bytes = pair->producer.publish() ? 1 : 0;
  RecordView record;
  while (pair->consumer.next(&record) == RingRead::kRecord) {
    std::memcpy(pair->copy.data(), record.data, record.size);
    bytes += record.size;
  }
  pair->consumer.release();
  return bytes;
}

}  // namespace

int main() {
  const auto pair = std::make_unique<Pair>();
  pair->producer.attach(pair->control.data(), pair->data.data(), kCapacity);
  pair->consumer.attach(pair->control.data(), pair->data.data(), kCapacity);
  for (const uint32_t payload_bytes : {128u, 1200u, kLargestPayload}) {
    for (const int records : {1, 16}) {
      const std::string name = "ring record of " + std::to_string(payload_bytes) + " bytes, batches of " + std::to_string(records);
      measure(name.c_str(), 20'000 / records, records, [&] { return pass(pair.get(), records, payload_bytes); });
    }
  }
  return 0;
}
