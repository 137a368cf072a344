#include "gateway/http/json_members.h"

#include <gtest/gtest.h>

#include "common/status.h"

namespace diptych::gateway {
namespace {

using nlohmann::json;

TEST(JsonMembersTest, TakesWholeNumbersAsClientsWriteThem) {
  EXPECT_EQ(WholeNumber(json::parse("16")), 16);
  EXPECT_EQ(WholeNumber(json::parse("16.0")), 16);
  EXPECT_EQ(WholeNumber(json::parse("-1.0")), -1);
  for (const char* wrong : {"1.5", "\"16\"", "true", "null", "1e30", "2147483648", "[1]"}) {
    EXPECT_EQ(WholeNumber(json::parse(wrong)), std::nullopt) << wrong;
  }
}

TEST(JsonMembersTest, TakesUnknownMembersThatAskForNothing) {
  const json object = json::parse(R"({"a": null, "b": false, "c": 0, "d": 0.0, "e": "", "f": [], "g": {},
      "h": {"x": null, "y": 0, "z": {"deep": [""]}}, "i": [null, "", {}, [{"x": false}]]})");
  EXPECT_TRUE(Members(object, "").Finish().ok());
}

TEST(JsonMembersTest, RefusesUnknownMembersThatAskForSomethingByTheirPath) {
  for (const char* value : {"true", "1", "-1", "0.5", "\" \"", "[0]", "[false]", R"({"x": 1})", R"([{"x": "y"}])"}) {
    const json object = {{"known", 1}, {"other", json::parse(value)}};
    Members members(object, "body");
    members.Take("known");
    const absl::Status status = members.Finish();
    EXPECT_EQ(ReasonOf(status), kUnsupportedParameter) << value;
    EXPECT_EQ(FieldOf(status), "body.other") << value;
  }
}

TEST(JsonMembersTest, KeepsTheFirstFault) {
  const json object = {{"n", "x"}, {"flag", 1}};
  Members members(object, "");
  members.Integer("n", [](int32_t) {});
  members.Flag("flag");
  EXPECT_EQ(FieldOf(members.Finish()), "n");
}

}  // namespace
}  // namespace diptych::gateway
