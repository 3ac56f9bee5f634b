// One direction of a shared-memory link: a single-producer single-consumer ring of byte records, as laid down in
// docs/shm-layout.md. Used by the agent's links and by the app's end. The other side is hostile and may change any
// shared byte at any moment: every index and length is read once into private memory, checked, and only then used;
// one's own index is never read back. No call does more than a bounded amount of work.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringside {

enum class RingRead { kRecord, kEmpty, kViolation };

/// A record inside the ring, valid until release(). The producer can still change the bytes: copy, then trust.
struct RecordView {
  const uint8_t* data = nullptr;
  uint32_t size = 0;
};

/// The writing end. Records are built with reserve()/commit() and become visible together with publish().
class RingProducer {
 public:
  /// Starts at position 0 of a fresh ring. The memory must outlive this object; capacity is a power of two.
  void attach(uint8_t* control_page, uint8_t* data, uint32_t capacity);

  /// Takes over a ring in use at `position`, which must be its published head. False: the shared tail does not
  /// fit that position.
  bool restore(uint64_t position);

  /// Place for one record's payload, or nullptr: no room now, larger than max_payload(), not attached, or
  /// violated(). A second reserve() without commit() takes the first one back.
  uint8_t* reserve(uint32_t payload_bytes);

  /// Makes the reserved record part of the batch. Without a reservation: nothing happens.
  void commit();

  /// Makes the batch visible. True: the consumer sleeps, ring its doorbell.
  bool publish();

  /// True: armed and still no room, wait for the doorbell (also when violated(): look at that first). False:
  /// reserve() of that size succeeds now.
  bool arm_space_wanted(uint32_t payload_bytes);

  bool has_unpublished() const { return head_ != published_; }
  uint32_t max_payload() const;

  /// End of the last committed record.
  uint64_t position() const { return head_; }

  /// The consumer's tail, read once and checked. What lies at or behind it was never released. When the peer's
  /// value makes no sense: the last one that did, and violated() from then on.
  uint64_t consumer_position();

  /// The peer's tail made no sense; the link must close.
  bool violated() const { return violated_; }

  /// Bytes between the consumer's tail and position().
  size_t used_bytes();

 private:
  void refresh_tail();
  uint64_t bytes_needed(uint32_t payload_bytes) const;
  bool has_room(uint64_t needed) const { return capacity_ - (head_ - tail_) >= needed; }

  uint8_t* control_ = nullptr;
  uint8_t* data_ = nullptr;
  uint64_t capacity_ = 0;
  uint64_t head_ = 0;       // private: end of the last committed record
  uint64_t published_ = 0;  // what the shared head says
  uint64_t tail_ = 0;       // the consumer's tail when last read
  uint64_t reserved_needed_ = 0;
  uint32_t reserved_payload_ = 0;
  bool violated_ = false;
};

/// The reading end. next() until kEmpty, copy what is needed, release(); arm_waiting() before sleeping.
class RingConsumer {
 public:
  /// Starts at position 0 of a fresh ring. The memory must outlive this object; capacity is a power of two.
  void attach(uint8_t* control_page, uint8_t* data, uint32_t capacity);

  /// Continues at `position`, a released record boundary of the ring attached to (handoff).
  void restore(uint64_t position);

  /// The next record; pads are skipped. Between two release() calls at most the ring's capacity is returned.
  RingRead next(RecordView* out);

  /// Everything returned by next() so far may be overwritten. True: the producer waits for room, ring its doorbell.
  bool release();

  /// True: armed and empty, the caller may sleep. False: there is more (or a violation that next() reports); the
  /// flag stays set, so the producer may ring once for nothing unless disarm() is called.
  bool arm_waiting();

  /// Takes arm_waiting() back while the caller goes on reading.
  void disarm();

  /// Position behind the last record returned.
  uint64_t position() const { return position_; }

  /// The producer's head, read once and checked; the last sensible one when it makes no sense (then next() reports
  /// the violation once it gets there).
  uint64_t published_position();

  /// Why next() returned kViolation, or nullptr.
  const char* violation() const { return violation_; }

 private:
  bool refresh_head();
  RingRead violate(const char* reason);

  uint8_t* control_ = nullptr;
  uint8_t* data_ = nullptr;
  uint64_t capacity_ = 0;
  uint64_t position_ = 0;  // behind the last record returned
  uint64_t released_ = 0;  // what the shared tail says
  uint64_t head_ = 0;      // the producer's head when last read
  const char* violation_ = nullptr;
};

}  // namespace ringside
