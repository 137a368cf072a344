#include "blip2/prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"
#include "tests/testing/paths.h"

namespace diptych::blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int64_t kImage = 350;
constexpr int64_t kBos = 2;

class PromptTest : public ::testing::Test {
 protected:
  PromptTest() {
    config_.num_query_tokens = 4;
    config_.image_token_id = kImage;
    config_.text.max_position_embeddings = 200;
  }

  absl::StatusOr<Prompt> Build(const PromptInput& input) const { return BuildPrompt(input, config_, tokenizer_); }

  // A conversation of `exchanges` answered questions and one that is not.
  static std::vector<Turn> Talk(int exchanges) {
    std::vector<Turn> turns;
    for (int i = 0; i < exchanges; ++i) {
      turns.push_back({true, "what color is circle " + std::to_string(i) + "?"});
      turns.push_back({false, "it's red"});
    }
    turns.push_back({true, "how many cats are there?"});
    return turns;
  }

  void ExpectRefused(const PromptInput& input, std::string_view reason, const std::string& field) const {
    const absl::Status status = Build(input).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(ReasonOf(status), reason);
    EXPECT_EQ(FieldOf(status), field);
  }

  Config config_;
  const Tokenizer tokenizer_ = *Tokenizer::Load(testing::RepositoryPath("tests/data/tokenizer/single"));
};

TEST_F(PromptTest, FormatsTurnsAsLavisDoes) {
  EXPECT_EQ(FormatTurns({{true, "which city is this?"},
                         {false, "singapore"},
                         {true, "why?"},
                         {false, "it has a statue of a merlion"},
                         {true, "where is the name merlion coming from?"}}),
            "Question: which city is this? Answer: singapore. Question: why? Answer: it has a statue of a merlion. "
            "Question: where is the name merlion coming from? Answer:");
  EXPECT_EQ(FormatTurns({{true, " \nwhy?\n"}, {false, " no\t"}, {true, "a  b"}}),
            "Question: why? Answer: no. Question: a  b Answer:");
  EXPECT_EQ(FormatTurns({{true, "why?"}}), "Question: why? Answer:");
}

TEST_F(PromptTest, ImagesStandFirstThenTheBeginningOfSequence) {
  const auto prompt = Build({.images = 2, .text = "the cat", .turns = {}, .max_new_tokens = 7});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  std::vector<int64_t> expected(8, kImage);
  expected.push_back(kBos);
  for (const int64_t id : tokenizer_.Encode("the cat")) expected.push_back(id);
  EXPECT_EQ(prompt->ids, expected);
  EXPECT_EQ(prompt->budget.window, 200);
  EXPECT_EQ(prompt->budget.image_tokens, 8);
  EXPECT_EQ(prompt->budget.text_tokens, static_cast<int64_t>(expected.size()) - 8);
  EXPECT_EQ(prompt->budget.history_tokens, 0);
  EXPECT_EQ(prompt->budget.reserved_output, 7);
  EXPECT_EQ(prompt->budget.turns_dropped, 0);
}

TEST_F(PromptTest, NoTextAsksForTheCaption) {
  const auto prompt = Build({.images = 1});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_THAT(prompt->ids, ElementsAre(kImage, kImage, kImage, kImage, kBos));
  EXPECT_EQ(prompt->budget.text_tokens, 1);
}

TEST_F(PromptTest, ThePromptIsLiteral) {
  const auto prompt = Build({.images = 0, .text = " a \n"});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  std::vector<int64_t> expected = tokenizer_.Encode(" a \n");
  expected.insert(expected.begin(), kBos);
  EXPECT_EQ(prompt->ids, expected);
}

TEST_F(PromptTest, UserTextCannotWritePlaceholders) {
  const auto prompt = Build({.images = 1, .text = "<image></s>"});
  ASSERT_TRUE(prompt.ok());
  EXPECT_EQ(std::count(prompt->ids.begin(), prompt->ids.end(), kImage), 4);
  EXPECT_EQ(std::count(prompt->ids.begin(), prompt->ids.end(), kBos), 1);
}

