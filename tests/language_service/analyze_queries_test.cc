// AnalyzeQueries: where the queries look, what it shares with Generate, and what it refuses.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <limits>
#include <numeric>
#include <thread>

#include "common/status.h"
#include "tests/language_service/language_fixture.h"

namespace diptych::language {
namespace {

class AnalyzeQueriesTest : public testing::LanguageFixture {
 protected:
  struct Outcome {
    v1::AnalyzeQueriesResponse response;
    absl::Status status;
  };

  static v1::AnalyzeQueriesRequest Image() {
    v1::AnalyzeQueriesRequest request;
    request.mutable_image()->set_data(testing::GoodPng());
    return request;
  }
  Outcome Analyze(const v1::AnalyzeQueriesRequest& request) {
    grpc::ClientContext context;
    return Analyze(request, context);
  }
  Outcome Analyze(const v1::AnalyzeQueriesRequest& request, grpc::ClientContext& context) {
    Outcome outcome;
    outcome.status = FromGrpcStatus(stub_->AnalyzeQueries(&context, request, &outcome.response));
    return outcome;
  }
  void StartTrue(std::function<void(ServedLanguageModel&)> bend = nullptr) {
    StartWithVision([](const v1::EncodeImageRequest& request, int) { return True(request); }, std::move(bend));
  }
  // Counts passes of the Q-Former, with and without its attention.
  void StartCounting() {
    StartTrue([this](ServedLanguageModel& model) {
      model.project = [this, project = model.project](const at::Tensor& tokens) {
        ++plain_;
        return project(tokens);
      };
      model.analyze_projection = [this, analyze = model.analyze_projection](const at::Tensor& tokens) {
        ++analysed_;
        return analyze(tokens);
      };
    });
  }
  void ExpectEverythingGivenBack() {
    AwaitNobodyInside();
    while (server_->image_stats().in_flight > 0) std::this_thread::yield();
    while (server_->bytes_inside() > 0) std::this_thread::yield();
  }

  std::atomic<int> plain_ = 0, analysed_ = 0;
};

TEST_F(AnalyzeQueriesTest, GivesAMapForEachQuery) {
  StartTrue();
  for (const int size : {28, 70}) {
    v1::AnalyzeQueriesRequest request = Image();
    request.mutable_options()->set_image_size(size);
    const auto [response, status] = Analyze(request);
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(response.query_attention_size(), server_->model().query_tokens());
    for (const v1::AttentionMap& map : response.query_attention()) {
      EXPECT_EQ(map.patches().rows(), size / 14);
      EXPECT_EQ(map.patches().columns(), size / 14);
      ASSERT_EQ(map.patches().values_size(), size / 14 * (size / 14));
      EXPECT_NEAR(
          std::accumulate(map.patches().values().begin(), map.patches().values().end(), double{map.class_token()}), 1,
          1e-6);
    }
  }
  ExpectEverythingGivenBack();
}

TEST_F(AnalyzeQueriesTest, SharesImagesWithGenerate) {
  StartCounting();
  const auto first = AskImage();
  ASSERT_TRUE(first.status.ok()) << first.status;
  ASSERT_TRUE(Analyze(Image()).status.ok());
  EXPECT_EQ(plain_, 1);
  EXPECT_EQ(analysed_, 1) << "the maps were not there";
  ASSERT_TRUE(Analyze(Image()).status.ok());
  const auto again = AskImage();
  EXPECT_EQ(again.answer().timings().cache_hits().projected_tokens(), 1);
  EXPECT_EQ(again.answer().text(), first.answer().text());
  EXPECT_EQ(plain_ + analysed_, 2) << "now everything is kept";
}

TEST_F(AnalyzeQueriesTest, GenerateUsesWhatAnAnalysisBrought) {
  StartCounting();
  ASSERT_TRUE(Analyze(Image()).status.ok());
  ASSERT_TRUE(AskImage().status.ok());
  EXPECT_EQ(plain_, 0);
  EXPECT_EQ(analysed_, 1);
  EXPECT_EQ(vision_->calls(), 1);
}

TEST_F(AnalyzeQueriesTest, ACallerThatLeavesEndsItsPull) {
  StartWithVision([](const v1::EncodeImageRequest&, int) { return testing::ScriptedAnswer{.never_ends = true}; });
  grpc::ClientContext context;
  auto call = std::async(std::launch::async, [&] { return Analyze(Image(), context).status; });
  ASSERT_TRUE(vision_->AwaitCalls(1));
  context.TryCancel();
  EXPECT_EQ(call.get().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(vision_->AwaitCancels(1));
  ExpectEverythingGivenBack();
}

TEST_F(AnalyzeQueriesTest, ADeadlineEndsIt) {
  StartWithVision([](const v1::EncodeImageRequest&, int) { return testing::ScriptedAnswer{.never_ends = true}; });
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  EXPECT_EQ(Analyze(Image(), context).status.code(), absl::StatusCode::kDeadlineExceeded);
  ExpectEverythingGivenBack();
}

TEST_F(AnalyzeQueriesTest, ADeadVisionTierIsUnavailable) {
  Start();
  const absl::Status status = Analyze(Image()).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), reason::kTierUnavailable);
}

TEST_F(AnalyzeQueriesTest, AnotherVisionModelIsAMismatch) {
  StartWithVision([](const v1::EncodeImageRequest& request, int) {
    auto answer = True(request);
    answer.messages.front().mutable_header()->set_model_fingerprint("another");
    return answer;
  });
  const absl::Status status = Analyze(Image()).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), reason::kModelMismatch);
}

