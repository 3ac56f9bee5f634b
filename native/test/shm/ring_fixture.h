// A ring in plain memory with both its ends, for the tests of the ring. Small capacities, which a segment would not
// have, make every wrap and every full ring cheap to reach. `poke` writes what a hostile peer would.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include "native/base/bytes.h"
#include "native/shm/layout.h"
#include "native/shm/ring.h"

namespace ringside::testing {

class RingMemory {
 public:
  explicit RingMemory(uint32_t capacity)
      : capacity_(capacity), base_(static_cast<uint8_t*>(::operator new(shm::kPageBytes + capacity, kAlign))) {
    std::memset(base_, 0, shm::kPageBytes + capacity);
  }
  RingMemory(const RingMemory&) = delete;
  RingMemory& operator=(const RingMemory&) = delete;
  ~RingMemory() { ::operator delete(base_, kAlign); }

  uint8_t* control() { return base_; }
  uint8_t* data() { return base_ + shm::kPageBytes; }
  uint32_t capacity() const { return capacity_; }
  uint64_t head() const { return load_u64(base_ + shm::kHeadAt); }
  uint64_t tail() const { return load_u64(base_ + shm::kTailAt); }
  void poke_head(uint64_t v) { store_u64(base_ + shm::kHeadAt, v); }
  void poke_tail(uint64_t v) { store_u64(base_ + shm::kTailAt, v); }
  void poke_record(uint64_t offset, uint32_t length, uint32_t kind) {
    store_u32(data() + offset, length);
    store_u32(data() + offset + 4, kind);
  }
  uint32_t consumer_waiting() const { return load_u32(base_ + shm::kConsumerWaitingAt); }
  uint32_t space_wanted() const { return load_u32(base_ + shm::kSpaceWantedAt); }

 private:
  static constexpr std::align_val_t kAlign{shm::kPageBytes};
  uint32_t capacity_;
  uint8_t* base_;
};

class RingPair {
 public:
  explicit RingPair(uint32_t capacity) : memory(capacity) {
    producer.attach(memory.control(), memory.data(), capacity);
    consumer.attach(memory.control(), memory.data(), capacity);
  }

  bool put(std::string_view payload) {
    uint8_t* place = producer.reserve(static_cast<uint32_t>(payload.size()));
    if (place == nullptr) return false;
    std::memcpy(place, payload.data(), payload.size());
    producer.commit();
    return true;
  }

  // The next record as a string; fails the test when there is none.
  std::string take() {
    RecordView view;
    const RingRead read = consumer.next(&view);
    EXPECT_EQ(read, RingRead::kRecord);
    return read == RingRead::kRecord ? std::string(reinterpret_cast<const char*>(view.data), view.size) : "";
  }

  bool is_empty() {
    RecordView view;
    return consumer.next(&view) == RingRead::kEmpty;
  }

  // Moves both ends to `position`, a multiple of 8, with an empty ring.
  void stand_at(uint64_t position) {
    memory.poke_head(position);
    memory.poke_tail(position);
    ASSERT_TRUE(producer.restore(position));
    consumer.restore(position);
  }

  RingMemory memory;
  RingProducer producer;
  RingConsumer consumer;
};

}  // namespace ringside::testing
