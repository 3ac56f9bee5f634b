// A model of one ring's sleeping-flag protocols, small enough to try every interleaving of its two ends: which memory
// operation follows which in ring.cc, with the doorbells and the loops that drive them. Used by wakeup_model_test.cc. A
// state in which neither end can move although not all is done is a lost wake-up.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <unordered_set>
#include <vector>

namespace ringside::testing {

// How stores reach the other end. kTso: in order, but later than the storing end goes on (x86). kPso: besides, stores to
// different places may overtake each other (as on weaker machines).
enum class Memory : uint8_t { kSequential, kTso, kPso };

// What a careless change could take away. The model with any of these must lose a wake-up.
enum Mutation : uint32_t {
  kNone = 0,
  kNoFenceAfterHead = 1u << 0,
  kNoFenceAfterWaiting = 1u << 1,
  kNoRecheckOfHead = 1u << 2,
  kNoFenceAfterTail = 1u << 3,
  kNoFenceAfterWanted = 1u << 4,
  kNoRecheckOfTail = 1u << 5,
  kClearsBellAfterArming = 1u << 6,
  kSleepsUnarmed = 1u << 7,
  kWaitsWithUnpublished = 1u << 8,
  kLooksBeforeHead = 1u << 9,
};

struct Model {
  Memory memory = Memory::kSequential;
  uint32_t mutations = kNone;
  uint8_t records = 3;
  uint8_t capacity = 1;  // in records
};

struct Verdict {
  size_t states = 0;
  bool lost_wakeup = false;
  bool overran = false;
  bool finished = false;  // some path came to its end
};

enum Shared : uint8_t { kHead, kTail, kWaiting, kWanted, kSharedCount };

struct Store {
  uint8_t place;
  uint8_t value;
};

// One end: where it stands, its private numbers, and the stores nobody else sees yet.
struct End {
  uint8_t at = 0;
  uint8_t position = 0;   // producer: end of the batch; consumer: behind the last record read
  uint8_t told = 0;       // what it stored last: published, released
  uint8_t peer_seen = 0;  // the other's index when last read
  uint8_t stores = 0;
  Store buffer[5] = {};
};

struct State {
  uint8_t shared[kSharedCount] = {};
  uint8_t consumer_bell = 0;
  uint8_t producer_bell = 0;
  End producer;
  End consumer;
};
static_assert(sizeof(State) == 6 + 2 * 15, "no padding: states are compared as bytes");

class Explorer {
 public:
  explicit Explorer(const Model& model) : model_(model) {}

  Verdict explore() {
    add(State{});
    while (!open_.empty()) {
      const State state = open_.back();
      open_.pop_back();
      const size_t before = successors_;
      flush(state, &State::producer);
      flush(state, &State::consumer);
      step_producer(state);
      step_consumer(state);
      if (successors_ != before) continue;
      if (state.producer.at == kProducerDone && state.consumer.at == kConsumerDone) {
        verdict_.finished = true;
      } else {
        verdict_.lost_wakeup = true;
      }
    }
    verdict_.states = seen_.size();
    return verdict_;
  }

 private:
  enum ProducerAt : uint8_t {
    kReserve,
    kReadTail,
    kPublish,
    kPublishUnseen,
    kFenceHead,
    kLookAtWaiting,
    kTakeWaiting,
    kRingConsumer,
    kWant,
    kFenceWanted,
    kRereadTail,
    kProducerSleeps,
    kProducerDone,
  };
  enum ConsumerAt : uint8_t {
    kNext,
    kReadHead,
    kRelease,
    kFenceTail,
    kLookAtWanted,
    kTakeWanted,
    kRingProducer,
    kArm,
    kFenceWaiting,
    kRereadHead,
    kDisarm,
    kConsumerSleeps,
    kClearBellLate,
    kConsumerDone,
  };

  bool without(Mutation m) const { return (model_.mutations & m) != 0; }

  void add(const State& state) {
    ++successors_;
    std::string key(sizeof state, '\0');
    std::memcpy(key.data(), &state, sizeof state);
    if (state.producer.position > state.consumer.told + model_.capacity) verdict_.overran = true;
    if (seen_.insert(std::move(key)).second) open_.push_back(state);
  }

  // Any store that may become visible next does so, as a step of its own.
  void flush(const State& state, End State::*end) {
    const End& from = state.*end;
    std::array<bool, kSharedCount> overtaken{};
    for (uint8_t i = 0; i < from.stores; ++i) {
      const Store store = from.buffer[i];
      if (i > 0 && (model_.memory != Memory::kPso || overtaken[store.place])) continue;
      overtaken[store.place] = true;
      State next = state;
      End& to = next.*end;
      next.shared[store.place] = store.value;
      for (uint8_t k = i; k + 1 < to.stores; ++k) to.buffer[k] = to.buffer[k + 1];
      to.buffer[--to.stores] = Store{};
      add(next);
    }
  }

  void store(State& state, End& end, Shared place, uint8_t value) const {
    if (model_.memory == Memory::kSequential) {
      state.shared[place] = value;
    } else {
      end.buffer[end.stores++] = Store{place, value};
    }
  }
  // Room for another store: a real buffer is bounded too.
  static bool can_store(const End& end) { return end.stores < std::size(End{}.buffer); }
  static bool drained(const End& end) { return end.stores == 0; }

