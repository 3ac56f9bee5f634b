#include "native/link/legacy_caller_link.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "native/base/secret.h"
#include "native/codec/legacy_mesh.h"
#include "native/codec/legacy_status.h"

namespace ringside {

namespace {

constexpr std::string_view kNoAuth = "-NOAUTH Authentication required: the loopback port asks for a token (loopback.token)\r\n";

constexpr std::string_view kOk = "+OK\r\n";
constexpr std::string_view kGetArity = "-ERR wrong number of arguments for 'get' command\r\n";
constexpr std::string_view kUnknown = "-ERR unknown command";

std::string bulk(std::string_view text) {
  char head[kRespHeadBytes];
  std::string out(head, write_resp_head(head, '$', text.size()));
  return out.append(text).append("\r\n");
}

std::string upper(std::string_view word) {
  std::string out(word);
  for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

/// Text of the client's that goes into an error line.
std::string printable(std::string_view text) {
  std::string out(text.substr(0, 64));
  for (char& c : out) {
    if (c < ' ' || c > '~' || c == '\'') c = '?';
  }
  return out;
}

}  // namespace

LegacyCallerLink::LegacyCallerLink(LinkKind kind_, LinkRole role_, std::unique_ptr<Channel> channel, TurnArena* arena,
                                   Settings settings)
    : LegacyLink(kind_, role_, std::move(channel), arena, settings.bounds),
      settings_(std::move(settings)),
      admitted_(settings_.token.empty()),
      slots_(8) {}

size_t LegacyCallerLink::take(FrameSink* sink, const uint8_t* p, size_t n) {
  size_t at = 0;
  if (!run_queued(sink)) return at;
  while (may_read()) {
    RespCommand command;
    const char* problem = nullptr;
    const RespCut cut = cut_resp_command(p + at, n - at, max_message_bytes_, &command, &wanted_bytes_, &problem);
    if (cut == RespCut::kNeedMore) return at;
    if (cut == RespCut::kBad) {
      finish(open_slot(), std::string("-ERR Protocol error: ") + problem + "\r\n");
      leaving_ = true;
      reason = std::string("protocol violation: ") + problem;
      return n;
    }
    wanted_bytes_ = 0;
    at += command.bytes;
    const std::string_view bytes(reinterpret_cast<const char*>(p) + at - command.bytes, command.bytes);
    if (command.count > 0 && !on_command(sink, command, bytes)) return at;
  }
  return leaving_ ? n : at;
}

bool LegacyCallerLink::on_command(FrameSink* sink, const RespCommand& command, std::string_view bytes) {
  if (transaction_.is_open() && !command.is("QUIT")) return on_queued_command(sink, command, bytes);
  if (command.is("GET") && admitted_) {
    if (command.count == 2) return on_get(sink, command.arguments[1]);
    finish(open_slot(), kGetArity);
    return true;
  }
  if (command.is("POST") || command.is("HOST:")) {
    // A web page that makes a browser here talk to us, as Redis knows it too.
    leaving_ = true;
    reason = "HTTP on a port for Redis clients";
    fail(reason);
    return false;
  }
  const uint64_t id = open_slot();
  if (command.is("QUIT")) {
    leaving_ = true;
    reason = "the client said QUIT";
    finish(id, kOk);
    return true;
  }
  if (command.is("MULTI") && admitted_) transaction_.begin();
  finish(id, say(command));
  return true;
}

/// A command behind MULTI: kept until EXEC, but for those that end the transaction or cannot be part of one.
bool LegacyCallerLink::on_queued_command(FrameSink* sink, const RespCommand& command, std::string_view bytes) {
  if (command.is("EXEC")) return on_exec(sink);
  const uint64_t id = open_slot();
  if (command.is("DISCARD")) {
    transaction_.end();
    finish(id, kOk);
    return true;
  }
  std::string problem;
  if (command.is("MULTI")) {
    // As in Redis, a mistake that the commands queued so far survive.
    finish(id, "-ERR MULTI calls can not be nested\r\n");
    return true;
  }
  if (command.is("WATCH")) {
    finish(id, "-ERR WATCH inside MULTI is not allowed\r\n");
    return true;
  }
  if (command.is("AUTH") || command.is("HELLO")) {
    problem = "-ERR Command not allowed inside a transaction\r\n";
  } else if (command.is("GET")) {
    if (command.count != 2) problem = kGetArity;
  } else if (std::string said = say(command); said.starts_with(kUnknown)) {
    problem = std::move(said);
  }
  if (problem.empty() && !transaction_.is_spoilt() && (transaction_.bytes() + bytes.size() > max_message_bytes_ || !may_hold(bytes.size()))) {
    problem = "-ERR the transaction is too long: send it in smaller ones (limits.legacyMessageBytes, limits.legacyBytes)\r\n";
  }
  if (problem.empty() && !transaction_.queue(bytes)) {
    problem = "-ERR too many commands in one transaction: " + std::to_string(kMaxQueuedCommands) + " at most\r\n";
  }
  if (!problem.empty()) transaction_.spoil();
  finish(id, problem.empty() ? std::string_view("+QUEUED\r\n") : std::string_view(problem));
  return true;
}

/// The replies to the queued commands follow the head of the array in their order, as any others do: that is the array.
bool LegacyCallerLink::on_exec(FrameSink* sink) {
  const uint64_t id = open_slot();
  if (transaction_.is_spoilt()) {
    transaction_.end();
    finish(id, "-EXECABORT Transaction discarded because of previous errors.\r\n");
    return true;
  }
  char head[kRespHeadBytes];
  const size_t head_bytes = write_resp_head(head, '*', transaction_.count());
  running_ = transaction_.end();
  running_at_ = 0;
  finish(id, {head, head_bytes});
  return run_queued(sink);
}

/// Runs what an EXEC has left to run, as far as replies may be under way. False: the link is over.
bool LegacyCallerLink::run_queued(FrameSink* sink) {
  while (running_at_ < running_.size() && has_room()) {
    RespCommand command;
    const char* problem = nullptr;
    const auto* const p = reinterpret_cast<const uint8_t*>(running_.data()) + running_at_;
    cut_resp_command(p, running_.size() - running_at_, max_message_bytes_, &command, &wanted_bytes_, &problem);
    // Whoever gets a frame may keep pointing into it until the end of the turn.
    const size_t n = command.bytes;
    uint8_t* const whole = arena_->take(n);
    std::memcpy(whole, p, n);
    running_at_ += n;
    if (running_at_ == running_.size()) {
      std::string().swap(running_);
      running_at_ = 0;
    }
    cut_resp_command(whole, n, max_message_bytes_, &command, &wanted_bytes_, &problem);
    wanted_bytes_ = 0;
    if (!on_command(sink, command, {reinterpret_cast<const char*>(whole), n})) return false;
  }
  return true;
}

bool LegacyCallerLink::on_get(FrameSink* sink, std::string_view json) {
  account_->saw_message(json.size());
  const uint64_t id = open_slot();
  LegacyRequest request;
  uint8_t* const header = arena_->take(kMaxHeaderBytes);
  size_t header_bytes = 0;
  LegacyProblem problem = parse_legacy_request(reinterpret_cast<const uint8_t*>(json.data()), json.size(), &request);
  if (problem.ec == 0) problem = write_request_header(request, header, &header_bytes);
  arena_->give_back(header, header_bytes);
  if (problem.ec != 0) {
    finish_failure(id, problem.ec, problem.text);
    return true;
  }
  FixedPart fixed;
  fixed.request_id = id;
  return give_body(sink, fixed, header, header_bytes, request.args);
}

/// What everything but GET and QUIT is answered with.
std::string LegacyCallerLink::say(const RespCommand& command) {
  if (command.is("HELLO")) return say_hello(command);
  if (command.is("AUTH")) {
    if (command.count < 2 || command.count > 3) return "-ERR wrong number of arguments for 'auth' command\r\n";
    admitted_ = shows_token(command.arguments[command.count - 1]);
    return admitted_ ? "+OK\r\n" : "-WRONGPASS the token is not that of this agent (loopback.token)\r\n";
  }
  if (!admitted_) return std::string(kNoAuth);
  if (command.is("PING")) return command.count == 2 ? bulk(command.arguments[1]) : "+PONG\r\n";
  if (command.is("ECHO") && command.count == 2) return bulk(command.arguments[1]);
  if (command.is("INFO")) return bulk(settings_.info());
  if (command.is("SELECT")) {
    return command.count == 2 && command.arguments[1] == "0" ? "+OK\r\n" : "-ERR DB index is out of range: there is only 0\r\n";
  }
  if (command.is("COMMAND")) return command.same_word(1, "COUNT") ? ":0\r\n" : "*0\r\n";
  if (command.is("CLIENT")) {
    for (const char* known : {"SETINFO", "SETNAME", "NO-EVICT", "NO-TOUCH"}) {
      if (command.same_word(1, known)) return "+OK\r\n";
    }
    if (command.same_word(1, "ID")) return ":" + std::to_string(handle.slot) + "\r\n";
    if (command.same_word(1, "GETNAME")) return "$-1\r\n";
  }
  if (command.is("MULTI") || command.is("UNWATCH")) return std::string(kOk);
  if (command.is("EXEC") || command.is("DISCARD")) return "-ERR " + upper(command.arguments[0]) + " without MULTI\r\n";
  if (command.is("WATCH")) return "-ERR WATCH is not supported: nothing here can be watched, and a transaction is not atomic\r\n";
  return std::string(kUnknown) + " '" + printable(command.arguments[0]) + "': this is a Ringside agent, which knows GET, MULTI, EXEC, PING, INFO and QUIT\r\n";
}

std::string LegacyCallerLink::say_hello(const RespCommand& command) {
  // What we ever answer is the same in RESP2 and RESP3, but for the map that HELLO itself is answered with.
  const bool third = command.count > 1 && command.arguments[1] == "3";
  if (command.count > 1 && !third && command.arguments[1] != "2") return "-NOPROTO unsupported protocol version\r\n";
  for (size_t i = 2; i + 2 < std::min(command.count, kMaxKeptArguments); i++) {
    if (command.same_word(i, "AUTH")) admitted_ = shows_token(command.arguments[i + 2]);
  }
  if (!admitted_) return std::string(kNoAuth);
  return (third ? "%7\r\n" : "*14\r\n") + bulk("server") + bulk("ringside") + bulk("version") + bulk("7.0.0") + bulk("proto") +
         (third ? ":3\r\n" : ":2\r\n") + bulk("id") + ":" +
         std::to_string(handle.slot) + "\r\n" + bulk("mode") + bulk("standalone") + bulk("role") + bulk("master") + bulk("modules") + "*0\r\n";
}

/// Whether the client may go on; clients that are configured with a password where none is asked for may.
bool LegacyCallerLink::shows_token(std::string_view given) {
  return settings_.token.empty() || same_secret(given, settings_.token);
}

uint64_t LegacyCallerLink::open_slot() {
  if (next_ - oldest_ == slots_.size()) {
    std::vector<Slot> larger(slots_.size() * 2);
    for (uint64_t id = oldest_; id < next_; id++) larger[id & (larger.size() - 1)] = std::move(slot(id));
    slots_ = std::move(larger);
  }
  return next_++;
}

void LegacyCallerLink::finish(uint64_t id, std::string_view reply) {
  if (id < oldest_ || id >= next_) return;
  if (id != oldest_) {
    Slot& later = slot(id);
    later.ready = true;
    later.reply = reply;
    waiting_bytes_ += reply.size();
    return;
  }
  out_.push(reply.data(), reply.size());
  oldest_++;
  while (oldest_ < next_ && slot(oldest_).ready) {
    Slot& next = slot(oldest_++);
    out_.push(next.reply.data(), next.reply.size());
    waiting_bytes_ -= next.reply.size();
    next = Slot{};
  }
}

void LegacyCallerLink::finish_json(uint64_t id, const std::string& json) {
  account_->saw_message(json.size());
  finish(id, bulk(json));
}

void LegacyCallerLink::finish_failure(uint64_t id, int64_t code, std::string_view text) {
  std::string json;
  append_failure_json(code, text, &json);
  finish_json(id, json);
}

bool LegacyCallerLink::take_frame(const Frame& given, bool must_take) {
  const Frame frame = as_patched(given);
  const uint64_t id = frame.fixed.request_id;
  const FrameType type = frame.fixed.type;
  if (type == FrameType::kCredit) {
    on_credit(frame);
    return true;
  }
  if (type == FrameType::kGoAway) ending_ = true;
  if (type != FrameType::kResponse && type != FrameType::kChunk) return true;  // pings and the like: there is no word for them
  if (!must_take && outbound_bytes() + frame.bytes() > queue_bound(max_outbound_bytes_)) return false;
  frames_out++;
  if (type == FrameType::kResponse) forget_outgoing(id);  // what is left of a large request is wanted no more
  const bool more = frame.fixed.flags & kFlagMore;
  const bool alone = type == FrameType::kResponse && !more;
  const auto status = static_cast<Code>(frame.fixed.status);
  json_.clear();
  if (type == FrameType::kResponse) {
    if (const char* const problem = no_room_for(frame)) {
      if (more) {
        given_up_.push_back(id);
        wake();
      }
      finish_failure(id, ec::kServerSerialisation, std::string("the reply cannot be held: ") + problem);
      return true;
    }
  }
  if (alone) {
    append_reply_json(status, frame.header(), frame.header_bytes(), private_body(frame), &json_);
  } else {
    const Incoming* body = join(frame, kFlagReply);
    if (body == nullptr || more) return true;
    if (status == Code::kOk) {
      append_reply_json(status, nullptr, 0, body->body, &json_);
    } else {
      append_reply_json(status, frame.header(), frame.header_bytes(), {}, &json_);
    }
    forget_incoming(id);
  }
  finish_json(id, json_);
  if (json_.capacity() > kKeptScratchBytes) std::string().swap(json_);
  return true;
}

/// The rest of the message cannot be skipped without reading it all, so the connection ends, behind what is under way.
ReadResult LegacyCallerLink::out_of_room(FrameSink*, const char* why) {
  finish(open_slot(), std::string("-ERR ") + why + "\r\n");
  leaving_ = true;
  reason = why;
  return ReadResult::kDrained;
}

void LegacyCallerLink::pump(FrameSink* sink) {
  if (!run_queued(sink)) return;
  for (const uint64_t id : std::exchange(given_up_, {})) {
    FixedPart fixed;
    fixed.type = FrameType::kCancel;
    fixed.status = static_cast<uint8_t>(Code::kDataLoss);  // which is what the caller was told
    fixed.request_id = id;
    Frame frame = make_frame(fixed, nullptr, 0, {});
    if (!give(sink, frame)) return;
  }
}

/// Whoever sends and closes at once (`printf ... | nc`) is answered before the connection ends.
bool LegacyCallerLink::on_end() {
  leaving_ = true;
  return true;
}

bool LegacyCallerLink::written() {
  if (ending_ && oldest_ == next_ && !mid_message() && !transaction_.is_open() && running_.empty()) {
    reason = "this agent goes away";
    return false;
  }
  return !leaving_ || oldest_ < next_ || !running_.empty();
}

}  // namespace ringside
