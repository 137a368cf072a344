#include "gateway/generated_text.h"

#include <gtest/gtest.h>

#include <vector>

namespace diptych::gateway {
namespace {

GeneratedText::Steps Steps(const std::vector<std::string>& tokens) {
  GeneratedText::Steps steps;
  for (const std::string& token : tokens) steps.Add()->mutable_chosen()->set_text(token);
  return steps;
}

std::string Whole(const std::string& text, const std::vector<std::string>& tokens,
                  v1::FinishReason reason = v1::FINISH_REASON_LENGTH, const std::string& stop = "") {
  v1::GenerationOptions options;
  if (!stop.empty()) options.add_stop(stop);
  GeneratedText generated;
  std::string whole = generated.Push(text, Steps(tokens));
  return whole += generated.Finish(reason, options);
}

TEST(GeneratedTextTest, WhiteSpaceAtBothEndsComesBack) {
  EXPECT_EQ(Whole("a b", {" a", " b"}), " a b");
  EXPECT_EQ(Whole("a", {"\n", " a", " ", "\t"}), "\n a \t");
  EXPECT_EQ(Whole("", {" ", "\n"}), " \n");
  EXPECT_EQ(Whole("", {}), "");
  EXPECT_EQ(Whole("a", {"\u3000", " a", "\u00A0", "\u2028"}), "\u3000 a\u00A0\u2028");
  EXPECT_EQ(Whole("a", {"\xE3", "\x80\x80", "a", "\xC2", "\x85"}), "\u3000a\u0085");
}

TEST(GeneratedTextTest, TheTokenThatEndsAnAnswerHasNoText) {
  EXPECT_EQ(Whole("a", {" a", " ", "</s>"}, v1::FINISH_REASON_STOP), " a ");
  EXPECT_EQ(Whole("", {" "}, v1::FINISH_REASON_STOP), "");
}

TEST(GeneratedTextTest, AStopStringIsLeftOut) {
  EXPECT_EQ(Whole("a", {" a", " \n", "Q:"}, v1::FINISH_REASON_STOP_STRING, "Q:"), " a \n");
  EXPECT_EQ(Whole("a", {" a", " \n"}, v1::FINISH_REASON_STOP_STRING, "\n"), " a ");
  EXPECT_EQ(Whole("", {" ", "\n"}, v1::FINISH_REASON_STOP_STRING, "\n"), " ");
}

TEST(GeneratedTextTest, PiecesAreTheWhole) {
  GeneratedText generated;
  EXPECT_EQ(generated.Push("", Steps({" "})), "");
  EXPECT_EQ(generated.Push("a", Steps({" a"})), "  a");
  EXPECT_EQ(generated.Push("", Steps({" "})), "");
  EXPECT_EQ(generated.Push("  b", Steps({" b"})), "  b");
  EXPECT_EQ(generated.Push("", Steps({"\n"})), "");
  EXPECT_EQ(generated.Finish(v1::FINISH_REASON_LENGTH, {}), "\n");
}

TEST(GeneratedTextTest, BytesThatAreNoTextStandAsTheyAreShown) {
  EXPECT_EQ(Whole("\xEF\xBF\xBD", {" ", "\xE2\x82"}), " \xEF\xBF\xBD");
}

}  // namespace
}  // namespace diptych::gateway
