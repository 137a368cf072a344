#include "common/requests/question_limits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "common/status.h"
#include "tests/testing/image_headers.h"

namespace diptych {
namespace {

using testing::PngHeader;

v1::Question TextQuestion() {
  v1::Question question;
  question.set_prompt("a question");
  return question;
}

void AddTurn(v1::Question& question, v1::Role role, const std::string& text) {
  v1::Turn* turn = question.add_turns();
  turn->set_role(role);
  turn->set_text(text);
}

TEST(QuestionLimitsTest, AcceptsTextAlone) {
  EXPECT_TRUE(CheckQuestion(TextQuestion(), {}).ok());
}

TEST(QuestionLimitsTest, AcceptsAnImageWithoutTextAsACaption) {
  v1::Question question;
  question.add_images()->set_data(PngHeader(64, 64));
  EXPECT_TRUE(CheckQuestion(question, {}).ok()) << CheckQuestion(question, {});
  question.set_return_relevance(true);
  EXPECT_TRUE(CheckQuestion(question, {}).ok()) << CheckQuestion(question, {});
}

struct Fault {
  const char* name;
  std::function<void(v1::Question&)> make;
  std::string_view reason;
  const char* field;
};

class QuestionFaultTest : public ::testing::TestWithParam<Fault> {};

TEST_P(QuestionFaultTest, IsRefusedWithReasonAndField) {
  v1::Question question = TextQuestion();
  GetParam().make(question);
  const absl::Status status = CheckQuestion(question, {});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(ReasonOf(status), GetParam().reason);
  EXPECT_EQ(FieldOf(status), GetParam().field);
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

const Fault kOptionFaults[] = {
    {"ZeroNewTokens", [](auto& q) { q.mutable_generation()->set_max_new_tokens(0); }, reason::kOptionRange,
     "question.generation.max_new_tokens"},
    {"NegativeMinimum", [](auto& q) { q.mutable_generation()->set_min_new_tokens(-1); }, reason::kOptionRange,
     "question.generation.min_new_tokens"},
    {"MinimumOverMaximum",
     [](auto& q) {
       q.mutable_generation()->set_max_new_tokens(3);
       q.mutable_generation()->set_min_new_tokens(4);
     },
     reason::kOptionRange, "question.generation.min_new_tokens"},
    {"NegativeTemperature", [](auto& q) { q.mutable_generation()->set_temperature(-0.1); }, reason::kOptionRange,
     "question.generation.temperature"},
    {"NanTemperature", [](auto& q) { q.mutable_generation()->set_temperature(kNan); }, reason::kOptionRange,
     "question.generation.temperature"},
    {"InfiniteTemperature", [](auto& q) { q.mutable_generation()->set_temperature(INFINITY); }, reason::kOptionRange,
     "question.generation.temperature"},
    {"NegativeTopK", [](auto& q) { q.mutable_generation()->set_top_k(-1); }, reason::kOptionRange,
     "question.generation.top_k"},
    {"ZeroTopP", [](auto& q) { q.mutable_generation()->set_top_p(0); }, reason::kOptionRange,
     "question.generation.top_p"},
    {"TopPOverOne", [](auto& q) { q.mutable_generation()->set_top_p(1.01); }, reason::kOptionRange,
     "question.generation.top_p"},
    {"NanTopP", [](auto& q) { q.mutable_generation()->set_top_p(kNan); }, reason::kOptionRange,
     "question.generation.top_p"},
    {"ZeroPenalty", [](auto& q) { q.mutable_generation()->set_repetition_penalty(0); }, reason::kOptionRange,
     "question.generation.repetition_penalty"},
    {"Beams", [](auto& q) { q.mutable_generation()->set_num_beams(9); }, reason::kOptionRange,
     "question.generation.num_beams"},
    {"LengthPenaltyOverTen", [](auto& q) { q.mutable_generation()->set_length_penalty(10.1); }, reason::kOptionRange,
     "question.generation.length_penalty"},
    {"NanLengthPenalty", [](auto& q) { q.mutable_generation()->set_length_penalty(kNan); }, reason::kOptionRange,
     "question.generation.length_penalty"},
    {"NegativeLogprobs", [](auto& q) { q.mutable_generation()->set_logprobs(-1); }, reason::kOptionRange,
     "question.generation.logprobs"},
    {"TooManyLogprobs", [](auto& q) { q.mutable_generation()->set_logprobs(21); }, reason::kOptionRange,
     "question.generation.logprobs"},
    {"EmptyStop", [](auto& q) { q.mutable_generation()->add_stop(""); }, reason::kOptionRange,
     "question.generation.stop"},
    {"LongStop", [](auto& q) { q.mutable_generation()->add_stop(std::string(257, 'a')); }, reason::kOptionRange,
     "question.generation.stop"},
    {"NineStops",
     [](auto& q) {
       for (int i = 0; i < 9; ++i) q.mutable_generation()->add_stop("a");
     },
     reason::kOptionRange, "question.generation.stop"},
    {"ZeroImageSize", [](auto& q) { q.mutable_image_options()->set_image_size(0); }, reason::kOptionRange,
     "question.image_options.image_size"},
    {"HugeImageSize", [](auto& q) { q.mutable_image_options()->set_image_size(1038); }, reason::kOptionRange,
     "question.image_options.image_size"},
    {"MaxSideOfOne", [](auto& q) { q.mutable_image_options()->set_max_side(1); }, reason::kOptionRange,
     "question.image_options.max_side"},
    {"NegativeMaxSide", [](auto& q) { q.mutable_image_options()->set_max_side(-1); }, reason::kOptionRange,
     "question.image_options.max_side"},
    {"TokenMergingOverHalf", [](auto& q) { q.mutable_image_options()->set_token_merging(0.51); }, reason::kOptionRange,
     "question.image_options.token_merging"},
    {"NegativeTokenMerging", [](auto& q) { q.mutable_image_options()->set_token_merging(-0.1); }, reason::kOptionRange,
     "question.image_options.token_merging"},
    {"NanTokenMerging", [](auto& q) { q.mutable_image_options()->set_token_merging(kNan); }, reason::kOptionRange,
     "question.image_options.token_merging"},
    {"RelevanceWithoutImage",
     [](auto& q) {
       q.clear_images();
       q.set_return_relevance(true);
     },
     reason::kOptionRange, "question.return_relevance"},
    {"RelevanceOfBeams",
     [](auto& q) {
       q.add_images()->set_data(PngHeader(64, 64));
       q.set_return_relevance(true);
       q.mutable_generation()->set_num_beams(2);
     },
     reason::kOptionRange, "question.return_relevance"},
    {"RelevanceWithTokenMerging",
     [](auto& q) {
       q.add_images()->set_data(PngHeader(64, 64));
       q.set_return_relevance(true);
       q.mutable_image_options()->set_token_merging(0.1);
     },
     reason::kOptionRange, "question.return_relevance"},
    {"LongRequestId", [](auto& q) { q.set_request_id(std::string(129, 'a')); }, reason::kOptionRange,
     "question.request_id"},
    {"RequestIdWithNewline", [](auto& q) { q.set_request_id("a\nb"); }, reason::kOptionRange, "question.request_id"},
    {"RequestIdBeyondAscii", [](auto& q) { q.set_request_id("\xc3\xa9"); }, reason::kOptionRange,
     "question.request_id"},
    {"LongModelName", [](auto& q) { q.set_model(std::string(257, 'm')); }, reason::kOptionRange, "question.model"},
};

const Fault kTextFaults[] = {
    {"NothingAsked", [](auto& q) { q.clear_prompt(); }, reason::kQuestionForm, "question"},
    {"TurnsAndPrompt", [](auto& q) { AddTurn(q, v1::ROLE_USER, "hi"); }, reason::kQuestionForm, "question.prompt"},
    {"LongPrompt", [](auto& q) { q.set_prompt(std::string(kMaxTextBytes + 1, ' ')); }, reason::kOptionRange,
     "question.prompt"},
    {"AssistantBegins",
     [](auto& q) {
       q.clear_prompt();
       AddTurn(q, v1::ROLE_ASSISTANT, "hi");
     },
     reason::kQuestionForm, "question.turns[0].role"},
    {"RoleUnset",
     [](auto& q) {
       q.clear_prompt();
       AddTurn(q, v1::ROLE_UNSPECIFIED, "hi");
     },
     reason::kQuestionForm, "question.turns[0].role"},
    {"AssistantEnds",
     [](auto& q) {
       q.clear_prompt();
       AddTurn(q, v1::ROLE_USER, "hi");
       AddTurn(q, v1::ROLE_ASSISTANT, "hello");
     },
     reason::kQuestionForm, "question.turns"},
    {"EmptyQuestion",
     [](auto& q) {
       q.clear_prompt();
       AddTurn(q, v1::ROLE_USER, "");
     },
     reason::kQuestionForm, "question.turns[0].text"},
    {"LongTurns",
     [](auto& q) {
       q.clear_prompt();
       AddTurn(q, v1::ROLE_USER, std::string(kMaxTextBytes / 2, 'a'));
       AddTurn(q, v1::ROLE_ASSISTANT, "yes");
       AddTurn(q, v1::ROLE_USER, std::string(kMaxTextBytes / 2, 'a'));
     },
     reason::kOptionRange, "question.turns"},
    {"TooManyTurns",
     [](auto& q) {
       q.clear_prompt();
       for (int i = 0; i <= kMaxTurns; ++i) AddTurn(q, i % 2 == 0 ? v1::ROLE_USER : v1::ROLE_ASSISTANT, "a");
     },
     reason::kOptionRange, "question.turns"},
};

const Fault kImageFaults[] = {
    {"NineImages",
     [](auto& q) {
       for (int i = 0; i < 9; ++i) q.add_images()->set_data(PngHeader(8, 8));
     },
     reason::kTooManyImages, "question.images"},
    {"ImageByAddress", [](auto& q) { q.add_images()->set_url("https://example.com/a.png"); }, reason::kImageUrlRefused,
     "question.images[0]"},
    {"ImageWithoutSource", [](auto& q) { q.add_images(); }, reason::kImageFormat, "question.images[0]"},
    {"EmptyImage", [](auto& q) { q.add_images()->set_data(""); }, reason::kImageFormat, "question.images[0]"},
    {"BitmapInSecondPlace",
     [](auto& q) {
       q.add_images()->set_data(PngHeader(8, 8));
       q.add_images()->set_data(testing::Bmp());
     },
     reason::kImageFormat, "question.images[1]"},
    {"NoPixel", [](auto& q) { q.add_images()->set_data(PngHeader(1, 0)); }, reason::kImageCorrupt,
     "question.images[0]"},
    {"PixelBomb", [](auto& q) { q.add_images()->set_data(PngHeader(16384, 16384)); }, reason::kImageTooLarge,
     "question.images[0]"},
};

std::string NameOf(const ::testing::TestParamInfo<Fault>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Options, QuestionFaultTest, ::testing::ValuesIn(kOptionFaults), NameOf);
INSTANTIATE_TEST_SUITE_P(Text, QuestionFaultTest, ::testing::ValuesIn(kTextFaults), NameOf);
INSTANTIATE_TEST_SUITE_P(Images, QuestionFaultTest, ::testing::ValuesIn(kImageFaults), NameOf);

TEST(QuestionLimitsTest, BoundsTheBytesOfAllImagesTogether) {
  v1::Question question;
  const QuestionLimits limits{.image = {.max_bytes = 100}};
  for (int i = 0; i < 3; ++i) question.add_images()->set_data(PngHeader(8, 8) + std::string(60, '\0'));
  const absl::Status status = CheckQuestion(question, limits);
  EXPECT_EQ(ReasonOf(status), reason::kImageTooLarge);
  EXPECT_EQ(FieldOf(status), "question.images");
}

TEST(QuestionLimitsTest, ALogitBiasNextToTheBoundIsToldWhole) {
  v1::Question question = TextQuestion();
  (*question.mutable_generation()->mutable_logit_bias())[5] = 100.0001f;
  EXPECT_EQ(CheckQuestion(question, {}).message(), "logit_bias takes values of -100 to 100, not 100.0001");
}

TEST(QuestionLimitsTest, NobodyIsSentToTheOperatorForAnAddressThatIsNeverFetched) {
  const auto message = [](const char* url) {
    v1::Question question;
    question.add_images()->set_url(url);
    return std::string(CheckQuestion(question, {}).message());
  };
  EXPECT_NE(message("HTTPS://example.com/a.png").find("--allow_image_urls"), std::string::npos);
  for (const char* url :
       {"http://example.com/a.png", "blob:https://a/b", "s3://b/a.png", "sandbox:/a.png", "<data:,x>"}) {
    EXPECT_NE(message(url).find("only https"), std::string::npos) << url;
    EXPECT_EQ(message(url).find("--allow_image_urls"), std::string::npos) << url;
  }
}

TEST(QuestionLimitsTest, AcceptsTheEndsOfEveryRange) {
  v1::Question question = TextQuestion();
  question.set_request_id(std::string(128, '~'));
  auto* generation = question.mutable_generation();
  generation->set_max_new_tokens(1);
  generation->set_min_new_tokens(1);
  generation->set_temperature(100);
  generation->set_top_k(0);
  generation->set_top_p(1);
  generation->set_repetition_penalty(100);
  generation->set_num_beams(1);
  generation->set_length_penalty(-10);
  generation->set_logprobs(20);
  for (int i = 0; i < 8; ++i) generation->add_stop(std::string(256, 's'));
  auto* image = question.mutable_image_options();
  image->set_image_size(1024);
  image->set_max_side(8192);
  image->set_token_merging(0.5);
  EXPECT_TRUE(CheckQuestion(question, {}).ok()) << CheckQuestion(question, {});
}

}  // namespace
}  // namespace diptych
