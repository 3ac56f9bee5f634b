// RESP2, the framing of Redis: cutting commands and replies out of a stream, and writing both. Pure functions over bytes, which must be
// private memory: no allocation, no state. The formats are those of https://redis.io/docs/latest/develop/reference/protocol-spec/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringside {

/// Arguments of a command that are kept; what stands behind them is skipped.
inline constexpr size_t kMaxKeptArguments = 8;
/// Arguments a command may have.
inline constexpr size_t kMaxRespArguments = 1024;
/// A command on one line, with its end.
inline constexpr size_t kMaxInlineBytes = 64 * 1024;
/// A simple string or an error that a server replies with, with its end.
inline constexpr size_t kMaxRespLineBytes = 64 * 1024;

/// Whether a client's first byte shows that it speaks RESP: a command begins so, as an array or as a word on a line; a frame of the mesh
/// protocol never does.
constexpr bool begins_resp(uint8_t byte) { return byte == '*' || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z'); }

enum class RespCut : uint8_t { kWhole, kNeedMore, kBad, kTooLong };

struct RespCommand {
  std::array<std::string_view, kMaxKeptArguments> arguments;
  size_t count = 0;  // of all arguments; 0 is an empty line, which gets no reply
  size_t bytes = 0;  // what the command takes of the stream

  /// The command word is `upper` in any case.
  bool is(std::string_view upper) const { return count > 0 && same_word(0, upper); }
  /// An argument is `upper` in any case.
  bool same_word(size_t argument, std::string_view upper) const;
};

/// The first command of n bytes, an array of bulk strings or a line. kNeedMore: `*wanted` is a number of bytes without which it
/// is no use to ask again. kBad: `*problem` says why (static text). `max_bytes` bounds the whole command.
/// On a line, all behind GET is one argument: JSON is full of spaces and quotes.
RespCut cut_resp_command(const uint8_t* p, size_t n, size_t max_bytes, RespCommand* out, size_t* wanted, const char** problem);

struct RespReply {
  enum class Kind : uint8_t { kText, kError, kBulk, kNull };
  Kind kind = Kind::kText;
  std::string_view text;  // without type and line end; of a bulk its bytes
  size_t bytes = 0;       // what the reply takes of the stream
};

/// The first reply of n bytes, as cut_resp_command. Arrays are kBad: no command of ours is answered with one. kTooLong: a reply as it should be, but
/// over the bound.
RespCut cut_resp_reply(const uint8_t* p, size_t n, size_t max_bytes, RespReply* out, size_t* wanted, const char** problem);

/// Room for the head of a bulk string or an array.
inline constexpr size_t kRespHeadBytes = 24;
/// Writes "$n\r\n" or "*n\r\n" (by `type`); returns its length.
size_t write_resp_head(char* out, char type, size_t n);

}  // namespace ringside
