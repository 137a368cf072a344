#include "blip2/tokenizer/pretokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace diptych::blip2 {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Words(const std::string& text) {
  const auto pretokenizer = Pretokenizer::Create();
  EXPECT_TRUE(pretokenizer.ok()) << pretokenizer.status();
  std::vector<std::string> words;
  for (const std::string_view word : pretokenizer->Split(text)) words.emplace_back(word);
  return words;
}

TEST(PretokenizerTest, OneSpaceGoesWithTheWordBehindIt) {
  EXPECT_THAT(Words("a  b 12 !?"), ElementsAre("a", " ", " b", " 12", " !?"));
  EXPECT_THAT(Words("a\n\nb\t c "), ElementsAre("a", "\n", "\n", "b", "\t", " c", " "));
}

TEST(PretokenizerTest, ContractionsAreLowerCase) {
  EXPECT_THAT(Words("it's IT'S we'll've"), ElementsAre("it", "'s", " IT", "'", "S", " we", "'ll", "'ve"));
}

TEST(PretokenizerTest, LettersNumbersAndOthersFollowUnicode) {
  EXPECT_THAT(Words("née²½日本x\u0301"), ElementsAre("née", "²½", "日本x", "\u0301"));
}

TEST(PretokenizerTest, WhiteSpaceIsUnicodeWhiteSpace) {
  EXPECT_THAT(Words("a\u0085\u00a0\u3000\u2028b"), ElementsAre("a", "\u0085\u00a0\u3000", "\u2028", "b"));
  for (const char* other : {"\u180e", "\u200b", "\ufeff"}) {
    EXPECT_THAT(Words(std::string("a!") + other + "!"), ElementsAre("a", std::string("!") + other + "!"));
  }
}

TEST(PretokenizerTest, WordsTogetherAreTheText) {
  const std::string text("\0 a\0b  \x7f\u0301 \U0010ffff\n", 17);
  std::string together;
  for (const std::string& word : Words(text)) together += word;
  EXPECT_EQ(together, text);
  EXPECT_THAT(Words(""), ElementsAre());
}

TEST(PretokenizerTest, LongRunsAreOneWord) {
  EXPECT_THAT(Words(std::string(1 << 20, ' ')), ElementsAre(std::string(1 << 20, ' ')));
  EXPECT_THAT(Words(std::string(1 << 20, ' ') + "x"), ElementsAre(std::string((1 << 20) - 1, ' '), " x"));
}

}  // namespace
}  // namespace diptych::blip2
