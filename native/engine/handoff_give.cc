// The old engine's side of a handoff. Until it has read TAKEN everything can be undone by doing nothing: the freeze is one call that does not return
// to the loop before the outcome is certain.
#include <sys/epoll.h>

#include <algorithm>

#include "native/codec/protobuf_fields.h"
#include "native/engine/engine.h"
#include "native/engine/handoff.h"
#include "native/engine/handoff_state.h"
#include "native/link/shm_link.h"

namespace ringside {

/// What an app maps that is gone, and what is charged to this process's group, goes only now.
HandoffGiver::~HandoffGiver() {
  for (Segment& segment : ended_segments_) segment.punch_out();
}

/// A link ends whose descriptors may be on their way: what the new process is about to check must still be there then.
void HandoffGiver::link_ends(Link* link) {
  if (over() || link->kind != LinkKind::kShm || !given_.contains(link->handle.pack())) return;
  if (!(link->peer_closed || link->condemned) || ended_segments_.size() >= kMostEndedSegments) return;
  ended_segments_.push_back(static_cast<ShmLink*>(link)->release_segment());
}

HandoffGiver::HandoffGiver(Engine* engine, UniqueFd socket) : engine_(engine), socket_(std::move(socket)) {
  timer.kind = TimerKind::kHandoff;
  engine_->timers_.set(&timer, engine_->now_ns_ + engine_->options_.takeover_deadline_ms * kNsPerMs);
  if (!socket_.peer_is_trusted(&pid_)) refuse("this user may not take over from this agent");
}

void HandoffGiver::on_readable() {
  while (!over()) {
    HandoffMessage message;
    ReceivedFds fds;
    switch (socket_.receive(&message, &fds)) {
      case HandoffRead::kNothing:
        return;
      case HandoffRead::kEnded:
        fail("the new process went away");
        return;
      case HandoffRead::kMalformed:
        fail("the new process sent something that is no message of a handoff");
        return;
      case HandoffRead::kMessage:
        on_message(message);
        if (step_ == Step::kFreezing) return;
    }
  }
}

void HandoffGiver::on_message(const HandoffMessage& message) {
  if (message.step == HandoffStep::kRefused) {
    fail("the new process gave up: " + message.text);
  } else if (message.step == HandoffStep::kHello && step_ == Step::kConnected) {
    const EngineOptions& mine = engine_->options_;
    version_ = std::min(mine.handoff_version, message.version);
    if (version_ < std::max(mine.oldest_handoff_version, message.oldest_version)) {
      refuse("this agent writes state versions " + std::to_string(mine.oldest_handoff_version) + " to " +
             std::to_string(mine.handoff_version) + ", the new process reads " + std::to_string(message.oldest_version) + " to " +
             std::to_string(message.version));
      return;
    }
    step_ = Step::kAsked;
    engine_->events_.add(EventType::kHandoffAsked, [&](ByteWriter& out) {
      out.u32(pid_);
      out.bytes(message.text);
    });
  } else if (message.step == HandoffStep::kReady && step_ == Step::kOffered) {
    step_ = Step::kCopying;
    copy_on();
  } else if (message.step == HandoffStep::kReceived && step_ == Step::kCopying) {
    copy_on();
  } else {
    fail("the new process is out of step");
  }
}

void HandoffGiver::offer(const std::string& blob, uint32_t freeze_ms) {
  if (step_ != Step::kAsked) return;
  freeze_ms_ = freeze_ms;
  HandoffMessage message;
  message.step = HandoffStep::kOffer;
  message.version = version_;
  const Result<UniqueFd> memfd = memfd_of(blob);
  if (!memfd) {
    refuse(memfd.error().text);
  } else if (!socket_.send(message, {memfd.value().get()})) {
    fail("the new process went away");
  } else {
    step_ = Step::kOffered;
  }
}

/// A process that has used up its descriptors has some for this.
Result<UniqueFd> HandoffGiver::memfd_of(const std::string& bytes) {
  Result<UniqueFd> made = to_memfd(bytes);
  if (made || engine_->reserve_.lent()) return made;
  engine_->reserve_.lend();
  return to_memfd(bytes);
}

void HandoffGiver::refuse(std::string_view text) {
  if (over()) return;
  socket_.refuse(text);
  fail("refused: " + std::string(text));
}

void HandoffGiver::expire() {
  std::string_view waiting_for = "its descriptors have not all been taken";
  if (step_ == Step::kConnected) waiting_for = "the new process has not said what it reads";
  if (step_ == Step::kAsked) waiting_for = "publications, or answers to old clients, that were under way have not ended";
  if (step_ == Step::kOffered) waiting_for = "the new process has not made its clusters";
  refuse("the handoff took too long: " + std::string(waiting_for));
}

void HandoffGiver::fail(const std::string& why) {
  if (over()) return;
  const bool told = step_ != Step::kConnected;
  step_ = Step::kOver;
  engine_->timers_.clear(&timer);
  socket_.shut();
  // Whoever connected and never came as far as a question is not worth a word.
  if (told) engine_->events_.add(EventType::kHandoffFailed, [&](ByteWriter& out) { out.bytes(why); });
}

/// Descriptors that have not gone yet, as many as one message takes.
HandoffGiver::Batch HandoffGiver::next_batch() {
  Batch batch;
  batch.message.step = HandoffStep::kDescriptors;
  for (const Engine::Listener& listener : engine_->listeners_) {
    if (!listener.live || batch.fds.size() + 1 > kMaxFdsPerMessage || !given_listeners_.insert(listener.id).second) continue;
    batch.message.parcels.push_back({0, listener.id, 0, 1});
    batch.fds.push_back(listener.fd.get());
  }
  for (const Engine::LinkSlot& slot : engine_->links_) {
    const Link* link = slot.link.get();
    if (link == nullptr || link->state == LinkState::kClosing) continue;
    // One that is still opening may go on over shared memory, with other descriptors under the same handle.
    if (link->state == LinkState::kOpening && link->role == LinkRole::kApp && step_ != Step::kFreezing) continue;
    const bool is_shm = link->kind == LinkKind::kShm;
    if (batch.fds.size() + (is_shm ? 4 : 1) > kMaxFdsPerMessage) break;
    if (!given_.insert(link->handle.pack()).second) continue;
    HandoffParcel parcel{link->handle.pack(), 0, 0, 1};
    batch.fds.push_back(link->socket_fd());
    if (is_shm) {
      const auto* shm = static_cast<const ShmLink*>(link);
      parcel.ring_bytes = shm->segment_ring_bytes();
      parcel.count = 4;
      batch.fds.insert(batch.fds.end(), {shm->segment_fd(), shm->doorbell_fd(), shm->pipe_fd()});
    }
    batch.message.parcels.push_back(parcel);
  }
  return batch;
}

/// While everything goes on: the next message of descriptors, or the freeze at the end of this turn when there are none left. One message
/// at a time, because the kernel bounds how many descriptors may be on their way.
void HandoffGiver::copy_on() {
  const Batch batch = next_batch();
  if (batch.fds.empty()) {
    step_ = Step::kFreezing;
  } else if (!socket_.send(batch.message, batch.fds)) {
    fail("descriptors could not be sent to the new process");
  }
}

void HandoffGiver::end_turn() {
  if (step_ == Step::kFreezing) freeze();
}

void HandoffGiver::freeze() {
  for (const Engine::LinkSlot& slot : engine_->links_) {
    if (version_ >= kLegacyLinksStateVersion) break;
    if (slot.link == nullptr || slot.link->protocol == LinkProtocol::kMesh) continue;
    refuse("connections of the legacy protocol are open, which the new process's version of the state (" + std::to_string(version_) +
           ") cannot move: take over with a later build, or drain and restart");
    return;
  }
  const int64_t frozen_at_ns = engine_->clock_->now_ns();
  const std::string problem = give_all(frozen_at_ns + freeze_ms_ * kNsPerMs);
  if (!problem.empty()) {
    fail(problem);
    return;
  }
  const uint32_t links = engine_->live_links_;
  const uint32_t pendings = engine_->pending_.size();
  const uint32_t parked = engine_->parked_.size() + engine_->waiting_.size();
  step_ = Step::kOver;
  engine_->let_go();
  engine_->events_.add(EventType::kHandedOver, [&](ByteWriter& out) {
    out.f64(static_cast<double>(engine_->clock_->now_ns() - frozen_at_ns) / 1000.0);
    out.u32(links);
    out.u32(pendings);
    out.u32(parked);
  });
}

/// Everything from the freeze to the outcome. Empty: the other side has it all. Else why not, and nothing has happened.
std::string HandoffGiver::give_all(int64_t deadline_ns) {
  for (;;) {
    const Batch batch = next_batch();
    if (batch.fds.empty()) break;
    if (!socket_.send(batch.message, batch.fds)) return "descriptors could not be sent to the new process";
    if (std::string problem = await(HandoffStep::kReceived, deadline_ns); !problem.empty()) return problem;
  }
  HandoffMessage message;
  message.step = HandoffStep::kState;
  message.version = version_;
  message.frozen_at_ns = static_cast<uint64_t>(engine_->clock_->now_ns());
  const Result<UniqueFd> memfd = memfd_of(encode_fields(engine_->export_state()));
  if (!memfd) {
    socket_.refuse(memfd.error().text);
    return memfd.error().text;
  }
  if (!socket_.send(message, {memfd.value().get()})) return "the new process went away";
  return await(HandoffStep::kTaken, deadline_ns);
}

/// Waits for a message of that step. At the deadline the socket is shut first and read once more then: whatever the other side has sent
/// successfully counts, and it sends nothing successfully any more. So both agree on the outcome.
std::string HandoffGiver::await(HandoffStep step, int64_t deadline_ns) {
  bool shut = false;
  for (;;) {
    if (!shut && !socket_.wait_readable(deadline_ns - engine_->clock_->now_ns())) {
      socket_.shut();
      shut = true;
    }
    HandoffMessage message;
    ReceivedFds fds;
    switch (socket_.receive(&message, &fds)) {
      case HandoffRead::kNothing:
        continue;
      case HandoffRead::kEnded:
        return shut ? "the new process did not answer in time" : "the new process went away";
      case HandoffRead::kMalformed:
        return "the new process sent something that is no message of a handoff";
      case HandoffRead::kMessage:
        if (message.step == step) return {};
        if (message.step == HandoffStep::kRefused) return "the new process gave up: " + message.text;
        return "the new process is out of step";
    }
  }
}

// The engine's part.

void Engine::accept_successor(UniqueFd fd) {
  if (giver_ || taker_) {
    HandoffSocket(std::move(fd)).refuse("another takeover is under way");
    return;
  }
  const int raw = fd.get();
  giver_ = std::make_unique<HandoffGiver>(this, std::move(fd));
  if (!poll_add(raw, EPOLLIN | EPOLLRDHUP, poll_data(PollTag::kHandoff))) giver_->refuse("no memory to poll the takeover's socket");
}

/// Between two turns: here nobody is inside of what ends.
void Engine::end_handoff_turn() {
  if (giver_) giver_->end_turn();
  if (giver_ && giver_->over()) {
    giver_.reset();
    if (reserve_.lent()) reserve_.take_back();
  }
  if (taker_ && taker_->over()) taker_.reset();
  if (!events_.empty()) publish_events();
}

void Engine::on_command(OfferHandoff& command) {
  if (giver_) giver_->offer(command.blob, command.freeze_ms);
}
void Engine::on_command(RefuseHandoff& command) {
  if (giver_) giver_->refuse(command.text);
  if (taker_) taker_->fail(command.text);
}

}  // namespace ringside
