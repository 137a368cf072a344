#include "common/text/json_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace diptych {
namespace {

using ::testing::EndsWith;

TEST(JsonInputTest, SaysWhatIsCommonlyWrong) {
  for (const auto& [text, hint] : {std::pair{"{'a': 1}", "double quotes"},
                                   {"{\"a\": NaN}", "not numbers of JSON"},
                                   {"{\"a\": -Infinity}", "not numbers of JSON"},
                                   {"{\"a\": None}", "null, true and false"},
                                   {"{\"a\": 1 // one\n}", "no comments"},
                                   {"{\"a\": [1, 2,\n]}", "remove the comma before it"},
                                   {"{\"a\": 1, }", "remove the comma before it"},
                                   {"{\"a\": \"b\nc\"}", "is written \\n"},
                                   {"{\"a\": \"b", "ends too early"},
                                   {"{\"a\": ", "ends too early"},
                                   {"{\"a\": \"\xe9\"}", "not UTF-8"},
                                   {"{a: 1}", "error at byte 2"},
                                   {"]", "error at byte 1"}}) {
    EXPECT_THAT(std::string(ParseJsonObject(text).status().message()), EndsWith(hint)) << text;
  }
}

}  // namespace
}  // namespace diptych