TEST_F(AnalyzeQueriesTest, RefusesWhenAllPlacesAreTaken) {
  options_.queue_limit = 1;
  StartWithVision([](const v1::EncodeImageRequest&, int) { return testing::ScriptedAnswer{.never_ends = true}; });
  grpc::ClientContext context;
  auto first = std::async(std::launch::async, [&] { return Analyze(Image(), context).status; });
  ASSERT_TRUE(vision_->AwaitCalls(1));
  EXPECT_EQ(ReasonOf(Analyze(Image()).status), reason::kQueueFull);
  context.TryCancel();
  EXPECT_FALSE(first.get().ok());
}

TEST_F(AnalyzeQueriesTest, AnAttentionThatIsNotFiniteIsOurFault) {
  StartTrue([](ServedLanguageModel& model) {
    model.analyze_projection = [analyze = model.analyze_projection](const at::Tensor& tokens) {
      ProjectionAnalysis analysis = analyze(tokens);
      analysis.cross_attention = at::full_like(analysis.cross_attention, std::numeric_limits<float>::infinity());
      return analysis;
    };
  });
  EXPECT_EQ(Analyze(Image()).status.code(), absl::StatusCode::kInternal);
  ExpectEverythingGivenBack();
}

TEST_F(AnalyzeQueriesTest, RefusesWhatItCannotAnalyse) {
  Start();
  const auto refused = [this](std::string_view reason, const std::string& field, auto&& change) {
    v1::AnalyzeQueriesRequest request = Image();
    change(request);
    const absl::Status status = Analyze(request).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(ReasonOf(status), reason);
    EXPECT_EQ(FieldOf(status), field);
  };
  using Request = v1::AnalyzeQueriesRequest;
  refused(reason::kImageFormat, "image", [](Request& r) { r.clear_image(); });
  refused(reason::kImageUrlRefused, "image", [](Request& r) { r.mutable_image()->set_url("https://example.com"); });
  refused(reason::kOptionRange, "options.image_size", [](Request& r) { r.mutable_options()->set_image_size(29); });
  refused(reason::kOptionRange, "options.token_merging",
          [](Request& r) { r.mutable_options()->set_token_merging(0.2); });
  refused(reason::kTextEncoding, "request_id", [](Request& r) { r.set_request_id("\xff"); });
}

TEST_F(AnalyzeQueriesTest, NamesAnImageThatTheVisionTierRefuses) {
  StartWithVision([](const v1::EncodeImageRequest&, int) {
    return testing::ScriptedAnswer{
        .status = ToGrpcStatus(InvalidField(reason::kImageCorrupt, "image", "the PNG data is damaged or cut off"))};
  });
  const absl::Status status = Analyze(Image()).status;
  EXPECT_EQ(ReasonOf(status), reason::kImageCorrupt);
  EXPECT_EQ(FieldOf(status), "image");
}

}  // namespace
}  // namespace diptych::language
