// Relevance: the arithmetic, and return_relevance through the RPC.
#include "language_service/engine/relevance.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <future>
#include <numeric>
#include <thread>

#include "common/status.h"
#include "language_service/request_memory.h"
#include "tests/language_service/before_relevance.h"
#include "tests/language_service/language_fixture.h"
#include "tests/testing/gate.h"

namespace diptych::language {
namespace {

TEST(CombineRelevanceTest, WeighsEachImagesQueriesAlone) {
  // Two images of two queries each; the class token first.
  const std::vector<at::Tensor> maps = {at::tensor({0.5f, 0.5f, 0.0f, 0.0f, 0.2f, 0.8f}).view({2, 3}),
                                        at::tensor({0.0f, 1.0f, 0.0f, 1.0f, 0.0f, 0.0f}).view({2, 3})};
  const at::Tensor attention = at::tensor({0.1f, 0.3f, 0.2f, 0.0f, 0.0f, 0.4f, 0.1f, 0.1f}).view({2, 4});
  const AnswerRelevance relevance = CombineRelevance(attention, maps);
  ASSERT_EQ(relevance.images.size(), 2u);
  EXPECT_TRUE(at::allclose(relevance.image_share, at::tensor({0.6f, 0.6f})));
  EXPECT_TRUE(at::allclose(relevance.images[0], at::tensor({0.275f, 0.6f, 0.2f, 0.8f}).view({2, 2})));
  EXPECT_TRUE(at::allclose(relevance.images[1], at::tensor({1.0f, 0.0f, 0.5f, 0.0f}).view({2, 2})));
}

TEST(CombineRelevanceTest, AImageThatWasNotLookedAtHasNoGrid) {
  const std::vector<at::Tensor> maps = {at::tensor({0.5f, 0.5f}).view({1, 2})};
  const AnswerRelevance relevance = CombineRelevance(at::zeros({1, 1}), maps);
  EXPECT_EQ(relevance.images[0].item<float>(), 0);
  EXPECT_EQ(relevance.image_share.item<float>(), 0);
}

class RelevanceTest : public testing::LanguageFixture {
 protected:
  void StartTrue(std::function<void(ServedLanguageModel&)> bend = nullptr) {
    StartWithVision([](const v1::EncodeImageRequest& request, int) { return True(request); }, std::move(bend));
  }
  static v1::GenerateRequest Request(int count = 1) {
    v1::GenerateRequest request = testing::RequestWithImage(testing::GoodPng(), "the cat");
    for (int i = 1; i < count; ++i) request.mutable_question()->add_images()->set_data(testing::GoodJpeg());
    request.mutable_question()->set_return_relevance(true);
    return request;
  }
  void ExpectEverythingGivenBack() {
    AwaitNobodyInside();
    while (server_->image_stats().in_flight > 0) std::this_thread::yield();
    while (server_->bytes_inside() > 0) std::this_thread::yield();
  }
};

TEST_F(RelevanceTest, EachTokenHasAGridForEachImage) {
  StartTrue();
  v1::GenerateRequest request = Request(/*count=*/2);
  request.mutable_question()->mutable_image_options()->set_image_size(42);
  const auto outcome = Ask(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  const v1::Answer& answer = outcome.answer();
  ASSERT_GT(answer.token_ids_size(), 0);
  ASSERT_EQ(answer.relevance_size(), answer.token_ids_size());
  for (const v1::TokenRelevance& token : answer.relevance()) {
    EXPECT_GT(token.image_share(), 0);
    EXPECT_LT(token.image_share(), 1);
    ASSERT_EQ(token.images_size(), 2);
    for (const v1::FloatGrid& grid : token.images()) {
      EXPECT_EQ(grid.rows(), 3);
      EXPECT_EQ(grid.columns(), 3);
      ASSERT_EQ(grid.values_size(), 9);
      const double sum = std::accumulate(grid.values().begin(), grid.values().end(), 0.0);
      EXPECT_GT(sum, 0);
      EXPECT_LE(sum, 1 + 1e-6);
    }
  }
  ExpectEverythingGivenBack();
}

TEST_F(RelevanceTest, ChangesNothingElseAboutTheAnswer) {
  StartTrue();
  const auto explained = Ask(Request());
  const auto plain = AskImage();
  ASSERT_TRUE(explained.status.ok()) << explained.status;
  ASSERT_TRUE(plain.status.ok()) << plain.status;
  EXPECT_EQ(explained.answer().text(), plain.answer().text());
  EXPECT_EQ(explained.delta_tokens(), plain.delta_tokens());
  EXPECT_EQ(plain.answer().relevance_size(), 0);
  const v1::StageTimings& timings = explained.answer().timings();
  EXPECT_GT(FromProtoDuration(timings.decode()), SteadyDuration::zero()) << "the pass counts as decoding";
}

TEST_F(RelevanceTest, AImageThatIsKeptWithoutItsMapIsReadAgain) {
  StartTrue();
  ASSERT_TRUE(AskImage().status.ok());
  const auto explained = Ask(Request());
  ASSERT_TRUE(explained.status.ok()) << explained.status;
  EXPECT_EQ(explained.answer().timings().cache_hits().projected_tokens(), 0);
  EXPECT_EQ(vision_->calls(), 2);
  EXPECT_EQ(Ask(Request()).answer().timings().cache_hits().projected_tokens(), 1);
  EXPECT_EQ(vision_->calls(), 2);
}

TEST_F(RelevanceTest, RefusesMoreValuesThanItsBound) {
  StartTrue();
  v1::GenerateRequest request = Request(/*count=*/8);
  request.mutable_question()->mutable_image_options()->set_image_size(1008);  // 8 · 5184 patches
  request.mutable_question()->mutable_generation()->set_max_new_tokens(13);
  const absl::Status status = Ask(request).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(ReasonOf(status), reason::kOptionRange);
  EXPECT_EQ(FieldOf(status), "question.return_relevance");
  EXPECT_NE(status.message().find("max_new_tokens up to 12"), absl::string_view::npos) << status;
}

TEST_F(RelevanceTest, ACallerThatLeavesDuringThePassHurtsNobody) {
  testing::Gate gate;
  StartTrue([&](ServedLanguageModel& model) { testing::BeforeRelevance(model, [&] { gate.Pass(); }); });
  grpc::ClientContext context;
  auto leaving = std::async(std::launch::async, [&] { return testing::Generate(*stub_, Request(), context).status; });
  gate.AwaitArrivals(1);
  context.TryCancel();
  EXPECT_EQ(leaving.get().code(), absl::StatusCode::kCancelled);
  gate.Open();
  ExpectEverythingGivenBack();
  EXPECT_TRUE(Ask(Request()).status.ok());
}

TEST_F(RelevanceTest, ItsMemoryIsSetAside) {
  testing::Gate gate;
  StartTrue([&](ServedLanguageModel& model) { testing::BeforeRelevance(model, [&] { gate.Pass(); }); });
  auto asked = std::async(std::launch::async, [this] { return Ask(Request()); });
  gate.AwaitArrivals(1);
  const blip2::Config config = testing::TinyCheckpointConfig();
  EXPECT_GE(server_->bytes_inside(), BytesForRelevance(/*tokens=*/20, /*values=*/20 * 4, config));
  gate.Open();
  EXPECT_TRUE(asked.get().status.ok());
  ExpectEverythingGivenBack();
}

}  // namespace
}  // namespace diptych::language
