// True answers through the three processes, with timings and budgets that add up.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/stage_clock.h"
#include "tests/end_to_end/stack.h"

namespace diptych {
namespace {

using testing::QuestionAbout;
using testing::Sample;

constexpr char kImage[] = "red_circle_blue_star.png";

class AnswerTest : public testing::SharedStackTest {
 protected:
  static v1::Answer MustAnswer(const v1::Question& question) {
    const auto answer = stack_->Ask(question);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : v1::Answer();
  }
};

// models/demo/samples.json holds the truth about each sample image.
TEST_F(AnswerTest, AnswersAboutTheSampleImagesAreTrue) {
  const auto samples = nlohmann::json::parse(testing::ReadWhole(testing::kDemoModel + "/samples.json"));
  ASSERT_GE(samples.size(), 6u);
  for (const auto& sample : samples) {
    const std::string image = testing::ReadWhole(testing::kDemoModel + "/" + sample["image"].get<std::string>());
    v1::Question caption = QuestionAbout(image, "");
    caption.mutable_generation()->set_max_new_tokens(60);
    EXPECT_EQ(MustAnswer(caption).text(), sample["caption"]) << sample["image"];
    for (const auto& question : sample["questions"]) {
      EXPECT_EQ(MustAnswer(QuestionAbout(image, question["question"])).text(), question["answer"])
          << sample["image"] << ": " << question["question"];
    }
  }
}

void ExpectTimingsAddUp(const v1::Answer& answer) {
  const v1::StageTimings& t = answer.timings();
  SteadyDuration sum{};
  for (int i = 0; i < static_cast<int>(Stage::kCount); ++i) {
    const SteadyDuration time = FromProtoDuration(TimeOf(t, static_cast<Stage>(i)));
    EXPECT_GE(time, SteadyDuration::zero());
    sum += time;
  }
  sum += FromProtoDuration(t.unattributed());
  const SteadyDuration total = FromProtoDuration(t.total());
  EXPECT_EQ(sum.count(), total.count());
  EXPECT_GT(FromProtoDuration(t.time_to_first_token()), SteadyDuration::zero());
  EXPECT_LE(FromProtoDuration(t.time_to_first_token()), total);
  // What lies before the first token, but for the gateway's part of it.
  SteadyDuration before{};
  for (const Stage stage :
       {Stage::kTokenize, Stage::kImageDecode, Stage::kImageResize, Stage::kVisionQueue, Stage::kVit,
        Stage::kTokenTransfer, Stage::kQFormer, Stage::kLanguageQueue, Stage::kPrefill}) {
    before += FromProtoDuration(TimeOf(t, stage));
  }
  const SteadyDuration first_token = FromProtoDuration(t.first_token());
  EXPECT_GE(first_token, before);
  EXPECT_LE(first_token - before, FromProtoDuration(t.gateway()));
  EXPECT_LE(first_token, FromProtoDuration(t.time_to_first_token()));
  EXPECT_GT(FromProtoDuration(t.prefill()), SteadyDuration::zero());
}

double UnattributedShare(const v1::StageTimings& t) {
  return ToSeconds(FromProtoDuration(t.unattributed())) / ToSeconds(FromProtoDuration(t.total()));
}

void ExpectBudgetAddsUp(const v1::Answer& answer) {
  const v1::ContextBudget& b = answer.context_budget();
  EXPECT_EQ(b.image_tokens() + b.text_tokens() + b.history_tokens() + b.generated() + b.remaining(), b.window());
  EXPECT_EQ(b.image_tokens() + b.text_tokens() + b.history_tokens(), answer.prompt_token_ids_size());
  EXPECT_EQ(b.generated(), answer.token_ids_size());
  EXPECT_EQ(answer.usage().prompt_tokens(), answer.prompt_token_ids_size());
  EXPECT_EQ(answer.usage().completion_tokens(), answer.token_ids_size());
  EXPECT_EQ(answer.usage().total_tokens(), answer.usage().prompt_tokens() + answer.usage().completion_tokens());
}

v1::Question Conversation() {
  v1::Question question = QuestionAbout(Sample(kImage), "What color is the circle?");
  v1::Turn* turn = question.add_turns();
  turn->set_role(v1::ROLE_ASSISTANT);
  turn->set_text("red");
  turn = question.add_turns();
  turn->set_role(v1::ROLE_USER);
  turn->set_text("What color is the star?");
  return question;
}

// What no stage measures is there in every answer; a pause of the machine's is not.
TEST_F(AnswerTest, NextToNothingOfAnAnswersTimeBelongsToNoStage) {
  const auto least = [&](const auto& question) {
    double share = 1;
    for (int i = 0; i < 20; ++i) share = std::min(share, UnattributedShare(MustAnswer(question(i)).timings()));
    return share;
  };
  EXPECT_LE(least([](int) { return QuestionAbout("", "What color is the circle?"); }), 0.02);
  EXPECT_LE(least([](int i) { return QuestionAbout(absl::StrCat(Sample(kImage), "unattributed", i), ""); }), 0.02);
  EXPECT_LE(least([](int) { return QuestionAbout(Sample(kImage), "What color is the circle?"); }), 0.02);
  EXPECT_LE(least([](int) { return Conversation(); }), 0.02);
}

TEST_F(AnswerTest, AImageWithAQuestionIsAccountedFor) {
  const std::string image = Sample(kImage) + "in no cache";  // what follows a PNG's end changes its key alone
  const v1::Answer answer = MustAnswer(QuestionAbout(image, "What color is the circle?"));
  ExpectTimingsAddUp(answer);
  ExpectBudgetAddsUp(answer);
  for (const auto* stage : {&answer.timings().image_decode(), &answer.timings().image_resize(), &answer.timings().vit(),
                            &answer.timings().qformer()}) {
    EXPECT_GT(FromProtoDuration(*stage), SteadyDuration::zero());
  }
  EXPECT_EQ(answer.context_budget().image_tokens(), 16);
  EXPECT_EQ(answer.context_budget().dense_patch_tokens(), 64);
  EXPECT_EQ(answer.finish_reason(), v1::FINISH_REASON_STOP);
}

TEST_F(AnswerTest, TextAloneIsAccountedFor) {
  const v1::Answer answer = MustAnswer(QuestionAbout("", "What color is the circle?"));
  ExpectTimingsAddUp(answer);
  ExpectBudgetAddsUp(answer);
  EXPECT_EQ(answer.context_budget().image_tokens(), 0);
  EXPECT_EQ(FromProtoDuration(answer.timings().vit()), SteadyDuration::zero());
}

TEST_F(AnswerTest, ACaptionIsAccountedFor) {
  const v1::Answer answer = MustAnswer(QuestionAbout(Sample(kImage), ""));
  ExpectTimingsAddUp(answer);
  ExpectBudgetAddsUp(answer);
}

TEST_F(AnswerTest, AConversationIsAccountedFor) {
  const v1::Answer answer = MustAnswer(Conversation());
  ExpectTimingsAddUp(answer);
  ExpectBudgetAddsUp(answer);
  EXPECT_GT(answer.context_budget().history_tokens(), 0);
}

TEST_F(AnswerTest, ALongConversationLosesItsOldestTurns) {
  v1::Question question;
  question.add_images()->set_data(Sample(kImage));
  for (int i = 0; i < 41; ++i) {
    v1::Turn* turn = question.add_turns();
    turn->set_role(i % 2 == 0 ? v1::ROLE_USER : v1::ROLE_ASSISTANT);
    turn->set_text(i % 2 == 0 ? "What color is the circle?" : "red");
  }
  const v1::Answer answer = MustAnswer(question);
  ExpectBudgetAddsUp(answer);
  EXPECT_GT(answer.context_budget().turns_dropped(), 0);
  EXPECT_EQ(answer.context_budget().turns_dropped() % 2, 0) << "whole pairs";
}

TEST_F(AnswerTest, WhenTheWindowIsShortImagesStayAndTheAnswerIsThatOfTheTurnsThatWereKept) {
  v1::Question question;
  for (int i = 0; i < 3; ++i) question.add_images()->set_data(Sample(kImage));
  for (int i = 0; i < 21; ++i) {
    v1::Turn* turn = question.add_turns();
    turn->set_role(i % 2 == 0 ? v1::ROLE_USER : v1::ROLE_ASSISTANT);
    turn->set_text(i % 2 == 0 ? "What color is the circle?" : "red");
  }
  const v1::Answer answer = MustAnswer(question);
  ExpectBudgetAddsUp(answer);
  EXPECT_EQ(answer.context_budget().image_tokens(), 3 * 16);
  const int dropped = answer.context_budget().turns_dropped();
  EXPECT_GT(dropped, 0);
  EXPECT_LT(dropped, 20) << "as many as fit are kept";
  question.mutable_turns()->DeleteSubrange(0, dropped);
  const v1::Answer kept = MustAnswer(question);
  EXPECT_EQ(kept.context_budget().turns_dropped(), 0);
  EXPECT_EQ(std::vector<int>(kept.prompt_token_ids().begin(), kept.prompt_token_ids().end()),
            std::vector<int>(answer.prompt_token_ids().begin(), answer.prompt_token_ids().end()));
  EXPECT_EQ(kept.text(), answer.text());
}

TEST_F(AnswerTest, ASecondQuestionAboutAnImageMakesNoVisionCall) {
  const std::string image = Sample(kImage) + "asked about twice";
  const v1::Answer first = MustAnswer(QuestionAbout(image, "What color is the circle?"));
  EXPECT_EQ(first.timings().cache_hits().projected_tokens(), 0);
  EXPECT_GT(FromProtoDuration(first.timings().vit()), SteadyDuration::zero());
  const v1::Answer second = MustAnswer(QuestionAbout(image, "What color is the star?"));
  EXPECT_EQ(second.text(), "blue");
  EXPECT_EQ(second.timings().cache_hits().projected_tokens(), 1);
  for (const auto* stage :
       {&second.timings().image_decode(), &second.timings().image_resize(), &second.timings().vision_queue(),
        &second.timings().vit(), &second.timings().token_transfer(), &second.timings().qformer()}) {
    EXPECT_EQ(FromProtoDuration(*stage), SteadyDuration::zero());
  }
  ExpectTimingsAddUp(second);
}

TEST_F(AnswerTest, ThePlanIsTheBudgetOfTheRealRun) {
  v1::Question question = QuestionAbout(Sample(kImage), "What color is the circle?");
  for (int pairs = 0; pairs < 8; ++pairs) {
    const v1::ContextBudget real = MustAnswer(question).context_budget();
    v1::PlanContextRequest request;
    request.add_images()->set_height(128);
    request.mutable_images(0)->set_width(128);
    *request.mutable_turns() = question.turns();
    grpc::ClientContext context;
    v1::PlanContextResponse response;
    const grpc::Status status = stack_->stub().PlanContext(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    const v1::ContextBudget& plan = response.windows(0).budget();
    EXPECT_EQ(plan.window(), real.window());
    EXPECT_EQ(plan.image_tokens(), real.image_tokens());
    EXPECT_EQ(plan.text_tokens(), real.text_tokens());
    EXPECT_EQ(plan.history_tokens(), real.history_tokens());
    EXPECT_EQ(plan.reserved_output(), real.reserved_output());
    EXPECT_EQ(plan.remaining(), real.remaining() + real.generated());
    EXPECT_EQ(plan.turns_dropped(), real.turns_dropped());
    EXPECT_EQ(plan.dense_patch_tokens(), real.dense_patch_tokens());
    for (const auto& [role, text] :
         {std::pair{v1::ROLE_ASSISTANT, "red"}, {v1::ROLE_USER, "What color is the star?"}}) {
      v1::Turn* turn = question.add_turns();
      turn->set_role(role);
      turn->set_text(text);
    }
  }
}

TEST_F(AnswerTest, TheStreamSaysWhatTheUnaryAnswerSays) {
  const v1::Question question = QuestionAbout(Sample(kImage), "");
  const v1::Answer unary = MustAnswer(question);
  grpc::ClientContext context;
  v1::AskStreamRequest request;
  *request.mutable_question() = question;
  const auto reader = stack_->stub().AskStream(&context, request);
  std::vector<v1::AskStreamResponse> events;
  std::string text;
  std::vector<int> ids;
  for (v1::AskStreamResponse event; reader->Read(&event);) {
    text += event.delta().text();
    ids.insert(ids.end(), event.delta().token_ids().begin(), event.delta().token_ids().end());
    events.push_back(event);
  }
  ASSERT_TRUE(reader->Finish().ok());
  ASSERT_GE(events.size(), 4u);
  EXPECT_TRUE(events.front().has_started());
  const v1::Answer& finished = events.back().finished();
  EXPECT_EQ(finished.text(), unary.text());
  EXPECT_EQ(absl::StripAsciiWhitespace(text), unary.text());
  EXPECT_EQ(ids, std::vector<int>(finished.token_ids().begin(), finished.token_ids().end()));
  EXPECT_EQ(events.front().started().context_budget().remaining(),
            finished.context_budget().remaining() + finished.context_budget().generated());
  ExpectTimingsAddUp(finished);
}

TEST_F(AnswerTest, ASeedMakesSamplingRepeatable) {
  v1::Question question = QuestionAbout(Sample(kImage), "");
  question.mutable_generation()->set_temperature(2);
  question.mutable_generation()->set_seed(7);
  EXPECT_EQ(MustAnswer(question).text(), MustAnswer(question).text());
}

TEST_F(AnswerTest, SeveralImagesStandBeforeTheText) {
  v1::Question question = QuestionAbout(Sample(kImage), "What color is the circle?");
  question.add_images()->set_data(Sample("green_circle_purple_cross.png"));
  const v1::Answer answer = MustAnswer(question);
  EXPECT_EQ(answer.context_budget().image_tokens(), 32);
  ExpectTimingsAddUp(answer);
  ExpectBudgetAddsUp(answer);
}

TEST_F(AnswerTest, ALargerImageSizeIsInterpolated) {
  v1::Question question = QuestionAbout(Sample(kImage), "What color is the circle?");
  question.mutable_image_options()->set_image_size(224);
  const v1::Answer answer = MustAnswer(question);
  EXPECT_EQ(answer.context_budget().image_tokens(), 16) << "the Q-Former's tokens stay";
  EXPECT_EQ(answer.context_budget().dense_patch_tokens(), 256);
}

TEST_F(AnswerTest, StopStringsLengthsAndLogprobsAreKept) {
  v1::Question question = QuestionAbout(Sample(kImage), "");
  question.mutable_generation()->set_max_new_tokens(3);
  question.mutable_generation()->set_logprobs(2);
  const v1::Answer three = MustAnswer(question);
  EXPECT_EQ(three.finish_reason(), v1::FINISH_REASON_LENGTH);
  ASSERT_EQ(three.logprobs_size(), 3);
  EXPECT_EQ(three.logprobs(0).top_size(), 2);
  EXPECT_EQ(three.logprobs(0).chosen().token_id(), three.token_ids(0));
  v1::Question stopped = QuestionAbout(Sample(kImage), "");
  stopped.mutable_generation()->add_stop("circle");
  const v1::Answer answer = MustAnswer(stopped);
  EXPECT_EQ(answer.finish_reason(), v1::FINISH_REASON_STOP_STRING);
  EXPECT_EQ(answer.text(), "a red");
}

TEST_F(AnswerTest, TheModelIsDescribedWithAllItsParts) {
  grpc::ClientContext context;
  v1::GetModelResponse response;
  ASSERT_TRUE(stack_->stub().GetModel(&context, {}, &response).ok());
  EXPECT_EQ(response.model().name(), "demo");
  ASSERT_EQ(response.model().parts_size(), 4);
  for (const v1::ModelPart& part : response.model().parts()) EXPECT_GT(part.parameters(), 0) << part.name();
  EXPECT_EQ(response.tiers(0).model().fingerprint(), response.tiers(1).model().fingerprint());
  EXPECT_EQ(response.model().window_tokens(), 160);
}

}  // namespace
}  // namespace diptych
