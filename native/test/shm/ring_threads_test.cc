// The ring and its sleeping flags between two real threads: nothing is lost, torn or reordered, and neither side
// oversleeps. Each side really sleeps in poll() on a doorbell; a lost wake-up shows as its timeout. Run under the
// thread sanitizer, which checks the release and acquire pairs.
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "native/shm/doorbell.h"
#include "native/test/shm/ring_fixture.h"

namespace ringside {
namespace {

using testing::RingMemory;

constexpr int kOversleptMs = 20'000;

struct Bell {
  UniqueFd read_end;
  UniqueFd write_end;

  Bell() {
    AgentDoorbells made = AgentDoorbells::create().take();
    read_end = std::move(made.pipe_read);
    write_end = std::move(made.pipe_write);
  }
  void ring() const { ring_pipe(write_end.get()); }
  // False: nobody rang.
  bool sleep() const {
    pollfd entry{read_end.get(), POLLIN, 0};
    if (::poll(&entry, 1, kOversleptMs) != 1) return false;
    char bytes[64];
    while (::read(read_end.get(), bytes, sizeof bytes) == static_cast<ssize_t>(sizeof bytes)) {
    }
    return true;
  }
};

struct Outcome {
  uint64_t records = 0;
  uint64_t sleeps = 0;
  const char* failure = nullptr;
};

// Payload of record i: its size and every byte follow from i, so that the reader can tell any mix-up.
uint32_t payload_bytes(uint64_t i, uint32_t limit) { return static_cast<uint32_t>((i * 2654435761u) % (limit + 1)); }
uint8_t fill(uint64_t i) { return static_cast<uint8_t>(i * 131 + 7); }

void produce(RingMemory& memory, uint64_t records, uint32_t limit, const Bell& to_consumer, const Bell& to_producer,
             Outcome* out) {
  RingProducer ring;
  ring.attach(memory.control(), memory.data(), memory.capacity());
  std::mt19937 random(1);
  for (uint64_t i = 0; i < records;) {
    const uint32_t size = payload_bytes(i, limit);
    uint8_t* place = ring.reserve(size);
    if (place == nullptr) {
      if (ring.publish()) to_consumer.ring();
      if (ring.arm_space_wanted(size)) {
        ++out->sleeps;
        if (ring.violated() || !to_producer.sleep()) {
          out->failure = ring.violated() ? "violation" : "the producer overslept";
          return;
        }
      }
      continue;
    }
    std::memset(place, fill(i), size);
    ring.commit();
    ++i;
    if (random() % 4 == 0 && ring.publish()) to_consumer.ring();
  }
  if (ring.publish()) to_consumer.ring();
  out->records = records;
}

void consume(RingMemory& memory, uint64_t records, uint32_t limit, const Bell& to_consumer, const Bell& to_producer,
             Outcome* out) {
  RingConsumer ring;
  ring.attach(memory.control(), memory.data(), memory.capacity());
  std::mt19937 random(2);
  while (out->records < records) {
    RecordView view;
    const RingRead read = ring.next(&view);
    if (read == RingRead::kViolation) {
      out->failure = ring.violation();
      return;
    }
    if (read == RingRead::kRecord) {
      const uint64_t i = out->records++;
      bool whole = view.size == payload_bytes(i, limit);
      for (uint32_t k = 0; whole && k < view.size; ++k) whole = view.data[k] == fill(i);
      if (!whole) {
        out->failure = "a record is not what was sent";
        return;
      }
      if (random() % 8 == 0 && ring.release()) to_producer.ring();
      continue;
    }
    if (ring.release()) to_producer.ring();
    if (ring.arm_waiting()) {
      ++out->sleeps;
      if (!to_consumer.sleep()) {
        out->failure = "the consumer overslept";
        return;
      }
    } else {
      ring.disarm();
    }
  }
  if (ring.release()) to_producer.ring();
}

void run(uint32_t capacity, uint64_t records) {
  RingMemory memory(capacity);
  const Bell to_consumer;
  const Bell to_producer;
  const uint32_t limit = shm::max_payload_bytes(capacity);
  Outcome produced;
  Outcome consumed;
  std::thread consumer([&] { consume(memory, records, limit, to_consumer, to_producer, &consumed); });
  produce(memory, records, limit, to_consumer, to_producer, &produced);
  consumer.join();
  EXPECT_EQ(produced.failure, nullptr) << produced.failure;
  EXPECT_EQ(consumed.failure, nullptr) << consumed.failure;
  EXPECT_EQ(consumed.records, records);
  EXPECT_GT(produced.sleeps + consumed.sleeps, 0u) << "the test must reach the sleeping flags";
}

TEST(RingThreads, TinyRingSleepsAllTheTime) { run(64, 30'000); }
TEST(RingThreads, SmallRing) { run(1024, 100'000); }
TEST(RingThreads, LargerRing) { run(16 * 1024, 30'000); }

}  // namespace
}  // namespace ringside
