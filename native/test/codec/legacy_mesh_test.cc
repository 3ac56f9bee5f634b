#include "native/codec/legacy_mesh.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "native/base/limits.h"
#include "native/codec/mesh_header.h"
#include "native/test/codec/header_builder.h"

namespace ringside {
namespace {

const uint8_t* json_bytes(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

struct Translated {
  LegacyProblem problem;
  std::vector<uint8_t> header;
  HeaderView view;
};
Translated to_mesh(std::string_view json) {
  Translated out;
  LegacyRequest request;
  out.problem = parse_legacy_request(json_bytes(json), json.size(), &request);
  if (out.problem.ec != 0) return out;
  out.header.resize(kMaxHeaderBytes);
  size_t n = 0;
  out.problem = write_request_header(request, out.header.data(), &n);
  out.header.resize(n);
  if (out.problem.ec == 0) {
    EXPECT_EQ(parse_header(out.header.data(), n, &out.view), nullptr);
  }
  return out;
}
std::string to_json(const test::HeaderBuilder& header, std::string_view body) {
  std::string out;
  const char* problem = append_request_json(header.bytes().data(), header.bytes().size(), body, &out);
  return problem == nullptr ? out : std::string("! ") + problem;
}
std::string reply_json(Code code, const test::HeaderBuilder& header, std::string_view body) {
  std::string out;
  append_reply_json(code, header.bytes().data(), header.bytes().size(), body, &out);
  return out;
}

TEST(LegacyToMesh, NamesBecomeTheHeader) {
  const Translated got = to_mesh(R"({"action":"\/service\/x#g","params":{"m":"get","args":[]},"props":{"hashid":"7","k\u00e9":"v"}})");
  ASSERT_EQ(got.problem.ec, 0);
  EXPECT_EQ(got.view.service, "/service/x");
  EXPECT_EQ(got.view.group, "g");
  EXPECT_EQ(got.view.method, "get");
  EXPECT_EQ(got.view.hash_key, "7");
  EXPECT_EQ(got.view.content_type, "application/json");
  EXPECT_EQ(find_attachment(got.header.data(), got.header.size(), "k\xC3\xA9"), "v");
  EXPECT_EQ(to_mesh(R"({"action":"a#*","params":{"m":"x"}})").view.group, "");
}

TEST(LegacyToMesh, RefusesWhatAHeaderCannotHold) {
  const auto with = [](std::string action, std::string props) {
    return to_mesh(R"({"action":")" + action + R"(","params":{"m":"x"},"props":{)" + props + "}}").problem.ec;
  };
  EXPECT_EQ(with(std::string(256, 'a'), ""), 0);
  EXPECT_EQ(with(std::string(257, 'a'), ""), 402);
  EXPECT_EQ(with("a#" + std::string(257, 'a'), ""), 402);
  EXPECT_EQ(with("#g", ""), 402);
  EXPECT_EQ(with("a", R"("k":1)"), 302);
  EXPECT_EQ(with("a", R"("k":")" + std::string(17'000, 'v') + '"'), 302);
  EXPECT_EQ(with("a", R"("k":")" + std::string(200'000, 'v') + '"'), 302);
  std::string many;
  for (int i = 0; i < 65; i++) many += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":\"\"";
  EXPECT_EQ(with("a", many), 302);
}

TEST(MeshToLegacy, RequestsKeepTheirNamesAndBody) {
  const auto header = test::HeaderBuilder().text(1, "/s").text(2, "m\"").text(3, "g").text(10, "7").entry("k", "old").entry("k", "v");
  EXPECT_EQ(to_json(header, " [1, \"x\"] "), R"({"action":"/s#g","params":{"m":"m\"","args": [1, "x"] },"props":{"k":"v","hashid":"7"}})");
  EXPECT_EQ(to_json(test::HeaderBuilder().text(1, "/s").text(2, "m"), "[]"), R"({"action":"/s","params":{"m":"m","args":[]}})");
}

TEST(MeshToLegacy, NoBodyAddsAnAction) {
  const auto header = test::HeaderBuilder().text(1, "/s").text(2, "m");
  for (const char* body : {"", "1", "{}", "[", R"([]},"action":"/other","x":{"a":[])", "[]]", "[\"\xff\"]"}) {
    EXPECT_EQ(to_json(header, body)[0], '!') << body;
  }
  EXPECT_EQ(to_json(header, std::string_view("[]\0[]", 5))[0], '!');
  EXPECT_EQ(to_json(test::HeaderBuilder().text(1, "/s#g").text(2, "m"), "[]")[0], '!');
}

TEST(MeshToLegacy, RepliesKeepCodeTextAndResult) {
  EXPECT_EQ(reply_json(Code::kOk, {}, "{\"a\":1}"), R"({"ec":200,"em":"","result":{"a":1}})");
  EXPECT_EQ(reply_json(Code::kOk, {}, ""), R"({"ec":200,"em":"","result":null})");
  EXPECT_EQ(reply_json(Code::kOk, {}, "1}").substr(0, 11), R"({"ec":3021,)");
  EXPECT_EQ(reply_json(Code::kDeadlineExceeded, test::HeaderBuilder().text(6, "late"), ""), R"({"ec":304,"em":"late","result":null})");
  const auto old = test::HeaderBuilder().text(6, "gone").entry("moa.ec", "501");
  EXPECT_EQ(reply_json(Code::kUnimplemented, old, ""), R"({"ec":501,"em":"gone","result":null})");
  // A code that says something else than the status is none of an old server's.
  EXPECT_EQ(reply_json(Code::kUnavailable, old, ""), R"({"ec":303,"em":"gone","result":null})");
}

TEST(LegacyReplyToMesh, CarriesTheServersOwnCode) {
  for (const std::string& em : {std::string("it threw"), std::string(20'000, 'x'), std::string(20'000, '\\')}) {
    const std::string json = R"({"ec":503,"em":")" + em + "\"}";
    LegacyReply reply;
    ASSERT_EQ(parse_legacy_reply(json_bytes(json), json.size(), &reply), nullptr);
    std::vector<uint8_t> header(kMaxHeaderBytes);
    header.resize(write_reply_header(reply, header.data()));
    HeaderView view;
    ASSERT_EQ(parse_header(header.data(), header.size(), &view), nullptr);
    EXPECT_FALSE(view.status_message.empty());
    EXPECT_EQ(find_attachment(header.data(), header.size(), kEcAttachment), "503");
  }
}

}  // namespace
}  // namespace ringside
