// See ring.h and docs/shm-layout.md. Memory orders are named where they pair.
#include "native/shm/ring.h"

#include <atomic>
#include <cstdint>

#include "native/base/full_fence.h"
#include "native/shm/layout.h"

namespace ringside {
namespace {

using SharedU64 = std::atomic_ref<uint64_t>;
using SharedU32 = std::atomic_ref<uint32_t>;
static_assert(SharedU64::is_always_lock_free && SharedU32::is_always_lock_free,
              "a lock inside shared memory would be the peer's to hold");

SharedU64 u64_at(uint8_t* page, size_t offset) { return SharedU64(*reinterpret_cast<uint64_t*>(page + offset)); }
SharedU32 u32_at(uint8_t* page, size_t offset) { return SharedU32(*reinterpret_cast<uint32_t*>(page + offset)); }

bool is_aligned(uint64_t position) { return position % shm::kRecordAlignment == 0; }

// Length and kind share one aligned word, so a single load reads both exactly once.
void write_record_header(uint8_t* at, uint32_t length, uint32_t kind) {
  u64_at(at, 0).store(uint64_t{kind} << 32 | length, std::memory_order_relaxed);
}

// Clears a flag that the peer set. The caller has put a full fence between its own publication and this, which pairs
// with the fence between the peer's setting of the flag and its re-check: one of the two sees the other. The plain
// load first spares the cache line an exclusive access in the usual case; zero there means the exchange would do nothing.
bool take_flag(SharedU32 flag) {
  if (flag.load(std::memory_order_relaxed) == 0) return false;
  return flag.exchange(0, std::memory_order_acq_rel) != 0;
}

}  // namespace

void RingProducer::attach(uint8_t* control_page, uint8_t* data, uint32_t capacity) {
  *this = RingProducer();
  control_ = control_page;
  data_ = data;
  capacity_ = capacity;
}

bool RingProducer::restore(uint64_t position) {
  if (control_ == nullptr || !is_aligned(position)) return false;
  const uint64_t tail = u64_at(control_, shm::kTailAt).load(std::memory_order_acquire);
  if (position - tail > capacity_ || !is_aligned(tail)) return false;
  head_ = published_ = position;
  tail_ = tail;
  reserved_needed_ = 0;
  violated_ = false;
  return true;
}

uint32_t RingProducer::max_payload() const {
  return capacity_ == 0 ? 0 : shm::max_payload_bytes(static_cast<uint32_t>(capacity_));
}

uint64_t RingProducer::bytes_needed(uint32_t payload_bytes) const {
  const uint64_t record = shm::record_bytes(payload_bytes);
  const uint64_t rest = capacity_ - (head_ & (capacity_ - 1));
  return record <= rest ? record : rest + record;
}

void RingProducer::refresh_tail() {
  // Acquire pairs with the consumer's release of tail: its reads of the bytes end before they are written again.
  const uint64_t tail = u64_at(control_, shm::kTailAt).load(std::memory_order_acquire);
  if (tail - tail_ > published_ - tail_ || !is_aligned(tail)) {
    violated_ = true;
    return;
  }
  tail_ = tail;
}

uint8_t* RingProducer::reserve(uint32_t payload_bytes) {
  reserved_needed_ = 0;
  if (capacity_ == 0 || violated_ || payload_bytes > max_payload()) return nullptr;
  const uint64_t needed = bytes_needed(payload_bytes);
  if (!has_room(needed)) {
    refresh_tail();
    if (violated_ || !has_room(needed)) return nullptr;
  }
  reserved_needed_ = needed;
  reserved_payload_ = payload_bytes;
  const uint64_t start = head_ + needed - shm::record_bytes(payload_bytes);
  return data_ + (start & (capacity_ - 1)) + shm::kRecordHeaderBytes;
}

void RingProducer::commit() {
  if (reserved_needed_ == 0) return;
  const uint64_t record = shm::record_bytes(reserved_payload_);
  const uint64_t pad = reserved_needed_ - record;
  if (pad > 0) {
    write_record_header(data_ + (head_ & (capacity_ - 1)),
                        static_cast<uint32_t>(pad - shm::kRecordHeaderBytes), shm::kKindPad);
  }
  write_record_header(data_ + ((head_ + pad) & (capacity_ - 1)), reserved_payload_, shm::kKindFrame);
  head_ += reserved_needed_;
  reserved_needed_ = 0;
}

bool RingProducer::publish() {
  if (head_ == published_) return false;
  published_ = head_;
  // Release pairs with the consumer's acquire of head: it sees whole records.
  u64_at(control_, shm::kHeadAt).store(head_, std::memory_order_release);
  full_fence();  // pairs with arm_waiting()
  return take_flag(u32_at(control_, shm::kConsumerWaitingAt));
}

bool RingProducer::arm_space_wanted(uint32_t payload_bytes) {
  if (capacity_ == 0 || violated_ || payload_bytes > max_payload()) return true;
  u32_at(control_, shm::kSpaceWantedAt).store(1, std::memory_order_relaxed);
  full_fence();  // pairs with release()
  refresh_tail();
  return violated_ || !has_room(bytes_needed(payload_bytes));
}

uint64_t RingProducer::consumer_position() {
  if (capacity_ != 0 && !violated_) refresh_tail();
  return tail_;
}

size_t RingProducer::used_bytes() { return head_ - consumer_position(); }

void RingConsumer::attach(uint8_t* control_page, uint8_t* data, uint32_t capacity) {
  *this = RingConsumer();
  control_ = control_page;
  data_ = data;
  capacity_ = capacity;
}

void RingConsumer::restore(uint64_t position) {
  position_ = released_ = head_ = position;
  violation_ = nullptr;
}

bool RingConsumer::refresh_head() {
  // Acquire pairs with the producer's release of head: the records below it are whole.
  const uint64_t head = u64_at(control_, shm::kHeadAt).load(std::memory_order_acquire);
  const uint64_t used = head - released_;
  if (used > capacity_ || used < head_ - released_ || !is_aligned(head)) return false;
  head_ = head;
  return true;
}

RingRead RingConsumer::violate(const char* reason) {
  violation_ = reason;
  return RingRead::kViolation;
}

RingRead RingConsumer::next(RecordView* out) {
  if (violation_ != nullptr) return RingRead::kViolation;
  if (capacity_ == 0) return RingRead::kEmpty;
  // Two rounds at most: a pad ends at the ring's end, and one at its beginning would be larger than a record may be.
  for (int round = 0; round < 2; ++round) {
    if (position_ == head_) {
      if (!refresh_head()) return violate("ring head out of range");
      if (position_ == head_) return RingRead::kEmpty;
    }
    const uint64_t offset = position_ & (capacity_ - 1);
    const uint64_t rest = capacity_ - offset;
    const uint64_t word = u64_at(data_, offset).load(std::memory_order_relaxed);
    const uint32_t length = static_cast<uint32_t>(word);
    const uint32_t kind = static_cast<uint32_t>(word >> 32);
    const uint64_t record = shm::record_bytes(length);
    if (record > capacity_ / 2) return violate("ring record larger than half the ring");
    if (record > head_ - position_) return violate("ring record reaches beyond what is published");
    if (record > rest) return violate("ring record wraps");
    if (kind == shm::kKindFrame) {
      out->data = data_ + offset + shm::kRecordHeaderBytes;
      out->size = length;
      position_ += record;
      return RingRead::kRecord;
    }
    if (kind != shm::kKindPad) return violate("ring record of unknown kind");
    if (uint64_t{length} + shm::kRecordHeaderBytes != rest) return violate("ring pad does not end at the ring's end");
    position_ += record;
  }
  return violate("two ring pads in a row");
}

bool RingConsumer::release() {
  if (position_ == released_) return false;
  released_ = position_;
  // Release pairs with the producer's acquire of tail: our copying out ends before it overwrites.
  u64_at(control_, shm::kTailAt).store(position_, std::memory_order_release);
  full_fence();  // pairs with arm_space_wanted()
  return take_flag(u32_at(control_, shm::kSpaceWantedAt));
}

bool RingConsumer::arm_waiting() {
  if (capacity_ == 0) return true;
  if (violation_ != nullptr || position_ != head_) return false;
  u32_at(control_, shm::kConsumerWaitingAt).store(1, std::memory_order_relaxed);
  full_fence();  // pairs with publish()
  return refresh_head() && position_ == head_;
}

void RingConsumer::disarm() {
  if (capacity_ != 0) u32_at(control_, shm::kConsumerWaitingAt).store(0, std::memory_order_relaxed);
}

uint64_t RingConsumer::published_position() {
  if (capacity_ != 0) refresh_head();
  return head_;
}

}  // namespace ringside
