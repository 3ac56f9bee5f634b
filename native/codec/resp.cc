#include "native/codec/resp.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace ringside {

namespace {

constexpr size_t kMaxLengthLineBytes = 24;

/// A line that ends in \r\n and holds a number, from behind its type byte on.
struct LengthLine {
  RespCut cut = RespCut::kNeedMore;
  int64_t value = 0;
  size_t bytes = 0;  // with the line's end
};

LengthLine read_length(const uint8_t* p, size_t n) {
  LengthLine line;
  const size_t looked = std::min(n, kMaxLengthLineBytes);
  const auto* const end = looked == 0 ? nullptr : static_cast<const uint8_t*>(std::memchr(p, '\n', looked));
  if (end == nullptr) {
    if (n >= kMaxLengthLineBytes) line.cut = RespCut::kBad;
    return line;
  }
  line.cut = RespCut::kBad;
  if (end == p || end[-1] != '\r') return line;
  const char* const first = reinterpret_cast<const char*>(p);
  const char* const last = reinterpret_cast<const char*>(end - 1);
  const auto [behind, error] = std::from_chars(first, last, line.value);
  if (error != std::errc{} || behind != last) return line;
  line.cut = RespCut::kWhole;
  line.bytes = static_cast<size_t>(end - p) + 1;
  return line;
}

std::string_view text_of(const uint8_t* p, size_t n) { return {reinterpret_cast<const char*>(p), n}; }

RespCut bad(const char** problem, const char* text) {
  *problem = text;
  return RespCut::kBad;
}

RespCut cut_line(const uint8_t* p, size_t n, RespCommand* out, size_t* wanted, const char** problem) {
  const auto* const end = static_cast<const uint8_t*>(std::memchr(p, '\n', std::min(n, kMaxInlineBytes)));
  if (end == nullptr) {
    if (n >= kMaxInlineBytes) return bad(problem, "too big inline request");
    *wanted = n + 1;
    return RespCut::kNeedMore;
  }
  std::string_view line = text_of(p, static_cast<size_t>(end - p));
  out->bytes = line.size() + 1;
  if (line.ends_with('\r')) line.remove_suffix(1);
  constexpr std::string_view kSpace = " \t";
  while (true) {
    const size_t begin = line.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return RespCut::kWhole;
    line.remove_prefix(begin);
    const bool rest = out->count == 1 && out->is("GET");
    const std::string_view word = rest ? line : line.substr(0, line.find_first_of(kSpace));
    if (out->count < kMaxKeptArguments) out->arguments[out->count] = word;
    out->count++;
    line.remove_prefix(word.size());
  }
}

}  // namespace

bool RespCommand::same_word(size_t argument, std::string_view upper) const {
  if (argument >= count || argument >= kMaxKeptArguments) return false;
  const std::string_view word = arguments[argument];
  return word.size() == upper.size() && std::equal(word.begin(), word.end(), upper.begin(), [](char a, char b) {
           return (a >= 'a' && a <= 'z' ? static_cast<char>(a - 'a' + 'A') : a) == b;
         });
}

RespCut cut_resp_command(const uint8_t* p, size_t n, size_t max_bytes, RespCommand* out, size_t* wanted, const char** problem) {
  *out = RespCommand{};
  *wanted = n + 1;
  if (n == 0) return RespCut::kNeedMore;
  if (*p != '*') return cut_line(p, n, out, wanted, problem);
  const LengthLine count = read_length(p + 1, n - 1);
  if (count.cut == RespCut::kNeedMore) return RespCut::kNeedMore;
  if (count.cut == RespCut::kBad || count.value > static_cast<int64_t>(kMaxRespArguments)) {
    return bad(problem, "invalid multibulk length");
  }
  size_t at = 1 + count.bytes;
  for (int64_t i = 0; i < count.value; i++) {
    if (at >= n) {
      *wanted = at + 1;
      return RespCut::kNeedMore;
    }
    if (p[at] != '$') return bad(problem, "expected '$'");
    const LengthLine length = read_length(p + at + 1, n - at - 1);
    if (length.cut == RespCut::kNeedMore) return RespCut::kNeedMore;
    at += 1 + length.bytes;
    if (length.cut == RespCut::kBad || length.value < 0) return bad(problem, "invalid bulk length");
    if (length.value > static_cast<int64_t>(max_bytes) || at + static_cast<size_t>(length.value) > max_bytes) {
      return bad(problem, "the request is over the agent's bound (limits.legacyMessageBytes)");
    }
    const size_t bytes = static_cast<size_t>(length.value);
    if (n < at + bytes + 2) {
      *wanted = at + bytes + 2;
      return RespCut::kNeedMore;
    }
    if (p[at + bytes] != '\r' || p[at + bytes + 1] != '\n') return bad(problem, "a bulk string is longer than its length says");
    if (out->count < kMaxKeptArguments) out->arguments[out->count] = text_of(p + at, bytes);
    out->count++;
    at += bytes + 2;
  }
  out->bytes = at;
  return RespCut::kWhole;
}

RespCut cut_resp_reply(const uint8_t* p, size_t n, size_t max_bytes, RespReply* out, size_t* wanted, const char** problem) {
  *wanted = n + 1;
  if (n == 0) return RespCut::kNeedMore;
  if (*p == '$') {
    const LengthLine length = read_length(p + 1, n - 1);
    if (length.cut == RespCut::kNeedMore) return RespCut::kNeedMore;
    if (length.cut == RespCut::kBad || length.value < -1) return bad(problem, "a reply's length is no number");
    const size_t at = 1 + length.bytes;
    *out = RespReply{RespReply::Kind::kNull, {}, at};
    if (length.value < 0) return RespCut::kWhole;
    if (length.value > static_cast<int64_t>(max_bytes)) {
      *problem = "the reply is over the agent's bound (limits.legacyMessageBytes)";
      return RespCut::kTooLong;
    }
    const size_t bytes = static_cast<size_t>(length.value);
    *wanted = at + bytes + 2;
    if (n < *wanted) return RespCut::kNeedMore;
    if (p[at + bytes] != '\r' || p[at + bytes + 1] != '\n') return bad(problem, "a reply is longer than its length says");
    *out = RespReply{RespReply::Kind::kBulk, text_of(p + at, bytes), at + bytes + 2};
    return RespCut::kWhole;
  }
  if (*p != '+' && *p != '-' && *p != ':') return bad(problem, "what came is not a reply of the legacy protocol");
  const auto* const end = static_cast<const uint8_t*>(std::memchr(p, '\n', std::min(n, kMaxRespLineBytes)));
  if (end == nullptr) return n >= kMaxRespLineBytes ? bad(problem, "a reply's line has no end") : RespCut::kNeedMore;
  if (end[-1] != '\r') return bad(problem, "a reply's line does not end in CR LF");
  const auto kind = *p == '-' ? RespReply::Kind::kError : RespReply::Kind::kText;
  *out = RespReply{kind, text_of(p + 1, static_cast<size_t>(end - p) - 2), static_cast<size_t>(end - p) + 1};
  return RespCut::kWhole;
}

size_t write_resp_head(char* out, char type, size_t n) {
  out[0] = type;
  char* const behind = std::to_chars(out + 1, out + kRespHeadBytes - 2, n).ptr;
  behind[0] = '\r';
  behind[1] = '\n';
  return static_cast<size_t>(behind - out) + 2;
}

}  // namespace ringside