// What is kept must be tokenised as if it had been written so, and counted so, at every window size.
TEST_F(PromptTest, DropsTheOldestExchangesFirstAndCountsWhatItSends) {
  const std::vector<Turn> turns = Talk(5);
  int64_t kept_before = -1;
  for (int64_t window = 1; window <= 200; ++window) {
    config_.text.max_position_embeddings = window;
    const auto prompt = Build({.images = 1, .text = "", .turns = turns, .max_new_tokens = 3});
    if (!prompt.ok()) {
      EXPECT_EQ(kept_before, -1) << "a longer window must not fit less";
      continue;
    }
    const PromptBudget& budget = prompt->budget;
    const std::vector<Turn> kept(turns.begin() + budget.turns_dropped, turns.end());
    std::vector<int64_t> expected(4, kImage);
    expected.push_back(kBos);
    for (const int64_t id : tokenizer_.Encode(FormatTurns(kept))) expected.push_back(id);
    EXPECT_EQ(prompt->ids, expected);
    EXPECT_EQ(static_cast<int64_t>(expected.size()), budget.image_tokens + budget.text_tokens + budget.history_tokens);
    EXPECT_LE(static_cast<int64_t>(expected.size()) + 3, window);
    if (budget.turns_dropped > 0) {
      const std::vector<Turn> one_more(turns.begin() + budget.turns_dropped - 2, turns.end());
      EXPECT_GT(4 + 1 + static_cast<int64_t>(tokenizer_.Encode(FormatTurns(one_more)).size()) + 3, window);
    }
    kept_before = static_cast<int64_t>(kept.size());
  }
  EXPECT_EQ(kept_before, 11) << "the longest window holds everything";
}

TEST_F(PromptTest, CutsAtWordBordersWhateverTheTurnsSay) {
  config_.text.max_position_embeddings = 2048;
  const std::vector<std::string> texts = {"...",     "'s",   "a'", ":",   "1",   "\u00a0x",
                                          "\u200bx", "日本", "😀.", "x .", "</s>"};
  for (const std::string& question : texts) {
    for (const std::string& answer : texts) {
      const std::vector<Turn> turns = {
          {true, question}, {false, answer}, {true, answer}, {false, ""}, {true, question}};
      const auto prompt = Build({.images = 0, .text = "", .turns = turns});
      ASSERT_TRUE(prompt.ok()) << prompt.status();
      std::vector<int64_t> expected = tokenizer_.Encode(FormatTurns(turns));
      expected.insert(expected.begin(), kBos);
      EXPECT_EQ(prompt->ids, expected) << FormatTurns(turns);
    }
  }
}

TEST_F(PromptTest, SaysTheCountsWhenTheWindowIsTooShort) {
  config_.text.max_position_embeddings = 10;
  const absl::Status status = Build({.images = 2, .text = "!!", .turns = {}, .max_new_tokens = 20}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ReasonOf(status), reason::kContextLengthExceeded);
  EXPECT_THAT(
      std::string(status.message()),
      HasSubstr("the prompt is too long: this model's maximum context length is 10 tokens; 31 are needed: 8 image "
                "+ 3 text + 20 for the answer"));
  const absl::Status long_answer = Build({.images = 0, .text = "!!", .turns = {}, .max_new_tokens = 20}).status();
  EXPECT_EQ(long_answer.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(long_answer.message()), StartsWith("this model's maximum context length is 10 tokens; 23"));
}

TEST_F(PromptTest, FillsTheWindowToTheLastToken) {
  const int64_t text = 1 + static_cast<int64_t>(tokenizer_.Encode("the cat").size());
  config_.text.max_position_embeddings = 4 + text + 5;
  EXPECT_TRUE(Build({.images = 1, .text = "the cat", .turns = {}, .max_new_tokens = 5}).ok());
  EXPECT_FALSE(Build({.images = 1, .text = "the cat", .turns = {}, .max_new_tokens = 6}).ok());
}

