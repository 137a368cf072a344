// Several requests about one image pay for it once, proven by counters.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <future>
#include <vector>

#include "common/status.h"
#include "tests/language_service/language_fixture.h"
#include "tests/testing/gate.h"
#include "tests/testing/stage_sum.h"

namespace diptych::language {
namespace {

using testing::GenerateOutcome;
using testing::RequestWithImage;

SteadyDuration VisionTime(const v1::StageTimings& t) {
  return FromProtoDuration(t.image_decode()) + FromProtoDuration(t.image_resize()) +
         FromProtoDuration(t.vision_queue()) + FromProtoDuration(t.vit()) + FromProtoDuration(t.token_transfer());
}

class SharedImageTest : public testing::LanguageFixture {
 protected:
  // Counts Q-Former passes; the vision tier answers truly once `gate_` is open.
  void StartCounting() {
    StartWithVision(
        [this](const v1::EncodeImageRequest& request, int) {
          gate_.Pass();
          auto answer = True(request);
          answer.messages.back().mutable_trailer()->mutable_vit()->set_nanos(1000);
          return answer;
        },
        [this](ServedLanguageModel& model) {
          model.project = [this, project = model.project](const at::Tensor& tokens) {
            ++projections_;
            return project(tokens);
          };
        });
  }

  std::future<GenerateOutcome> AskInBackground(const std::string& prompt) {
    return std::async(std::launch::async, [this, prompt] { return Ask(RequestWithImage(testing::GoodPng(), prompt)); });
  }

  void AwaitJoins(int count) {
    while (server_->image_stats().joins < count) std::this_thread::yield();
  }

  void ExpectEverythingGivenBack() {
    AwaitNobodyInside();
    while (server_->image_stats().in_flight > 0) std::this_thread::yield();
    while (server_->bytes_inside() > 0) std::this_thread::yield();
  }

