// Fuzzes both ends of a ring against a peer that writes whatever it likes into the shared pages between any two
// calls. The input is a list of operations. What must hold: no access outside the ring (its memory is an allocation
// of its own), records within the limits, a bounded number of records between releases, violations that stay.
#include <cstring>
#include <memory>

#include "native/base/bytes.h"
#include "native/fuzz/require.h"
#include "native/shm/layout.h"
#include "native/shm/ring.h"

using namespace ringside;

namespace {

// Far below what a segment allows, so that wraps and a full ring are a few operations away.
constexpr uint32_t kCapacity = 256;

struct Shared {
  alignas(shm::kPageBytes) uint8_t control[shm::kControlPageBytes];
};

struct Operations {
  const uint8_t* p;
  const uint8_t* end;
  uint8_t u8() { return p < end ? *p++ : 0; }
  uint64_t number(size_t bytes) {
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; ++i) v |= uint64_t{u8()} << (8 * i);
    return v;
  }
};

void poke(Operations* in, uint8_t* control, uint8_t* data) {
  const uint8_t what = in->u8();
  switch (what % 6) {
    case 0:
      return store_u64(control + shm::kHeadAt, in->number(8));
    case 1:
      return store_u64(control + shm::kTailAt, in->number(8));
    case 2:
      return store_u64(control + shm::kHeadAt, load_u64(control + shm::kHeadAt) + 8 * in->number(1));
    case 3:
      return store_u64(control + shm::kTailAt, load_u64(control + shm::kTailAt) + 8 * in->number(1));
    case 4:
      return store_u32(control + (what < 128 ? shm::kConsumerWaitingAt : shm::kSpaceWantedAt), in->u8());
    default: {
      uint8_t* record = data + 8 * (in->u8() % (kCapacity / 8));
      const uint8_t kind = in->u8();
      // Mostly what could pass for a record: only those move the consumer to where the interesting places are.
      store_u32(record, kind < 240 ? in->u8() : static_cast<uint32_t>(in->number(4)));
      store_u32(record + 4, kind % 16 < 12 ? shm::kKindFrame : kind % 4);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const auto shared = std::make_unique<Shared>();
  std::memset(shared->control, 0, sizeof shared->control);
  const std::unique_ptr<uint64_t[]> memory(new uint64_t[kCapacity / 8]());
  auto* const data = reinterpret_cast<uint8_t*>(memory.get());
  RingProducer producer;
  RingConsumer consumer;
  producer.attach(shared->control, data, kCapacity);
  consumer.attach(shared->control, data, kCapacity);

  Operations in{bytes, bytes + size};
  uint32_t unreleased_bytes = 0;
  const char* violation = nullptr;
  while (in.p < in.end) {
    switch (in.u8() % 8) {
      case 0: {
        const uint32_t payload = in.u8();
        uint8_t* place = producer.reserve(payload);
        if (place == nullptr) break;
        REQUIRE(payload <= producer.max_payload());
        REQUIRE(place >= data + shm::kRecordHeaderBytes && place + payload <= data + kCapacity);
        std::memset(place, 0xAB, payload);
        if (in.u8() % 8 != 0) producer.commit();
        break;
      }
      case 1:
        producer.publish();
        break;
      case 2: {
        const uint32_t payload = in.u8();
        const bool must_wait = producer.arm_space_wanted(payload);
        if (!must_wait) REQUIRE(producer.reserve(payload) != nullptr);
        break;
      }
      case 3: {
        RecordView view;
        const RingRead read = consumer.next(&view);
        if (violation != nullptr) REQUIRE(read == RingRead::kViolation);
        if (read == RingRead::kViolation) violation = consumer.violation();
        if (read != RingRead::kRecord) break;
        REQUIRE(view.data >= data + shm::kRecordHeaderBytes && view.data + view.size <= data + kCapacity);
        REQUIRE(shm::record_bytes(view.size) <= kCapacity / 2);
        unreleased_bytes += static_cast<uint32_t>(shm::record_bytes(view.size));
        REQUIRE(unreleased_bytes <= kCapacity);
        break;
      }
      case 4:
        consumer.release();
        unreleased_bytes = 0;
        break;
      case 5:
        if (!consumer.arm_waiting()) consumer.disarm();
        break;
      case 6:
        REQUIRE(producer.used_bytes() <= kCapacity);
        REQUIRE(consumer.published_position() - consumer.position() <= kCapacity);
        break;
      default:
        poke(&in, shared->control, data);
    }
    REQUIRE(consumer.position() % shm::kRecordAlignment == 0);
    REQUIRE(producer.position() % shm::kRecordAlignment == 0);
  }
  return 0;
}
