#include "language_service/engine/answer_text.h"

#include <gtest/gtest.h>

#include "tests/testing/tiny_checkpoint.h"
#include "tests/testing/tiny_tokenizer.h"

namespace diptych::language {
namespace {

class AnswerTextTest : public ::testing::Test {
 protected:
  // The pieces for a text that comes byte by byte, the last one from Finish.
  std::vector<std::string> Pieces(const std::string& text, std::vector<std::string> stop = {}) {
    AnswerText answer(tokenizer_, std::move(stop));
    std::vector<std::string> pieces;
    for (const char byte : text) {
      pieces.push_back(answer.Push(testing::TinyByteToken(static_cast<unsigned char>(byte))));
    }
    pieces.push_back(answer.Finish());
    std::string joined;
    for (const std::string& piece : pieces) joined += piece;
    EXPECT_EQ(joined, answer.text());
    found_ = answer.stop_string_found();
    return pieces;
  }

  std::string Text(const std::string& text, std::vector<std::string> stop = {}) {
    std::string joined;
    for (const std::string& piece : Pieces(text, std::move(stop))) joined += piece;
    return joined;
  }

  testing::TinyCheckpoint checkpoint_;
  blip2::Tokenizer tokenizer_ = *blip2::Tokenizer::Load(checkpoint_.folder());
  bool found_ = false;
};

TEST_F(AnswerTextTest, StripsBothEndsAndKeepsTheMiddle) {
  EXPECT_EQ(Text(" \n a  red\tcircle \r\n"), "a  red\tcircle");
  EXPECT_EQ(Text("   "), "");
  EXPECT_EQ(Text(""), "");
}

TEST_F(AnswerTextTest, StripsWhatPythonStrips) {
  EXPECT_EQ(Text("\xC2\xA0\xE3\x80\x80 x \xE2\x80\xA8\x1F"), "x");
  EXPECT_EQ(Text("\xE2\x80\x8Bx"), "\xE2\x80\x8Bx") << "a zero-width space is no white space";
}

TEST_F(AnswerTextTest, HoldsWhiteSpaceBackUntilMoreFollows) {
  const std::vector<std::string> pieces = Pieces(" a b ");
  EXPECT_EQ(pieces, (std::vector<std::string>{"", "a", "", " b", "", ""}));
}

TEST_F(AnswerTextTest, NeverSplitsACharacter) {
  const std::vector<std::string> pieces = Pieces("\xC3\xA9");
  EXPECT_EQ(pieces, (std::vector<std::string>{"", "\xC3\xA9", ""}));
}

TEST_F(AnswerTextTest, AStopStringEndsTheTextBeforeItself) {
  EXPECT_EQ(Text("a red END circle", {"END"}), "a red");
  EXPECT_TRUE(found_);
}

TEST_F(AnswerTextTest, HalfAStopStringIsPartOfTheAnswer) {
  EXPECT_EQ(Text("a red EN", {"END"}), "a red EN");
  EXPECT_FALSE(found_);
}

}  // namespace
}  // namespace diptych::language
