// A link to an old client: stock Redis commands come in, GETs go on as mesh requests, replies leave in the order of the commands
// (docs/legacy.md). What a client says on opening is answered so that it carries on. Reading stops while as many commands as may be
// under way await their replies, so a client that only sends stops itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "native/codec/resp.h"
#include "native/link/legacy_link.h"
#include "native/link/legacy_transaction.h"

namespace ringside {

/// Commands of one connection that may await their replies.
inline constexpr uint32_t kMaxPipelined = 1024;

class LegacyCallerLink final : public LegacyLink {
 public:
  struct Settings {
    Bounds bounds;
    std::string_view token;             // to be shown with AUTH before anything else; empty: none
    std::function<std::string()> info;  // what INFO says: JSON
  };
  LegacyCallerLink(LinkKind kind, LinkRole role, std::unique_ptr<Channel> channel, TurnArena* arena, Settings settings);

  // Nothing is ever sent to an old client that awaits a reply of its.
  bool never_sent(uint64_t) override { return false; }
  uint64_t end_position() const override { return 0; }
  const uint8_t* queued_frame(uint64_t, size_t) const override { return nullptr; }
  size_t outbound_bytes() const override { return out_.size() + waiting_bytes_; }
  std::string unread() const override { return running_.substr(running_at_) + LegacyLink::unread(); }

 private:
  struct Slot {
    bool ready = false;
    std::string reply;
  };

  bool take_frame(const Frame& frame, bool must_take) override;
  ReadResult out_of_room(FrameSink* sink, const char* why) override;
  size_t take(FrameSink* sink, const uint8_t* p, size_t n) override;
  bool has_room() const { return next_ - oldest_ < kMaxPipelined && out_.size() < max_outbound_bytes_; }
  bool may_read() const override { return !leaving_ && has_room(); }
  bool may_go_on() const override { return !running_.empty() && has_room(); }
  void pump(FrameSink* sink) override;
  bool written() override;
  bool on_end() override;
  size_t own_bytes() const override { return transaction_.bytes() + running_.size(); }
  void save_own(LegacyState* all) const override;
  bool restore_own(LegacyState* all) override;

  bool on_command(FrameSink* sink, const RespCommand& command, std::string_view bytes);
  bool on_queued_command(FrameSink* sink, const RespCommand& command, std::string_view bytes);
  bool on_exec(FrameSink* sink);
  bool run_queued(FrameSink* sink);
  bool on_get(FrameSink* sink, std::string_view json);
  std::string say(const RespCommand& command);
  std::string say_hello(const RespCommand& command);
  bool shows_token(std::string_view given);
  void finish(uint64_t id, std::string_view reply);
  void finish_json(uint64_t id, const std::string& json);
  void finish_failure(uint64_t id, int64_t ec, std::string_view text);
  Slot& slot(uint64_t id) { return slots_[id & (slots_.size() - 1)]; }
  uint64_t open_slot();

  Settings settings_;
  bool admitted_;
  bool ending_ = false;   // this agent goes away: the connection ends at the first moment at which nothing is under way
  bool leaving_ = false;  // no more commands: QUIT, or a breach of the protocol
  std::vector<Slot> slots_;  // a ring, of a power of two
  uint64_t oldest_ = 1;      // command without a reply
  uint64_t next_ = 1;
  size_t waiting_bytes_ = 0;  // of replies that are not the oldest's
  std::vector<uint64_t> given_up_;  // requests whose replies are refused
  std::string json_;
  LegacyTransaction transaction_;
  std::string running_;    // what an EXEC has still to run; read before anything else that came
  size_t running_at_ = 0;  // what of it was
};

}  // namespace ringside
