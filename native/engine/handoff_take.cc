// The new engine's side of a handoff. It checks everything, touches nothing that is shared, and then sends one message: that this was sent is
// the commit. Before it every failure ends in an event with the reason, after which this process can only leave.
#include <sys/epoll.h>

#include "native/codec/protobuf_fields.h"
#include "native/engine/engine.h"
#include "native/engine/handoff.h"
#include "native/engine/handoff_state.h"

namespace ringside {

void HandoffTaker::begin(const std::string& text) {
  uint32_t pid = 0;
  if (!socket_.peer_is_trusted(&pid)) {
    fail("the takeover socket belongs to another user");
    return;
  }
  HandoffMessage message;
  message.step = HandoffStep::kHello;
  message.version = engine_->options_.handoff_version;
  message.oldest_version = engine_->options_.oldest_handoff_version;
  message.text = text.substr(0, 256);
  say(message);
}

/// Where it cannot be said any more, the other side may have left word why.
void HandoffTaker::say(const HandoffMessage& message) {
  if (socket_.send(message)) return;
  on_readable();
  fail("the old agent went away");
}

void HandoffTaker::on_readable() {
  while (!over_) {
    HandoffMessage message;
    ReceivedFds fds;
    switch (socket_.receive(&message, &fds)) {
      case HandoffRead::kNothing:
        return;
      case HandoffRead::kEnded:
        fail("the old agent closed the handoff");
        return;
      case HandoffRead::kMalformed:
        fail("the old agent sent something that is no message of a handoff");
        return;
      case HandoffRead::kMessage:
        on_message(message, &fds);
    }
  }
}

void HandoffTaker::on_message(const HandoffMessage& message, ReceivedFds* fds) {
  if (message.step == HandoffStep::kRefused) {
    fail("the old agent refused: " + message.text);
  } else if (message.step == HandoffStep::kOffer && last_ == HandoffStep::kHello) {
    take_offer(message, *fds);
  } else if (message.step == HandoffStep::kDescriptors && last_ == HandoffStep::kReady) {
    if (const Result<Unit> taken = descriptors_.take(message, fds); !taken) {
      fail(taken.error().text);
      return;
    }
    HandoffMessage received;
    received.step = HandoffStep::kReceived;
    say(received);
  } else if (message.step == HandoffStep::kState && last_ == HandoffStep::kReady) {
    take_state(message, *fds);
  } else {
    fail("the old agent is out of step");
  }
}

void HandoffTaker::take_offer(const HandoffMessage& message, const ReceivedFds& fds) {
  const EngineOptions& mine = engine_->options_;
  if (message.version < mine.oldest_handoff_version || message.version > mine.handoff_version) {
    fail("the old agent writes state version " + std::to_string(message.version) + ", this one reads " +
         std::to_string(mine.oldest_handoff_version) + " to " + std::to_string(mine.handoff_version));
    return;
  }
  const Result<std::string> blob = fds.count == 1 ? from_memfd(fds.fds[0].get()) : Error{Code::kInvalidArgument, "the offer came without its contents"};
  if (!blob) {
    fail(blob.error().text);
    return;
  }
  last_ = HandoffStep::kOffer;
  engine_->events_.add(EventType::kHandoffOffered, [&](ByteWriter& out) { out.bytes(blob.value()); });
}

void HandoffTaker::ready() {
  if (over_ || last_ != HandoffStep::kOffer) return;
  last_ = HandoffStep::kReady;
  HandoffMessage message;
  message.step = HandoffStep::kReady;
  say(message);
}

void HandoffTaker::take_state(const HandoffMessage& message, const ReceivedFds& fds) {
  const Result<std::string> bytes = fds.count == 1 ? from_memfd(fds.fds[0].get()) : Error{Code::kInvalidArgument, "the state came without its contents"};
  if (!bytes) {
    fail(bytes.error().text);
    return;
  }
  EngineState state;
  if (!decode_fields(bytes.value(), &state)) {
    fail("the state handed over does not decode");
    return;
  }
  if (const Result<Unit> imported = engine_->import_state(state, &descriptors_); !imported) {
    fail(imported.error().text);
    return;
  }
  HandoffMessage taken;
  taken.step = HandoffStep::kTaken;
  if (!socket_.send(taken)) {
    fail("the old agent took back what it had offered");
    return;
  }
  over_ = true;
  engine_->timers_.clear(&timer);
  // What was copied ahead and belongs to no link any more must not keep its peer waiting for the end.
  descriptors_ = DescriptorStore{};
  engine_->report_taken_over(static_cast<double>(engine_->clock_->now_ns() - static_cast<int64_t>(message.frozen_at_ns)) / 1000.0);
  engine_->resume_imported();
}

void HandoffTaker::expire() { fail("the handoff took too long"); }

void HandoffTaker::fail(const std::string& why) {
  if (over_) return;
  over_ = true;
  socket_.refuse(why);
  engine_->let_go();
  engine_->events_.add(EventType::kHandoffFailed, [&](ByteWriter& out) { out.bytes(why); });
}

// The engine's part.

void Engine::on_command(TakeOver& command) {
  if (giver_ || taker_ || let_go_) return;
  Result<UniqueFd> socket = connect_handoff(command.path);
  if (!socket) {
    events_.add(EventType::kHandoffFailed, [&](ByteWriter& out) { out.bytes(socket.error().text); });
    return;
  }
  const int fd = socket.value().get();
  taker_ = std::make_unique<HandoffTaker>(this, socket.take());
  taker_->timer.kind = TimerKind::kHandoff;
  taker_->timer.slot = 1;
  timers_.set(&taker_->timer, now_ns_ + command.deadline_ms * kNsPerMs);
  if (!poll_add(fd, EPOLLIN | EPOLLRDHUP, poll_data(PollTag::kHandoff))) {
    taker_->fail("no memory to poll the takeover's socket");
    return;
  }
  taker_->begin(command.text);
}

void Engine::on_command(TakeOverReady&) {
  if (taker_) taker_->ready();
}

void Engine::report_taken_over(double freeze_us) {
  events_.add(EventType::kTakenOver, [&](ByteWriter& out) {
    out.f64(freeze_us);
    out.u32(pending_.size());
    out.u32(static_cast<uint32_t>(imported_parked_.size()));
    out.u32(static_cast<uint32_t>(listeners_.size()));
    for (const Listener& listener : listeners_) {
      out.u32(listener.id);
      out.u8(static_cast<uint8_t>(listener.kind));
      out.u8(static_cast<uint8_t>(listener.role));
      out.u32(listener.kind == LinkKind::kTcp ? bound_port(listener.fd.get()) : 0);
    }
    out.u32(live_links_);
    for (const LinkSlot& slot : links_) {
      if (slot.link) out.u64(slot.link->handle.pack());
    }
  });
}

}  // namespace ringside
