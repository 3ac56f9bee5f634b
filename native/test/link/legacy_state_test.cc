// A link of the legacy protocol that is written down and made anew between any two steps does what one does that stays; and a state that none
// can be in is refused.
#include "native/link/legacy_state.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>

#include "native/codec/protobuf_fields.h"
#include "native/codec/resp.h"
#include "native/link/legacy_callee_link.h"
#include "native/link/legacy_caller_link.h"
#include "native/test/link/frames.h"

namespace ringside {
namespace {

using testing::KeepingSink;
using testing::OwnedFrame;
using testing::ScriptedChannel;

constexpr size_t kBudget = 256 * 1024;

std::string bulk(std::string_view text) { return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n"; }
std::string get(std::string_view json) { return "*2\r\n" + bulk("GET") + bulk(json); }
std::string call(std::string_view args) { return get(R"({"action":"s","params":{"m":"m","args":)" + std::string(args) + "}}"); }

std::string bytes_of(const FixedPart& fixed, std::string_view header, std::string_view body) {
  FixedPart whole = fixed;
  whole.header_bytes = static_cast<uint32_t>(header.size());
  whole.body_bytes = static_cast<uint32_t>(body.size());
  std::string out(kFixedBytes, '\0');
  encode_fixed(whole, reinterpret_cast<uint8_t*>(out.data()));
  return out.append(header).append(body);
}

/// What was seen of a link from both of its sides.
struct Seen {
  std::vector<std::string> frames;             // that it gave to the engine, but for credit
  std::map<uint64_t, uint64_t> credit;         // that it granted, by id
  std::string out;                             // what it wrote
  uint64_t held = 0;                           // in the account at the end
};

/// A link and its two sides; where `moves`, it is another link after every step.
struct Side {
  using Make = std::function<std::unique_ptr<LegacyLink>(Side&, std::unique_ptr<Channel>)>;

  TurnArena arena{1 << 20};
  LegacyAccount account{64 << 20};
  KeepingSink sink;
  Make make;
  bool moves;
  ScriptedChannel* channel = new ScriptedChannel();
  std::unique_ptr<LegacyLink> link;
  std::deque<FixedPart> heads;        // of the frames that came and were not looked at
  std::deque<size_t> body_sizes;      // theirs
  Seen seen;

  Side(Make make_, bool moves_) : make(std::move(make_)), moves(moves_), link(make(*this, std::unique_ptr<Channel>(channel))) {
    link->state = LinkState::kOpen;
  }
  LegacyLink::Bounds bounds() { return {&account, 64 << 20, 8 << 20}; }

  void step(const std::function<void()>& action) {
    action();
    if (moves) move();
  }
  void turn() {
    step([this] {
      EXPECT_NE(link->read(&sink, kBudget), ReadResult::kViolation) << link->reason;
      look();
    });
    step([this] { link->flush(); });
    link->end_turn();
    arena.reset();
  }
  bool append(const FixedPart& fixed, std::string_view header, std::string_view body, bool must_take = false) {
    bool taken = false;
    step([&] {
      OwnedFrame frame(bytes_of(fixed, header, body));
      taken = link->append(frame.frame, must_take);
    });
    return taken;
  }
  void look() {
    for (std::string& bytes : sink.frames) {
      FixedPart fixed;
      ASSERT_EQ(decode_fixed(reinterpret_cast<const uint8_t*>(bytes.data()), &fixed), nullptr);
      if (fixed.type == FrameType::kCredit) {
        seen.credit[fixed.request_id] += fixed.value;
        continue;
      }
      heads.push_back(fixed);
      body_sizes.push_back(fixed.body_bytes);
      seen.frames.push_back(std::move(bytes));
    }
    sink.frames.clear();
  }
  void move() {
    const LegacyState state = link->save();
    const std::string written = encode_fields(state);
    LegacyState read;
    ASSERT_TRUE(decode_fields(written, &read));
    const std::string partial = link->unread();
    const std::string queue(reinterpret_cast<const char*>(link->queue().data()), link->queue().size());
    auto* const fresh_channel = new ScriptedChannel(std::move(*channel));
    std::unique_ptr<LegacyLink> fresh = make(*this, std::unique_ptr<Channel>(fresh_channel));
    fresh->state = link->state;
    fresh->reason = link->reason;
    link.reset();
    ASSERT_TRUE(fresh->restore(std::move(read), partial, queue));
    EXPECT_EQ(encode_fields(fresh->save()), written);
    channel = fresh_channel;
    link = std::move(fresh);
  }
  Seen end() {
    seen.out = channel->out;
    seen.held = account.bytes;
    return seen;
  }
};

std::unique_ptr<LegacyLink> make_caller(Side& side, std::unique_ptr<Channel> channel) {
  LegacyCallerLink::Settings settings;
  settings.bounds = side.bounds();
  settings.info = [] { return std::string("{}"); };
  return std::make_unique<LegacyCallerLink>(LinkKind::kTcp, LinkRole::kApp, std::move(channel), &side.arena, std::move(settings));
}

std::unique_ptr<LegacyLink> make_callee(Side& side, std::unique_ptr<Channel> channel) {
  return std::make_unique<LegacyCalleeLink>(LinkKind::kTcp, std::move(channel), &side.arena, side.bounds());
}

/// A body that the test sends in pieces.
struct Sending {
  FixedPart fixed;
  std::string header;
  std::string body;
  size_t sent = 0;
};

/// The next piece of it; the first one has the header. True: that was the last.
bool send_piece(Side& side, Sending& s, size_t most) {
  const size_t n = std::min({most, s.body.size() - s.sent, kMaxFrameBodyBytes});
  FixedPart fixed = s.fixed;
  const bool begins = s.sent == 0;
  if (!begins) {
    fixed.flags = fixed.type == FrameType::kResponse ? kFlagReply : uint8_t{0};
    fixed.type = FrameType::kChunk;
  }
  const bool more = s.sent + n < s.body.size();
  if (more) fixed.flags |= kFlagMore;
  fixed.value = begins && more ? static_cast<uint32_t>(s.body.size()) : 0;
  EXPECT_TRUE(side.append(fixed, begins ? std::string_view(s.header) : std::string_view{}, std::string_view(s.body).substr(s.sent, n), !begins));
  s.sent += n;
  return !more;
}

/// Grants credit for every piece of a body that came from the link.
void grant(Side& side, const FixedPart& got, size_t body_bytes, bool is_reply) {
  if (!(got.flags & kFlagMore) || body_bytes == 0) return;
  FixedPart credit;
  credit.type = FrameType::kCredit;
  credit.flags = is_reply ? kFlagReply : uint8_t{0};
  credit.request_id = got.request_id;
  credit.value = static_cast<uint32_t>(body_bytes);
  side.append(credit, {}, {}, true);
}

std::string json_of(std::mt19937_64& random) {
  const size_t sizes[] = {0, 1, 10, 1'000, 70'000, 400'000};
  return "[\"" + std::string(sizes[random() % std::size(sizes)], 'x') + "\"]";
}

Seen play_caller(uint64_t seed, bool moves) {
  std::mt19937_64 random(seed);
  std::string script;
  for (int i = 0; i < 15; i++) {
    switch (random() % 8) {
      case 0: script += "PING\r\n"; break;
      case 1: script += get("no JSON"); break;
      case 2: script += "*2\r\n" + bulk("ECHO") + bulk(std::string(random() % 100, 'e')); break;
      default: script += call(json_of(random));
    }
  }
  if (random() % 2 == 0) script += "QUIT\r\n";
  Side side(make_caller, moves);
  std::vector<Sending> replies;
  size_t at = 0;
  for (int quiet = 0; quiet < 20; quiet++) {
    const size_t room = random() % 3 == 0 ? 0 : random() % 200'000;
    side.channel->room_per_write = [room] { return room; };
    if (at < script.size() && random() % 2 == 0) {
      const size_t n = std::min<size_t>(script.size() - at, 1 + random() % 90'000);
      side.channel->in.push_back(script.substr(at, n));
      at += n;
      quiet = 0;
    }
    side.turn();
    for (; !side.heads.empty(); side.heads.pop_front(), side.body_sizes.pop_front()) {
      const FixedPart got = side.heads.front();
      grant(side, got, side.body_sizes.front(), false);
      if (got.flags & kFlagMore) continue;
      Sending reply;
      reply.fixed.type = FrameType::kResponse;
      reply.fixed.request_id = got.request_id;
      reply.body = random() % 10 == 0 ? "no JSON" : json_of(random);
      replies.push_back(std::move(reply));
    }
    if (!replies.empty() && random() % 2 == 0) {
      const size_t which = random() % replies.size();
      if (send_piece(side, replies[which], 1 + random() % 100'000)) replies.erase(replies.begin() + static_cast<std::ptrdiff_t>(which));
      quiet = 0;
    }
  }
  side.channel->room_per_write = [] { return SIZE_MAX; };
  side.turn();
  return side.end();
}

Seen play_callee(uint64_t seed, bool moves) {
  std::mt19937_64 random(seed);
  Side side(make_callee, moves);
  std::vector<Sending> requests;
  size_t looked = 0;  // of what it wrote
  uint64_t id = 0;
  std::string answers;
  for (int quiet = 0; quiet < 20; quiet++) {
    const size_t room = random() % 3 == 0 ? 0 : random() % 200'000;
    side.channel->room_per_write = [room] { return room; };
    if (id < 15 && random() % 2 == 0) {
      Sending request;
      request.fixed.request_id = ++id;
      if (random() % 8 == 0) request.fixed.type = FrameType::kOneWay;
      request.body = request.fixed.type == FrameType::kOneWay ? "[]" : random() % 10 == 0 ? "no JSON" : json_of(random);
      requests.push_back(std::move(request));
    }
    if (!requests.empty()) {
      const size_t which = random() % requests.size();
      if (send_piece(side, requests[which], 1 + random() % 100'000)) requests.erase(requests.begin() + static_cast<std::ptrdiff_t>(which));
      quiet = 0;
    }
    if (!answers.empty()) {
      const size_t n = std::min<size_t>(answers.size(), 1 + random() % 90'000);
      side.channel->in.push_back(answers.substr(0, n));
      answers.erase(0, n);
      quiet = 0;
    }
    side.turn();
    for (; !side.heads.empty(); side.heads.pop_front(), side.body_sizes.pop_front()) grant(side, side.heads.front(), side.body_sizes.front(), true);
    RespCommand command;
    size_t wanted = 0;
    const char* problem = nullptr;
    const std::string& out = side.channel->out;
    if (cut_resp_command(reinterpret_cast<const uint8_t*>(out.data()) + looked, out.size() - looked, 8 << 20, &command, &wanted, &problem) == RespCut::kWhole) {
      looked += command.bytes;
      quiet = 0;
      answers += random() % 8 == 0   ? std::string("-ERR no\r\n")
                 : random() % 8 == 0 ? bulk(R"({"ec":502,"em":"none"})")
                                     : bulk(R"({"ec":200,"em":"","result":)" + json_of(random) + "}");
    }
  }
  return side.end();
}

using Play = Seen (*)(uint64_t seed, bool moves);
class MovingLegacyLink : public ::testing::TestWithParam<std::tuple<Play, uint64_t>> {};

TEST_P(MovingLegacyLink, ALinkThatMovesAtEveryStepDoesAsOneThatStays) {
  const auto [play, seed] = GetParam();
  const Seen stays = play(seed, false);
  const Seen moves = play(seed, true);
  ASSERT_EQ(stays.frames, moves.frames);
  ASSERT_EQ(stays.credit, moves.credit);
  ASSERT_EQ(stays.out, moves.out);
  ASSERT_EQ(stays.held, 0u);
  ASSERT_EQ(moves.held, 0u);
  EXPECT_GT(stays.frames.size(), 10u);
}

std::string seed_of(const ::testing::TestParamInfo<MovingLegacyLink::ParamType>& info) { return "seed" + std::to_string(std::get<1>(info.param)); }

INSTANTIATE_TEST_SUITE_P(Callers, MovingLegacyLink, ::testing::Combine(::testing::Values(play_caller), ::testing::Range(uint64_t{1}, uint64_t{9})), seed_of);
INSTANTIATE_TEST_SUITE_P(Callees, MovingLegacyLink, ::testing::Combine(::testing::Values(play_callee), ::testing::Range(uint64_t{1}, uint64_t{9})), seed_of);

/// A state that a caller's link can be in: the second of three commands is answered, a large request and a large reply are on their way.
LegacyState sound_caller() {
  LegacyState state;
  state.caller.push_back({true, false, false, 5, 9, {{6, "+x\r\n"}}, {4}, {}});
  state.outgoing.push_back({7, 1'000, "rest"});
  FixedPart head;
  head.type = FrameType::kResponse;
  head.flags = kFlagMore;
  head.request_id = 8;
  head.value = 1'000;
  state.incoming.push_back({8, 0, 100, bytes_of(head, "", ""), std::string(100, 'b')});
  return state;
}

LegacyState sound_callee() {
  LegacyState state;
  FixedPart head;
  head.request_id = 8;
  LegacyCalleeState own;
  own.busy = true;
  own.busy_id = 7;
  own.busy_position = 3;
  own.appended = 5;
  own.waiting.push_back({8, 4, bytes_of(head, "", "[]")});
  own.refused.push_back({9, Code::kInvalidArgument, "why"});
  state.callee.push_back(own);
  head.flags = kFlagMore;
  head.value = 1'000;
  state.incoming.push_back({10, 5, 0, bytes_of(head, "", ""), "[1"});
  return state;
}

struct Spoilt {
  const char* name;
  bool caller;
  std::function<void(LegacyState&)> spoil;
};

TEST(LegacyStateThatNoLinkCanBeIn, IsRefused) {
  const auto taken = [](bool caller, LegacyState state) {
    Side side(caller ? make_caller : make_callee, false);
    return side.link->restore(std::move(state), "", "");
  };
  EXPECT_TRUE(taken(true, sound_caller()));
  EXPECT_TRUE(taken(false, sound_callee()));
  const std::vector<Spoilt> cases = {
      {"of the other kind", true, [](LegacyState& s) { s = sound_callee(); }},
      {"of the other kind too", false, [](LegacyState& s) { s = sound_caller(); }},
      {"of both kinds", true, [](LegacyState& s) { s.callee = sound_callee().callee; }},
      {"of no kind", true, [](LegacyState& s) { s.caller.clear(); }},
      {"two of a kind", false, [](LegacyState& s) { s.callee.push_back(s.callee[0]); }},
      {"commands begin at 1", true, [](LegacyState& s) { s.caller[0].oldest = 0; }},
      {"more replies than commands", true, [](LegacyState& s) { s.caller[0].oldest = 10; }},
      {"more commands than may wait", true, [](LegacyState& s) { s.caller[0].next = 5 + kMaxPipelined + 1; }},
      {"commands without an end", true, [](LegacyState& s) { s.caller[0].next = UINT64_MAX; }},
      {"a reply that would have left", true, [](LegacyState& s) { s.caller[0].replies[0].id = 5; }},
      {"a reply to no command", true, [](LegacyState& s) { s.caller[0].replies[0].id = 9; }},
      {"two replies to a command", true, [](LegacyState& s) { s.caller[0].replies.push_back(s.caller[0].replies[0]); }},
      {"a spoilt transaction that keeps commands", true, [](LegacyState& s) { s.caller[0].transaction.push_back({true, 1, "PING\r\n"}); }},
      {"half a command in a transaction", true, [](LegacyState& s) { s.caller[0].transaction.push_back({false, 1, "PING"}); }},
      {"a transaction with another count", true, [](LegacyState& s) { s.caller[0].transaction.push_back({false, 2, "PING\r\n"}); }},
      {"more in a transaction than may be queued", true,
       [](LegacyState& s) {
         s.caller[0].transaction.push_back({true, kMaxQueuedCommands + 1, ""});
       }},
      {"two transactions", true, [](LegacyState& s) { s.caller[0].transaction.assign(2, {false, 0, ""}); }},
      {"nothing left to send", true, [](LegacyState& s) { s.outgoing[0].rest.clear(); }},
      {"an allowance over the window", true, [](LegacyState& s) { s.outgoing[0].allowance_bytes = kStreamWindowBytes + 1; }},
      {"half a head", true, [](LegacyState& s) { s.incoming[0].head.resize(kFixedBytes - 1); }},
      {"a head that is none", true, [](LegacyState& s) { s.incoming[0].head[0] = 'x'; }},
      {"a head with more than a header", true, [](LegacyState& s) { s.incoming[0].head += "x"; }},
      {"more of a body than there is", true, [](LegacyState& s) { s.incoming[0].body.assign(1'001, 'b'); }},
      {"more credit than a window", true, [](LegacyState& s) { s.incoming[0].owed_credit_bytes = kStreamWindowBytes + 1; }},
      {"a request without a frame", false, [](LegacyState& s) { s.callee[0].waiting[0].frame.clear(); }},
      {"a header beyond the frame's end", false, [](LegacyState& s) { s.callee[0].waiting[0].frame[kHeaderBytesOffset] = 3; }},
      {"a header that is none", false,
       [](LegacyState& s) {
         s.callee[0].waiting[0].frame = bytes_of(FixedPart{}, "\xff", "[]");
       }},
      {"a header that is none, of a body in pieces", false,
       [](LegacyState& s) {
         FixedPart head;
         head.value = 1'000;
         s.incoming[0].head = bytes_of(head, "\xff", "");
       }},
      {"a status that there is not", false, [](LegacyState& s) { s.callee[0].refused[0].code = static_cast<Code>(17); }},
  };
  for (const Spoilt& spoilt : cases) {
    LegacyState state = spoilt.caller ? sound_caller() : sound_callee();
    spoilt.spoil(state);
    EXPECT_FALSE(taken(spoilt.caller, std::move(state))) << spoilt.name;
  }
}

}  // namespace
}  // namespace ringside