// An image without words, answered by its caption.
TEST_F(PromptTest, ACaptionLeavesItsAnswerInTheConversation) {
  const std::vector<Turn> turns = {{true, " ", 1}, {false, "a red circle"}, {true, "what color is it?"}};
  EXPECT_EQ(FormatTurns(turns), "a red circle. Question: what color is it? Answer:");
  EXPECT_EQ(FormatTurns({{true, "why?"}, {false, "so"}, {true, ""}, {false, "a cat"}, {true, "how?"}}),
            "Question: why? Answer: so. a cat. Question: how? Answer:");
  EXPECT_EQ(FormatTurns({{true, ""}, {false, ""}, {true, "how?"}}), "Question: how? Answer:");
  for (const std::vector<Turn>& talk : {turns,
                                        {{true, "why?"}, {false, "so"}, {true, "", 1}, {false, "'s 1"}, {true, "how?"}},
                                        {{true, "", 1}, {false, ""}, {true, "how?"}}}) {
    const auto prompt = Build({.images = 1, .turns = talk});
    ASSERT_TRUE(prompt.ok()) << prompt.status();
    std::vector<int64_t> expected(4, kImage);
    expected.push_back(kBos);
    for (const int64_t id : tokenizer_.Encode(FormatTurns(talk))) expected.push_back(id);
    EXPECT_EQ(prompt->ids, expected);
    EXPECT_EQ(prompt->budget.turns_dropped, 0);
  }
}

TEST_F(PromptTest, ACaptionAtTheEndIsAskedAlone) {
  const auto prompt = Build({.images = 2, .turns = {{true, "why?", 1}, {false, "so"}, {true, "\n", 1}}});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_THAT(prompt->ids, ElementsAre(kImage, kImage, kImage, kImage, kBos));
  EXPECT_EQ(prompt->images_dropped, 1);
  EXPECT_EQ(prompt->budget.turns_dropped, 2);
  EXPECT_EQ(prompt->budget.text_tokens, 1);
}

TEST_F(PromptTest, WhiteSpaceBesideAnImageAsksForTheCaption) {
  const auto prompt = Build({.images = 1, .text = " \n"});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_THAT(prompt->ids, ElementsAre(kImage, kImage, kImage, kImage, kBos));
}

TEST_F(PromptTest, TheOldestImagesGoWithTheirTurnsWhenTheyDoNotFit) {
  const std::vector<Turn> turns = {{true, "one?", 2}, {false, "a"}, {true, "two?", 1}, {false, "b"},
                                   {true, "three?"},  {false, "c"}, {true, "four?", 1}};
  for (int64_t window = 1; window <= 60; ++window) {
    config_.text.max_position_embeddings = window;
    const auto prompt = Build({.images = 4, .turns = turns, .max_new_tokens = 3});
    if (!prompt.ok()) {
      EXPECT_EQ(ReasonOf(prompt.status()), reason::kContextLengthExceeded);
      continue;
    }
    const PromptBudget& budget = prompt->budget;
    EXPECT_EQ(std::count(prompt->ids.begin(), prompt->ids.end(), kImage), 4 * (4 - prompt->images_dropped));
    EXPECT_EQ(budget.image_tokens, 4 * (4 - prompt->images_dropped));
    EXPECT_LE(static_cast<int64_t>(prompt->ids.size()) + 3, window);
    // 2 with the first exchange, 3 with the second.
    EXPECT_THAT(prompt->images_dropped, ::testing::AnyOf(0, 2, 3));
    if (prompt->images_dropped > 0) {
      EXPECT_GE(budget.turns_dropped, prompt->images_dropped == 2 ? 2 : 4);
    }
    const std::vector<Turn> kept(turns.begin() + budget.turns_dropped, turns.end());
    const std::vector<int64_t> text(prompt->ids.begin() + budget.image_tokens + 1, prompt->ids.end());
    EXPECT_EQ(text, tokenizer_.Encode(FormatTurns(kept)));
  }
  config_.text.max_position_embeddings =
      4 + 1 + static_cast<int64_t>(tokenizer_.Encode(FormatTurns({turns.back()})).size()) + 3;
  const auto least = Build({.images = 4, .turns = turns, .max_new_tokens = 3});
  ASSERT_TRUE(least.ok()) << least.status();
  EXPECT_EQ(least->images_dropped, 3);
  EXPECT_EQ(least->budget.turns_dropped, 6);
}

