// A link to an old server: mesh requests go out as GETs, one at a time, since an old server answers in order and knows no ids; others wait
// here. A request that is cancelled while it is under way ends the link: its late reply would answer the next one.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "native/codec/resp.h"
#include "native/link/legacy_link.h"

namespace ringside {

class LegacyCalleeLink final : public LegacyLink {
 public:
  LegacyCalleeLink(LinkKind link_kind, std::unique_ptr<Channel> channel, TurnArena* arena, const Bounds& bounds);

  bool never_sent(uint64_t end_position) override;
  // Requests are numbered: they do not become as many bytes as their frames have.
  uint64_t end_position() const override { return appended_; }
  const uint8_t* queued_frame(uint64_t end_position, size_t frame_bytes) const override;
  size_t outbound_bytes() const override { return out_.size() + waiting_bytes_; }
  /// Of the request that keeps it busy, or will be the first to; 0: a one-way request, or none.
  uint64_t id_under_way() const { return busy_ ? busy_id_ : waiting_.empty() ? 0 : waiting_.front().id; }

 private:
  struct Waiting {
    uint64_t id = 0;  // 0: one-way
    uint64_t position = 0;
    std::vector<uint8_t> frame;  // whole: fixed part, header, body, which may be longer than one frame of the mesh has
  };
  struct Refused {
    uint64_t id = 0;
    Code code = Code::kInvalidArgument;
    std::string text;
  };

  bool take_frame(const Frame& frame, bool must_take) override;
  ReadResult out_of_room(FrameSink* sink, const char* why) override;
  size_t take(FrameSink* sink, const uint8_t* p, size_t n) override;
  bool may_read() const override { return state != LinkState::kConnecting; }
  void pump(FrameSink* sink) override;
  bool written() override { return !given_up_; }
  void save_own(LegacyState* all) const override;
  bool restore_own(LegacyState* all) override;

  void enqueue(const FixedPart& fixed, uint64_t position, const uint8_t* header, size_t header_bytes, std::string_view body);
  void send(uint64_t id, uint64_t position, const uint8_t* header, size_t header_bytes, std::string_view body);
  void send_next();
  void cancel(uint64_t id);
  void refuse_reply(FrameSink* sink, const char* why);
  bool give_answer(FrameSink* sink, uint64_t id, const RespReply& reply);
  bool give_reply(FrameSink* sink, uint64_t id, std::string_view json);
  bool give_failure(FrameSink* sink, uint64_t id, Code code, std::string_view text, bool not_run);

  std::deque<Waiting> waiting_;
  size_t waiting_bytes_ = 0;
  bool busy_ = false;         // a request is under way:
  uint64_t busy_id_ = 0;      // 0: its reply goes to nobody
  uint64_t busy_position_ = 0;
  uint64_t appended_ = 0;  // requests
  bool given_up_ = false;
  std::vector<Refused> refused_;
  std::string json_;
};

}  // namespace ringside
