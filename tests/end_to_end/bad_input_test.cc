// Hostile and mistaken input at the public address, with all three real processes behind it.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/status.h"
#include "tests/end_to_end/stack.h"
#include "tests/testing/image_headers.h"
#include "tests/testing/paths.h"

namespace diptych {
namespace {

using testing::PngHeader;
using testing::QuestionAbout;
using testing::Sample;

struct BadInput {
  const char* name;
  std::function<v1::Question()> make;
  absl::StatusCode code;
  std::string_view reason;
};

class BadInputTest : public testing::SharedStackTest, public ::testing::WithParamInterface<BadInput> {};

TEST_P(BadInputTest, GetsItsReasonAndTheServiceGoesOn) {
  const auto answer = stack_->Ask(GetParam().make());
  EXPECT_EQ(answer.status().code(), GetParam().code) << answer.status();
  EXPECT_EQ(ReasonOf(answer.status()), GetParam().reason) << answer.status();
  const auto next = stack_->Ask(QuestionAbout(Sample("red_circle_blue_star.png"), "What color is the circle?"));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(next->text(), "red");
}

v1::Question Image(const std::string& bytes) {
  return QuestionAbout(bytes, "What is it?");
}

v1::Question Good() {
  return Image(Sample("red_circle_blue_star.png"));
}

v1::Question WithoutBytes() {
  v1::Question question = QuestionAbout("", "What is it?");
  question.add_images()->set_data("");
  return question;
}

std::string Photo() {
  return testing::ReadWhole(testing::RepositoryPath("tests/data/images/jpeg_420.jpg"));
}

// The header is whole, half of the scan is missing.
std::string TruncatedJpeg() {
  return Photo().substr(0, Photo().size() * 3 / 4);
}

std::string DamagedPng() {
  std::string png = Sample("red_circle_blue_star.png");
  png[png.size() / 2] ^= 0x55;
  return png;
}

v1::Question Changed(const std::function<void(v1::Question&)>& change) {
  v1::Question question = Good();
  change(question);
  return question;
}

v1::Question Prompt(const std::string& text) {
  v1::Question question;
  question.set_prompt(text);
  return question;
}

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
const BadInput kBadInputs[] = {
    {"NoImageBytes", WithoutBytes, kInvalid, reason::kImageFormat},
    {"BitmapRenamed", [] { return Image(testing::Bmp()); }, kInvalid, reason::kImageFormat},
    {"TextAsImage", [] { return Image("this is no image"); }, kInvalid, reason::kImageFormat},
    {"TruncatedJpeg", [] { return Image(TruncatedJpeg()); }, kInvalid, reason::kImageCorrupt},
    {"DamagedPng", [] { return Image(DamagedPng()); }, kInvalid, reason::kImageCorrupt},
    {"OneByNothing", [] { return Image(PngHeader(1, 0)); }, kInvalid, reason::kImageCorrupt},
    {"TwentyThousandByOne", [] { return Image(PngHeader(20000, 1)); }, kInvalid, reason::kImageTooLarge},
    {"PngBomb", [] { return Image(PngHeader(16384, 16384)); }, kInvalid, reason::kImageTooLarge},
    {"Upload33MiB", [] { return Image(Sample("red_circle_blue_star.png") + std::string(33 << 20, '\0')); }, kInvalid,
     reason::kImageTooLarge},
    {"NineImages",
     [] {
       return Changed([](auto& q) {
         while (q.images_size() < 9) *q.add_images() = q.images(0);
       });
     },
     kInvalid, reason::kTooManyImages},
    {"NothingAsked", [] { return Prompt(""); }, kInvalid, reason::kQuestionForm},
    {"PromptOver64KiB", [] { return Prompt(std::string((64 << 10) + 1, 'a')); }, kInvalid, reason::kOptionRange},
    {"PromptOverTheWindow",
     [] {
       std::string text;
       for (int i = 0; i < 200; ++i) text += "circle and square ";
       return Prompt(text);
     },
     absl::StatusCode::kOutOfRange, reason::kContextLengthExceeded},
    {"AnswerOverTheWindow",
     [] { return Changed([](auto& q) { q.mutable_generation()->set_max_new_tokens(1'000'000'000); }); },
     absl::StatusCode::kOutOfRange, reason::kContextLengthExceeded},
    {"TextIsNotUtf8", [] { return Prompt("caf\xe9"); }, kInvalid, reason::kTextEncoding},
    {"TopPOutOfRange", [] { return Changed([](auto& q) { q.mutable_generation()->set_top_p(1.5); }); }, kInvalid,
     reason::kOptionRange},
    {"Beams", [] { return Changed([](auto& q) { q.mutable_generation()->set_num_beams(9); }); }, kInvalid,
     reason::kOptionRange},
    {"SizeIsNoMultipleOfThePatch",
     [] { return Changed([](auto& q) { q.mutable_image_options()->set_image_size(113); }); }, kInvalid,
     reason::kOptionRange},
    {"MinimumOverTheDefaultMaximum",
     [] { return Changed([](auto& q) { q.mutable_generation()->set_min_new_tokens(1000); }); }, kInvalid,
     reason::kOptionRange},
    {"UnknownModel", [] { return Changed([](auto& q) { q.set_model("another"); }); }, absl::StatusCode::kNotFound,
     reason::kModelUnknown},
};
INSTANTIATE_TEST_SUITE_P(Question, BadInputTest, ::testing::ValuesIn(kBadInputs),
                         [](const auto& info) { return std::string(info.param.name); });

// Text that spells the image's placeholder is text: it takes no place of an image.
class PlaceholderTest : public testing::SharedStackTest {};

TEST_F(PlaceholderTest, TextThatSpellsThePlaceholderIsText) {
  const auto answer = stack_->Ask(Prompt("<image><image><image>"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->context_budget().image_tokens(), 0);
  for (const int id : answer->prompt_token_ids()) EXPECT_NE(id, 679) << "the placeholder's id";
}

}  // namespace
}  // namespace diptych