TEST_F(PromptTest, ImagesOfTheWholeConversationAndOfOneQuestionStay) {
  config_.text.max_position_embeddings = 14;
  EXPECT_EQ(ReasonOf(Build({.images = 4, .turns = {{true, "a?"}, {false, "b"}, {true, "c?"}}}).status()),
            reason::kContextLengthExceeded);
  EXPECT_EQ(ReasonOf(Build({.images = 4, .turns = {{true, "a?", 4}}}).status()), reason::kContextLengthExceeded);
}

TEST_F(PromptTest, TheAnswerIsCutToWhatTheWindowLeaves) {
  const int64_t text = 1 + static_cast<int64_t>(tokenizer_.Encode("the cat").size());
  const auto cut = Build({.images = 1, .text = "the cat", .max_new_tokens = 4096, .cut_max_new_tokens = true});
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(cut->budget.reserved_output, 200 - 4 - text);
  const auto whole = Build({.images = 1, .text = "the cat", .max_new_tokens = 7, .cut_max_new_tokens = true});
  EXPECT_EQ(whole->budget.reserved_output, 7);
  config_.text.max_position_embeddings = 4 + text;
  EXPECT_EQ(ReasonOf(Build({.images = 1, .text = "the cat", .cut_max_new_tokens = true}).status()),
            reason::kContextLengthExceeded)
      << "not even one token is left";
}

TEST_F(PromptTest, AQuarterOfTheWindowIsLeftForAnAnswerThatIsCut) {
  const auto prompt = Build({.images = 1, .turns = Talk(20), .max_new_tokens = 4096, .cut_max_new_tokens = true});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_GE(prompt->budget.reserved_output, 50);
  EXPECT_GT(prompt->budget.history_tokens, 0);
  EXPECT_GT(prompt->budget.turns_dropped, 0);
}

TEST_F(PromptTest, TokenIdsAreTakenAsTheyAre) {
  const auto prompt = Build({.images = 1, .ids = {kBos, 7, 7}});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_THAT(prompt->ids, ElementsAre(kImage, kImage, kImage, kImage, kBos, 7, 7));
  EXPECT_EQ(prompt->budget.text_tokens, 3);
  for (const int64_t id : {int64_t{-1}, kImage, config_.text.vocab_size}) {
    ExpectRefused({.ids = {1, id}}, reason::kOptionRange, "prompt_token_ids");
  }
  ExpectRefused({.text = "a", .ids = {1}}, reason::kQuestionForm, "prompt");
}

TEST_F(PromptTest, TurnsNameAllImagesOrNone) {
  ExpectRefused({.images = 2, .turns = {{true, "a", 1}}}, reason::kQuestionForm, "turns");
  ExpectRefused({.images = 1, .turns = {{true, "a"}, {false, "b", 1}, {true, "c"}}}, reason::kQuestionForm, "turns");
  ExpectRefused({.images = 1, .turns = {{true, "a", 2}, {false, "b"}, {true, "c", -1}}}, reason::kQuestionForm,
                "turns");
}

TEST_F(PromptTest, RefusesWhatDoesNotFitTogether) {
  ExpectRefused({.images = 0, .text = ""}, reason::kQuestionForm, "prompt");
  ExpectRefused({.images = 0, .text = "a", .turns = Talk(0)}, reason::kQuestionForm, "prompt");
  ExpectRefused({.turns = {{true, "a"}, {false, "b"}}}, reason::kQuestionForm, "turns");
  ExpectRefused({.turns = {{false, "a"}}}, reason::kQuestionForm, "turns");
  ExpectRefused({.turns = {{true, "a"}, {true, "b"}, {true, "c"}}}, reason::kQuestionForm, "turns");
  ExpectRefused({.turns = {{true, " \n"}}}, reason::kQuestionForm, "turns");
  ExpectRefused({.turns = {{true, ""}, {false, "b"}, {true, "c"}}}, reason::kQuestionForm, "turns");
}

TEST_F(PromptTest, RefusesTextThatIsNotUtf8) {
  ExpectRefused({.images = 1, .text = "\xff"}, reason::kTextEncoding, "prompt");
  ExpectRefused({.turns = {{true, "a\xe2\x82"}}}, reason::kTextEncoding, "turns");
}

}  // namespace
}  // namespace diptych::blip2
