#include "common/text/strict_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace diptych {
namespace {

using nlohmann::json;

std::optional<JsonFault> Read(std::string_view text, json& value, JsonBounds bounds = {.max_depth = 8}) {
  return ReadStrictJson(text, bounds, value);
}

TEST(StrictJsonTest, GivesTheValueThatTheParserGives) {
  for (const char* text : {"null", "true", "-3", "18446744073709551615", "2.5e-3", R"("a\u00e9\n")", "[]", "{}",
                           "[[],[1,{}]]", R"({"a":[1,"b",null,{"c":false}],"":{"a":-0.0},"z":[[[]]]})", " [1 , 2]\n"}) {
    json value;
    EXPECT_FALSE(Read(text, value)) << text;
    EXPECT_EQ(value, json::parse(text)) << text;
  }
}

TEST(StrictJsonTest, SaysWhereTheSyntaxEnds) {
  for (const char* text : {"", "{", "[1,]", R"({"a" 1})", "[1] 2", "nul", "\"\x01\"", "\"\xff\"", "{1:2}"}) {
    json value;
    const auto fault = Read(text, value);
    ASSERT_TRUE(fault) << text;
    EXPECT_EQ(fault->kind, JsonFault::Kind::kSyntax) << text;
    EXPECT_TRUE(fault->byte) << text;
  }
}

TEST(StrictJsonTest, ANumberBeyondADoubleHasNoByte) {
  json value;
  const auto fault = Read("[1e999]", value);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, JsonFault::Kind::kSyntax);
  EXPECT_FALSE(fault->byte);
}

TEST(StrictJsonTest, EndsAtItsDepth) {
  json value;
  EXPECT_FALSE(Read("[[[]]]", value, {.max_depth = 3}));
  EXPECT_EQ(Read("[[[[]]]]", value, {.max_depth = 3})->kind, JsonFault::Kind::kDepth);
  EXPECT_EQ(Read(std::string(1 << 20, '['), value, {.max_depth = 3})->kind, JsonFault::Kind::kDepth);
}

TEST(StrictJsonTest, CountsValuesAndKeys) {
  json value;
  EXPECT_FALSE(Read(R"({"a":[true]})", value, {.max_depth = 3, .max_values = 4}));
  EXPECT_EQ(Read(R"({"a":[true]})", value, {.max_depth = 3, .max_values = 3})->kind, JsonFault::Kind::kValues);
}

TEST(StrictJsonTest, CountsNumbersInListsApart) {
  const JsonBounds bounds{.max_depth = 3, .max_values = 5, .max_numbers = 3};
  json value;
  EXPECT_FALSE(Read(R"({"a":[1,-2,3.5],"b":4})", value, bounds));
  EXPECT_EQ(Read(R"({"a":[1,-2,3.5,4]})", value, bounds)->kind, JsonFault::Kind::kNumbers);
  EXPECT_EQ(Read(R"({"a":[[1,2],[3,4]]})", value, bounds)->kind, JsonFault::Kind::kNumbers);
  EXPECT_EQ(Read(R"({"a":1,"b":2,"c":3})", value, bounds)->kind, JsonFault::Kind::kValues);
}

TEST(StrictJsonTest, NamesTheKeyThatOneObjectHasTwice) {
  json value;
  EXPECT_FALSE(Read(R"({"a":{"a":1},"b":{"a":1}})", value));
  const auto fault = Read(R"({"b":{"a":1,"a":2}})", value);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, JsonFault::Kind::kRepeatedKey);
  EXPECT_EQ(fault->key, "a");
  EXPECT_EQ(fault->depth, 2u);
}

// A parser that looks at all members again after each would need minutes here.
TEST(StrictJsonTest, TakesObjectsOfManyMembers) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += '"' + std::to_string(i) + "\":{},";
  text.back() = '}';
  json value;
  EXPECT_FALSE(Read(text, value));
  EXPECT_EQ(value.size(), 200'000u);
}

}  // namespace
}  // namespace diptych