  uint8_t load(const State& state, const End& end, Shared place) const {
    for (uint8_t i = end.stores; i > 0; --i) {
      if (end.buffer[i - 1].place == place) return end.buffer[i - 1].value;
    }
    return state.shared[place];
  }

  void go(State state, End State::*end, uint8_t at) {
    (state.*end).at = at;
    add(state);
  }

  void step_producer(const State& s) {
    State n = s;
    End& p = n.producer;
    const auto to = [&](uint8_t at) { go(n, &State::producer, at); };
    const bool has_room = p.position - p.peer_seen < model_.capacity;
    switch (p.at) {
      case kReserve:
        if (p.position == model_.records) return to(p.told == p.position ? kProducerDone : kPublish);
        if (!has_room) return to(kReadTail);
        ++p.position;
        to(kReserve);  // a batch grows
        return to(kPublish);
      case kReadTail:
        p.peer_seen = load(s, p, kTail);
        if (p.position - p.peer_seen < model_.capacity) return to(kReserve);
        return to(p.told != p.position && !without(kWaitsWithUnpublished) ? kPublish : kWant);
      case kPublish:
        if (without(kLooksBeforeHead) && load(s, p, kWaiting) == 0) return to(kPublishUnseen);
        if (!can_store(p)) return;
        store(n, p, kHead, p.position);
        p.told = p.position;
        return to(without(kNoFenceAfterHead) ? kLookAtWaiting : kFenceHead);
      case kPublishUnseen:
        if (!can_store(p)) return;
        store(n, p, kHead, p.position);
        p.told = p.position;
        return to(kReserve);
      case kFenceHead:
        if (drained(p)) to(kLookAtWaiting);
        return;
      case kLookAtWaiting:
        return to(load(s, p, kWaiting) == 0 ? kReserve : kTakeWaiting);
      case kTakeWaiting: {
        if (!drained(p)) return;  // an exchange is a fence too
        const bool was_set = n.shared[kWaiting] != 0;
        n.shared[kWaiting] = 0;
        return to(was_set ? kRingConsumer : kReserve);
      }
      case kRingConsumer:
        n.consumer_bell = 1;
        return to(kReserve);
      case kWant:
        if (!can_store(p)) return;
        store(n, p, kWanted, 1);
        if (without(kNoRecheckOfTail)) return to(kProducerSleeps);
        return to(without(kNoFenceAfterWanted) ? kRereadTail : kFenceWanted);
      case kFenceWanted:
        if (drained(p)) to(kRereadTail);
        return;
      case kRereadTail:
        p.peer_seen = load(s, p, kTail);
        return to(p.position - p.peer_seen < model_.capacity ? kReserve : kProducerSleeps);
      case kProducerSleeps:
        if (s.producer_bell == 0) return;
        n.producer_bell = 0;
        return to(kReserve);
      default:
        return;
    }
  }

  void step_consumer(const State& s) {
    State n = s;
    End& c = n.consumer;
    const auto to = [&](uint8_t at) { go(n, &State::consumer, at); };
    switch (c.at) {
      case kNext:
        if (c.position == c.peer_seen) return to(kReadHead);
        ++c.position;
        to(kNext);  // drains on
        return to(kRelease);
      case kReadHead:
        c.peer_seen = load(s, c, kHead);
        if (c.position != c.peer_seen) return to(kNext);
        if (c.told != c.position) return to(kRelease);
        if (c.position == model_.records) return to(kConsumerDone);
        return to(without(kSleepsUnarmed) ? kConsumerSleeps : kArm);
      case kRelease:
        if (!can_store(c)) return;
        store(n, c, kTail, c.position);
        c.told = c.position;
        return to(without(kNoFenceAfterTail) ? kLookAtWanted : kFenceTail);
      case kFenceTail:
        if (drained(c)) to(kLookAtWanted);
        return;
      case kLookAtWanted:
        return to(load(s, c, kWanted) == 0 ? kNext : kTakeWanted);
      case kTakeWanted: {
        if (!drained(c)) return;
        const bool was_set = n.shared[kWanted] != 0;
        n.shared[kWanted] = 0;
        return to(was_set ? kRingProducer : kNext);
      }
      case kRingProducer:
        n.producer_bell = 1;
        return to(kNext);
      case kArm:
        if (!can_store(c)) return;
        store(n, c, kWaiting, 1);
        if (without(kNoRecheckOfHead)) return to(kConsumerSleeps);
        return to(without(kNoFenceAfterWaiting) ? kRereadHead : kFenceWaiting);
      case kFenceWaiting:
        if (drained(c)) to(kRereadHead);
        return;
      case kRereadHead:
        c.peer_seen = load(s, c, kHead);
        if (c.position == c.peer_seen) return to(without(kClearsBellAfterArming) ? kClearBellLate : kConsumerSleeps);
        to(kNext);  // the flag may stay set
        return to(kDisarm);
      case kDisarm:
        if (!can_store(c)) return;
        store(n, c, kWaiting, 0);
        return to(kNext);
      case kClearBellLate:
        n.consumer_bell = 0;
        return to(kConsumerSleeps);
      case kConsumerSleeps:
        if (s.consumer_bell == 0) return;
        if (!without(kClearsBellAfterArming)) n.consumer_bell = 0;
        return to(kNext);
      default:
        return;
    }
  }

  Model model_;
  Verdict verdict_;
  size_t successors_ = 0;
  std::unordered_set<std::string> seen_;
  std::vector<State> open_;
};

}  // namespace ringside::testing