  testing::Gate gate_;
  std::atomic<int> projections_ = 0;
};

TEST_F(SharedImageTest, TenQuestionsOneAfterAnotherMakeOneCallAndOneProjection) {
  gate_.Open();
  StartCounting();
  for (int i = 0; i < 10; ++i) {
    const GenerateOutcome outcome = Ask(RequestWithImage(testing::GoodPng(), "question " + std::to_string(i)));
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    const v1::StageTimings& timings = outcome.answer().timings();
    EXPECT_EQ(testing::StageSum(timings), FromProtoDuration(timings.total()));
    EXPECT_EQ(timings.cache_hits().projected_tokens(), i == 0 ? 0 : 1);
    EXPECT_EQ(timings.cache_hits().vision_tokens(), 0);
    if (i == 0) {
      EXPECT_GT(VisionTime(timings), SteadyDuration::zero());
      EXPECT_GT(FromProtoDuration(timings.qformer()), SteadyDuration::zero());
    } else {
      EXPECT_EQ(VisionTime(timings), SteadyDuration::zero());
      EXPECT_EQ(FromProtoDuration(timings.qformer()), SteadyDuration::zero());
    }
  }
  EXPECT_EQ(vision_->calls(), 1);
  EXPECT_EQ(projections_, 1);
  ExpectEverythingGivenBack();
}

TEST_F(SharedImageTest, TenQuestionsAtOnceMakeOneCallAndOneProjection) {
  StartCounting();
  std::vector<std::future<GenerateOutcome>> asked;
  for (int i = 0; i < 10; ++i) asked.push_back(AskInBackground("question " + std::to_string(i)));
  AwaitJoins(9);
  gate_.Open();
  for (auto& one : asked) {
    const GenerateOutcome outcome = one.get();
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    const v1::StageTimings& timings = outcome.answer().timings();
    EXPECT_EQ(testing::StageSum(timings), FromProtoDuration(timings.total()));
    EXPECT_GT(VisionTime(timings), SteadyDuration::zero()) << "it waited for the vision tier like the first";
    EXPECT_EQ(timings.cache_hits().projected_tokens(), 0);
  }
  EXPECT_EQ(vision_->calls(), 1);
  EXPECT_EQ(projections_, 1);
  ExpectEverythingGivenBack();
}

TEST_F(SharedImageTest, AnAnswerIsTheSameWithAndWithoutTheCache) {
  gate_.Open();
  StartCounting();
  const GenerateOutcome miss = AskImage();
  const GenerateOutcome hit = AskImage();
  options_.cache_bytes = 0;
  StartCounting();
  AskImage();
  const GenerateOutcome uncached = AskImage();
  EXPECT_EQ(vision_->calls(), 2) << "a cache of no bytes keeps nothing";
  EXPECT_EQ(hit.delta_tokens(), miss.delta_tokens());
  EXPECT_EQ(uncached.delta_tokens(), miss.delta_tokens());
}

TEST_F(SharedImageTest, ACallerThatLeavesEndsNothingForTheOthers) {
  StartCounting();
  grpc::ClientContext context;
  const auto first = stub_->Generate(&context, RequestWithImage(testing::GoodPng(), "leaves"));
  gate_.AwaitArrivals(1);
  auto stays = AskInBackground("stays");
  AwaitJoins(1);
  context.TryCancel();
  EXPECT_EQ(first->Finish().error_code(), grpc::StatusCode::CANCELLED);
  while (server_->calls_inside() > 1) std::this_thread::yield();  // its place is free while the pull goes on
  gate_.Open();
  const GenerateOutcome outcome = stays.get();
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(vision_->calls(), 1);
  ExpectEverythingGivenBack();
}

TEST_F(SharedImageTest, ADeadlineOfOneIsNotTheDeadlineOfTheOthers) {
  StartCounting();
  auto patient = AskInBackground("patient");
  gate_.AwaitArrivals(1);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  const GenerateOutcome hurried = testing::Generate(*stub_, RequestWithImage(testing::GoodPng(), "hurried"), context);
  EXPECT_EQ(hurried.status.code(), absl::StatusCode::kDeadlineExceeded) << hurried.status;
  gate_.Open();
  const GenerateOutcome outcome = patient.get();
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(vision_->calls(), 1);
  ExpectEverythingGivenBack();
}

TEST_F(SharedImageTest, AImageThatIsGivenTwiceIsPulledOnce) {
  gate_.Open();
  StartCounting();
  v1::GenerateRequest request = RequestWithImage(testing::GoodPng(), "the cat");
  request.mutable_question()->add_images()->set_data(testing::GoodPng());
  const GenerateOutcome outcome = Ask(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.answer().context_budget().image_tokens(), 8);
  EXPECT_EQ(vision_->calls(), 1);
}

TEST_F(SharedImageTest, AnotherPreparationIsAnotherImage) {
  gate_.Open();
  StartCounting();
  v1::GenerateRequest request = RequestWithImage(testing::GoodPng(), "the cat");
  ASSERT_TRUE(Ask(request).status.ok());
  request.mutable_question()->mutable_image_options()->set_image_size(56);
  ASSERT_TRUE(Ask(request).status.ok());
  request.mutable_question()->mutable_image_options()->set_max_side(20);
  ASSERT_TRUE(Ask(request).status.ok());
  EXPECT_EQ(vision_->calls(), 3);
}

TEST_F(SharedImageTest, OneImageOfTwoMayBeThere) {
  gate_.Open();
  StartCounting();
  ASSERT_TRUE(AskImage().status.ok());
  v1::GenerateRequest request = RequestWithImage(testing::GoodPng(), "the cat");
  request.mutable_question()->add_images()->set_data(testing::GoodJpeg());
  const GenerateOutcome outcome = Ask(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  const v1::StageTimings& timings = outcome.answer().timings();
  EXPECT_EQ(timings.cache_hits().projected_tokens(), 1);
  EXPECT_GT(VisionTime(timings), SteadyDuration::zero());
  EXPECT_EQ(testing::StageSum(timings), FromProtoDuration(timings.total()));
  EXPECT_EQ(vision_->calls(), 2);
}

TEST_F(SharedImageTest, AHitOfTheVisionTierIsPassedOn) {
  StartWithVision([](const v1::EncodeImageRequest& request, int) {
    auto answer = True(request);
    answer.messages.back().mutable_trailer()->set_cache_hit(true);
    return answer;
  });
  EXPECT_EQ(AskImage().answer().timings().cache_hits().vision_tokens(), 1);
  EXPECT_EQ(AskImage().answer().timings().cache_hits().vision_tokens(), 0) << "it was not asked";
}

TEST_F(SharedImageTest, AImageForWhichThereIsNoMemoryIsRefusedAtOnce) {
  options_.max_inflight_bytes = int64_t{160} << 20;
  StartWithVision(
      [](const v1::EncodeImageRequest&, int) { return testing::ScriptedAnswer{.messages = {}, .never_ends = true}; });
  v1::GenerateRequest request = RequestWithImage(std::string(), "the cat");
  std::string large = testing::GoodJpeg();
  large.resize(30 << 20);
  request.mutable_question()->mutable_images(0)->set_data(large);
  large.back() = 'x';  // another image, for one that is given twice is held once
  request.mutable_question()->add_images()->set_data(large);
  grpc::ClientContext context;
  const auto held = stub_->Generate(&context, request);
  ASSERT_TRUE(vision_->AwaitCalls(2));
  EXPECT_GE(server_->bytes_inside(), int64_t{120} << 20);
  const absl::Status refused = Ask(request).status;
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_EQ(ReasonOf(refused), reason::kQueueFull);
  EXPECT_TRUE(RetryAfterOf(refused).has_value());
  EXPECT_TRUE(AskText().status.ok()) << "there is room for less";
  context.TryCancel();
  EXPECT_EQ(held->Finish().error_code(), grpc::StatusCode::CANCELLED);
  ExpectEverythingGivenBack();
}

TEST_F(SharedImageTest, ABoundThatTheLargestQuestionExceedsIsNamedAtStart) {
  options_.max_inflight_bytes = 1 << 20;
  auto model = LoadLanguageModel(options_);
  const auto server = LanguageServer::Start(options_, *std::move(model));
  ASSERT_FALSE(server.ok());
  EXPECT_NE(server.status().message().find("--max_inflight_bytes"), absl::string_view::npos) << server.status();
}

}  // namespace
}  // namespace diptych::language
