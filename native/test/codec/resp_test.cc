#include "native/codec/resp.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ringside {
namespace {

constexpr size_t kMax = 1000;

struct Cut {
  RespCut result;
  RespCommand command;
  size_t wanted = 0;
  const char* problem = "";
};

Cut cut(std::string_view text) {
  Cut out;
  out.result = cut_resp_command(reinterpret_cast<const uint8_t*>(text.data()), text.size(), kMax, &out.command, &out.wanted, &out.problem);
  return out;
}

TEST(RespCommandCut, TakesAnArrayOfBulkStrings) {
  const std::string_view stream = "*2\r\n$3\r\ngEt\r\n$2\r\n\r\n\r\nPING\r\n";
  const Cut got = cut(stream);
  ASSERT_EQ(got.result, RespCut::kWhole);
  EXPECT_TRUE(got.command.is("GET"));
  EXPECT_FALSE(got.command.is("SET"));
  EXPECT_EQ(got.command.count, 2u);
  EXPECT_EQ(got.command.arguments[1], "\r\n");
  EXPECT_EQ(got.command.bytes, stream.size() - 6);
}

TEST(RespCommandCut, TakesALine) {
  for (const std::string_view line : {"PING\r\n", "PING\n", "  ping \t\n"}) {
    const Cut got = cut(line);
    ASSERT_EQ(got.result, RespCut::kWhole) << line;
    EXPECT_TRUE(got.command.is("PING"));
    EXPECT_EQ(got.command.count, 1u);
    EXPECT_EQ(got.command.bytes, line.size());
  }
  const Cut json = cut("GET  {\"a\": \"b c\"}\r\n");
  EXPECT_EQ(json.command.count, 2u);
  EXPECT_EQ(json.command.arguments[1], "{\"a\": \"b c\"}");
}

TEST(RespCommandCut, KnowsThatNothingWasAsked) {
  for (const std::string_view empty : {"\r\n", "\n", "*0\r\n", "*-1\r\n"}) {
    const Cut got = cut(empty);
    EXPECT_EQ(got.result, RespCut::kWhole);
    EXPECT_EQ(got.command.count, 0u);
    EXPECT_EQ(got.command.bytes, empty.size());
  }
}

TEST(RespCommandCut, AsksForMoreUntilTheLastByte) {
  const std::string stream = "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$1\r\nx\r\n";
  for (size_t n = 0; n < stream.size(); n++) {
    const std::vector<char> part(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(n));
    const Cut got = cut({part.data(), part.size()});
    ASSERT_EQ(got.result, RespCut::kNeedMore) << n;
    EXPECT_GT(got.wanted, n);
    EXPECT_LE(got.wanted, stream.size());
  }
  EXPECT_EQ(cut(stream).result, RespCut::kWhole);
}

TEST(RespCommandCut, KeepsTheFirstArgumentsOfMany) {
  std::string stream = "*1024\r\n";
  for (int i = 0; i < 1024; i++) stream += "$0\r\n\r\n";
  Cut out;
  out.result = cut_resp_command(reinterpret_cast<const uint8_t*>(stream.data()), stream.size(), 100'000, &out.command, &out.wanted, &out.problem);
  EXPECT_EQ(out.result, RespCut::kWhole);
  EXPECT_EQ(out.command.count, 1024u);
  EXPECT_FALSE(out.command.same_word(kMaxKeptArguments, ""));
}

TEST(RespCommandCut, RefusesWhatRedisRefuses) {
  for (const std::string_view wrong :
       {"*1025\r\n", "*x\r\n", "*1\n", "*\r\n", "*1\r\n+OK\r\n", "*1\r\n$-1\r\n", "*1\r\n$x\r\n", "*1\r\n$1\r\nab\r\n", "*1\r\n$ 1\r\n",
        "*1\r\n$99999999999999999999\r\n", "*11111111111111111111111111", "*1\r\n$1001\r\n", "*1\r\n$9223372036854775807\r\n"}) {
    EXPECT_EQ(cut(wrong).result, RespCut::kBad) << wrong;
  }
  EXPECT_EQ(cut(std::string(kMaxInlineBytes, 'x')).result, RespCut::kBad);
}

RespReply reply_of(std::string_view text, RespCut expected) {
  RespReply reply;
  size_t wanted = 0;
  const char* problem = "";
  EXPECT_EQ(cut_resp_reply(reinterpret_cast<const uint8_t*>(text.data()), text.size(), kMax, &reply, &wanted, &problem), expected) << text;
  return reply;
}

TEST(RespReplyCut, TakesEachKind) {
  EXPECT_EQ(reply_of("$3\r\nabc\r\n+", RespCut::kWhole).text, "abc");
  EXPECT_EQ(reply_of("$3\r\nabc\r\n+", RespCut::kWhole).bytes, 9u);
  EXPECT_EQ(reply_of("$0\r\n\r\n", RespCut::kWhole).kind, RespReply::Kind::kBulk);
  EXPECT_EQ(reply_of("$-1\r\n", RespCut::kWhole).kind, RespReply::Kind::kNull);
  EXPECT_EQ(reply_of("-ERR no\r\n", RespCut::kWhole).kind, RespReply::Kind::kError);
  EXPECT_EQ(reply_of("-ERR no\r\n", RespCut::kWhole).text, "ERR no");
  EXPECT_EQ(reply_of("+PONG\r\n", RespCut::kWhole).text, "PONG");
  EXPECT_EQ(reply_of(":12\r\n", RespCut::kWhole).text, "12");
}

TEST(RespReplyCut, AsksForMoreOrRefuses) {
  const std::string stream = "$3\r\nabc\r\n";
  for (size_t n = 0; n < stream.size(); n++) reply_of(stream.substr(0, n), RespCut::kNeedMore);
  reply_of("+PON", RespCut::kNeedMore);
  for (const std::string_view wrong : {"*1\r\n", "x", "$-2\r\n", "$1\r\nab\r\n", "+a\n", "+\n"}) reply_of(wrong, RespCut::kBad);
  reply_of("$1001\r\n", RespCut::kTooLong);
}

TEST(RespHead, IsWhatTheOtherSideReads) {
  char head[kRespHeadBytes];
  EXPECT_EQ(std::string(head, write_resp_head(head, '$', SIZE_MAX)), "$18446744073709551615\r\n");
  EXPECT_EQ(std::string(head, write_resp_head(head, '*', 0)), "*0\r\n");
}

}  // namespace
}  // namespace ringside
