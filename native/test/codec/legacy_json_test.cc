#include "native/codec/legacy_json.h"

#include <gtest/gtest.h>

#include <string>

namespace ringside {
namespace {

const uint8_t* bytes(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }
bool valid(std::string_view text) { return is_json(bytes(text), text.size()); }

LegacyProblem parse(std::string_view text, LegacyRequest* out) { return parse_legacy_request(bytes(text), text.size(), out); }
int64_t ec_for(std::string_view text) {
  LegacyRequest request;
  return parse(text, &request).ec;
}

TEST(Json, KnowsWhatIsAValue) {
  for (const char* good : {"null", " true\n", "[]", "[ ]", "{}", "[1,[2,{\"a\":[]}],\"x\"]", "-0.5e+10", "0", "\"\\ud83d\\ude00\\/\"", "\"\x7f\""}) {
    EXPECT_TRUE(valid(good)) << good;
  }
  for (const char* bad : {"", " ", "nul", "truex", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "01", "1.", ".5", "-", "+1", "1e", "\"",
                          "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "[1}", "{\"a\":1]", "1 2", "\xEF\xBB\xBF[]", "\"\xff\"", "[", "[1", "{\"a\":1", "\"\\"}) {
    EXPECT_FALSE(valid(bad)) << bad;
  }
  EXPECT_FALSE(is_json(bytes(std::string_view("\"\\\0\"", 4)), 4));
}

TEST(Json, BoundsItsDepth) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(valid(nested(kMaxJsonDepth)));
  EXPECT_FALSE(valid(nested(kMaxJsonDepth + 1)));
  std::string mixed;
  for (int i = 0; i < 100; i++) mixed += "{\"a\":[";
  mixed += "1";
  for (int i = 0; i < 100; i++) mixed += "]}";
  EXPECT_TRUE(valid(mixed));
}

TEST(Json, DecodesAndWritesStrings) {
  JsonText text;
  ASSERT_TRUE(json_text_of("\"a\\u0000\\n\\ud83d\\ude00\\ud83dx\\udc00\"", &text));
  std::string out(text.raw.size(), '\0');
  out.resize(decode_json_text(text, reinterpret_cast<uint8_t*>(out.data())));
  EXPECT_EQ(out, std::string("a\0\n\xF0\x9F\x98\x80\xEF\xBF\xBDx\xEF\xBF\xBD", 14));
  const std::string_view odd("\x01\"\\\b\xC3\xA9", 6);
  std::string written(json_string_bytes(odd), '\0');
  write_json_string(reinterpret_cast<uint8_t*>(written.data()), odd);
  EXPECT_EQ(written, "\"\\u0001\\\"\\\\\\b\xC3\xA9\"");
}

TEST(LegacyRequestReader, FindsWhatTheAgentLooksAt) {
  LegacyRequest request;
  ASSERT_EQ(parse(R"( {"other":[{"action":"no"}],"action":"/service/x#g","params":{"args":["a", 1],"m":"get"},"props":{"k":"v"}} )", &request).ec, 0);
  EXPECT_EQ(request.action.raw, "/service/x#g");
  EXPECT_EQ(request.method.raw, "get");
  EXPECT_EQ(request.args, "[\"a\", 1]");
  EXPECT_EQ(request.props, R"({"k":"v"})");
}

TEST(LegacyRequestReader, TakesTheLastOfDuplicates) {
  LegacyRequest request;
  ASSERT_EQ(parse(R"({"action":"a","\u0061ction":"b","params":{"m":"x","args":[1]},"params":{"m":"y"}})", &request).ec, 0);
  EXPECT_EQ(request.action.raw, "b");
  EXPECT_EQ(request.method.raw, "y");
  EXPECT_EQ(request.args, "[]");
}

TEST(LegacyRequestReader, SaysWhatIsWrong) {
  EXPECT_EQ(ec_for("x"), 302);
  EXPECT_EQ(ec_for("[]"), 302);
  EXPECT_EQ(ec_for("{\"action\":\"a\"} x"), 302);
  EXPECT_EQ(ec_for(R"({"params":{"m":"x"}})"), 401);
  EXPECT_EQ(ec_for(R"({"action":null,"params":{"m":"x"}})"), 401);
  EXPECT_EQ(ec_for(R"({"action":1,"params":{"m":"x"}})"), 402);
  EXPECT_EQ(ec_for(R"({"action":"","params":{"m":"x"}})"), 402);
  EXPECT_EQ(ec_for(R"({"action":"a"})"), 502);
  EXPECT_EQ(ec_for(R"({"action":"a","params":"m"})"), 502);
  EXPECT_EQ(ec_for(R"({"action":"a","params":{"m":"x","args":{}}})"), 302);
  EXPECT_EQ(ec_for(R"({"action":"a","params":{"m":"x"},"props":[]})"), 302);
  EXPECT_EQ(ec_for(R"({"action":"a","params":{"m":"x","args":null},"props":null})"), 0);
}

TEST(LegacyReplyReader, FindsCodeTextAndResult) {
  const auto read = [](std::string_view text, LegacyReply* reply) { return parse_legacy_reply(bytes(text), text.size(), reply); };
  LegacyReply reply;
  ASSERT_EQ(read(R"({"ec":200,"em":"","result":{"a":1}})", &reply), nullptr);
  EXPECT_EQ(reply.ec, 200);
  EXPECT_EQ(reply.result, R"({"a":1})");
  ASSERT_EQ(read(R"({"ec":503,"em":"it threw"})", &reply), nullptr);
  EXPECT_EQ(reply.ec, 503);
  EXPECT_EQ(reply.em.raw, "it threw");
  EXPECT_EQ(reply.result, "null");
  for (const char* bad : {"", "1", "{}", R"({"ec":"200"})", R"({"ec":2.5})", R"({"ec":1,"em":2})", R"({"ec":1} x)"}) {
    EXPECT_NE(read(bad, &reply), nullptr) << bad;
  }
}

}  // namespace
}  // namespace ringside
