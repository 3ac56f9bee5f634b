// The two sides of a handoff (docs/upgrade.md has both state machines drawn). They run on the workers: while the old engine is frozen no
// JavaScript runs on either side. Owned by an engine for as long as one is under way; each ends in exactly one event for TypeScript.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "native/engine/handoff_wire.h"
#include "native/engine/timers.h"

namespace ringside {

class Engine;
class Link;

/// The old engine's side: asked -> offered -> copying -> frozen -> handed over, or back to serving from any of them.
class HandoffGiver {
 public:
  HandoffGiver(Engine* engine, UniqueFd socket);
  ~HandoffGiver();
  HandoffGiver(const HandoffGiver&) = delete;
  HandoffGiver& operator=(const HandoffGiver&) = delete;

  void on_readable();
  /// TypeScript agrees; `blob` is what its successor must know.
  void offer(const std::string& blob, uint32_t freeze_ms);
  void refuse(std::string_view text);
  void expire();
  /// Before a link is destroyed.
  void link_ends(Link* link);
  /// At the end of a turn: the freeze, when everything before it is done.
  void end_turn();
  bool over() const { return step_ == Step::kOver; }

  TimerNode timer;
  int fd() const { return socket_.fd(); }

 private:
  enum class Step : uint8_t { kConnected, kAsked, kOffered, kCopying, kFreezing, kOver };
  struct Batch {
    HandoffMessage message;
    std::vector<int> fds;
  };

  void on_message(const HandoffMessage& message);
  Batch next_batch();
  Result<UniqueFd> memfd_of(const std::string& bytes);
  void copy_on();
  void freeze();
  std::string give_all(int64_t deadline_ns);
  std::string await(HandoffStep step, int64_t deadline_ns);
  void fail(const std::string& why);

  Engine* engine_;
  HandoffSocket socket_;
  Step step_ = Step::kConnected;
  uint32_t pid_ = 0;
  uint32_t freeze_ms_ = 0;
  uint32_t version_ = 0;  // of the state: the newest that both sides know
  std::unordered_set<uint64_t> given_;            // links whose descriptors have gone
  std::unordered_set<uint32_t> given_listeners_;
  static constexpr size_t kMostEndedSegments = 1024;
  std::vector<Segment> ended_segments_;  // of links that ended after their descriptors had gone
};

/// The new engine's side: connected -> offered -> copying -> taken, or failed: then this process can only end.
class HandoffTaker {
 public:
  HandoffTaker(Engine* engine, UniqueFd socket) : engine_(engine), socket_(std::move(socket)) {}

  /// Says hello; `text` names this software.
  void begin(const std::string& text);
  void on_readable();
  /// TypeScript has made the clusters and flows.
  void ready();
  void expire();
  void fail(const std::string& why);
  bool over() const { return over_; }

  TimerNode timer;
  int fd() const { return socket_.fd(); }

 private:
  void on_message(const HandoffMessage& message, ReceivedFds* fds);
  void say(const HandoffMessage& message);
  void take_offer(const HandoffMessage& message, const ReceivedFds& fds);
  void take_state(const HandoffMessage& message, const ReceivedFds& fds);

  Engine* engine_;
  HandoffSocket socket_;
  DescriptorStore descriptors_;
  HandoffStep last_ = HandoffStep::kHello;  // what was done last
  bool over_ = false;
};

}  // namespace ringside
