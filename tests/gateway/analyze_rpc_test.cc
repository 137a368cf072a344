// AnalyzeImage through the RPC: what is put together, what is refused, and what happens when a tier fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "tests/gateway/gateway_fixture.h"
#include "tests/testing/image_headers.h"

namespace diptych::gateway {
namespace {

using testing::FakeLanguageTier;
using testing::PngHeader;

class AnalyzeRpcTest : public GatewayFixture {
 protected:
  static v1::AnalyzeImageRequest Everything() {
    v1::AnalyzeImageRequest request;
    request.mutable_image()->set_data(PngHeader(96, 64));
    request.set_cls_attention(true);
    request.set_qformer_attention(true);
    request.set_prepared_image(true);
    return request;
  }

  absl::StatusOr<v1::AnalyzeImageResponse> Analyze(const v1::AnalyzeImageRequest& request) {
    grpc::ClientContext context;
    return Analyze(context, request);
  }
  absl::StatusOr<v1::AnalyzeImageResponse> Analyze(grpc::ClientContext& context,
                                                   const v1::AnalyzeImageRequest& request) {
    v1::AnalyzeImageResponse response;
    const grpc::Status status = stub_->AnalyzeImage(&context, request, &response);
    if (!status.ok()) return FromGrpcStatus(status);
    return response;
  }
};

// Waits until whoever asked has left.
template <typename Request, typename Response>
auto UntilCancelled(std::atomic<int>& seen) {
  return [&seen](grpc::ServerContext* context, const Request&, Response*) {
    ++seen;
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  };
}

TEST_F(AnalyzeRpcTest, PutsTogetherWhatTheTiersSay) {
  FakeLanguageTier language;
  std::string seen_id, seen_by_language;
  int seen_size = 0;
  vision_.analysis = [&](grpc::ServerContext*, const v1::AnalyzeVisionRequest& request,
                         v1::AnalyzeVisionResponse* response) {
    seen_id = request.request_id();
    seen_size = request.options().image_size();
    EXPECT_EQ(request.image(), PngHeader(96, 64));
    EXPECT_TRUE(request.cls_attention());
    EXPECT_TRUE(request.prepared_image());
    *response = testing::FakeVisionAnalysis();
    return grpc::Status::OK;
  };
  language.analysis = [&](grpc::ServerContext*, const v1::AnalyzeQueriesRequest& request,
                          v1::AnalyzeQueriesResponse* response) {
    seen_by_language = request.request_id();
    EXPECT_EQ(request.image().data(), PngHeader(96, 64));
    EXPECT_EQ(request.options().image_size(), 28);
    *response = testing::FakeQueryAnalysis();
    return grpc::Status::OK;
  };
  StartGateway(language.target());
  v1::AnalyzeImageRequest request = Everything();
  request.mutable_options()->set_image_size(28);
  const auto response = Analyze(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(seen_size, 28);
  EXPECT_FALSE(response->request_id().empty());
  EXPECT_EQ(response->request_id(), seen_id);
  EXPECT_EQ(response->request_id(), seen_by_language);
  EXPECT_THAT(response->pixel_shape(), ::testing::ElementsAre(1, 3, 28, 42));
  EXPECT_THAT(response->feature_shape(), ::testing::ElementsAre(1, 7, 1408));
  EXPECT_EQ(response->patch_rows(), 2);
  EXPECT_EQ(response->patch_columns(), 3);
  EXPECT_EQ(response->visual_tokens(), 7);
  EXPECT_EQ(response->visual_width(), 1408);
  EXPECT_EQ(response->mean_norm(), 2.5);
  EXPECT_EQ(response->image_size().height(), 64);
  EXPECT_EQ(response->image_size().width(), 96);
  EXPECT_EQ(response->cls_attention().class_token(), 0.25f);
  EXPECT_EQ(response->prepared_image(), "a PNG file");
  ASSERT_EQ(response->query_attention_size(), 2);
  EXPECT_EQ(response->query_attention(1).patches().values(5), 1);
  EXPECT_EQ(response->mean_query_attention().class_token(), 0.5f);
  EXPECT_THAT(response->mean_query_attention().patches().values(), ::testing::ElementsAre(0, 0, 0, 0, 0, 0.5f));
}

TEST_F(AnalyzeRpcTest, AsksTheLanguageTierOnlyForItsMaps) {
  FakeLanguageTier language;
  std::atomic<int> asked = 0;
  language.analysis = [&](grpc::ServerContext*, const v1::AnalyzeQueriesRequest&, v1::AnalyzeQueriesResponse*) {
    ++asked;
    return grpc::Status::OK;
  };
  StartGateway(language.target());
  v1::AnalyzeImageRequest request;
  request.mutable_image()->set_data(PngHeader(96, 64));
  request.set_request_id("mine");
  const auto response = Analyze(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->request_id(), "mine");
  EXPECT_EQ(asked, 0);
  EXPECT_FALSE(response->has_cls_attention());
  EXPECT_FALSE(response->has_mean_query_attention());
  EXPECT_EQ(response->query_attention_size(), 0);
  EXPECT_TRUE(response->prepared_image().empty());
}

TEST_F(AnalyzeRpcTest, RefusesBeforeATierSeesIt) {
  FakeLanguageTier language;
  std::atomic<int> asked = 0;
  vision_.analysis = [&](grpc::ServerContext*, const v1::AnalyzeVisionRequest&, v1::AnalyzeVisionResponse*) {
    ++asked;
    return grpc::Status::OK;
  };
  StartGateway(language.target());
  const auto refused = [this](std::string_view reason, const std::string& field, auto&& change) {
    v1::AnalyzeImageRequest request = Everything();
    change(request);
    const absl::Status status = Analyze(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(ReasonOf(status), reason);
    EXPECT_EQ(FieldOf(status), field);
  };
  using Request = v1::AnalyzeImageRequest;
  refused(reason::kImageFormat, "image", [](Request& r) { r.clear_image(); });
  refused(reason::kImageFormat, "image", [](Request& r) { r.mutable_image()->set_data(testing::Bmp()); });
  refused(reason::kImageTooLarge, "image", [](Request& r) { r.mutable_image()->set_data(PngHeader(20000, 1)); });
  refused(reason::kImageTooLarge, "image",
          [](Request& r) { r.mutable_image()->mutable_data()->append(std::string(33 << 20, '\0')); });
  refused(reason::kImageUrlRefused, "image",
          [](Request& r) { r.mutable_image()->set_url("https://example.com/a.png"); });
  refused(reason::kOptionRange, "options.image_size", [](Request& r) { r.mutable_options()->set_image_size(4096); });
  refused(reason::kOptionRange, "options.token_merging",
          [](Request& r) { r.mutable_options()->set_token_merging(0.2); });
  refused(reason::kOptionRange, "request_id", [](Request& r) { r.set_request_id(std::string(129, 'a')); });
  refused(reason::kTextEncoding, "request_id", [](Request& r) { r.set_request_id("\xff"); });
  EXPECT_EQ(asked, 0);
}

TEST_F(AnalyzeRpcTest, MergingIsFineWithoutMaps) {
  FakeLanguageTier language;
  StartGateway(language.target());
  v1::AnalyzeImageRequest request;
  request.mutable_image()->set_data(PngHeader(96, 64));
  request.mutable_options()->set_token_merging(0.2);
  EXPECT_TRUE(Analyze(request).ok());
}

TEST_F(AnalyzeRpcTest, ATiersRefusalPassesAsItIs) {
  FakeLanguageTier language;
  vision_.analysis = [&](grpc::ServerContext*, const v1::AnalyzeVisionRequest&, v1::AnalyzeVisionResponse*) {
    return ToGrpcStatus(InvalidField(reason::kImageCorrupt, "image", "the PNG data is damaged or cut off"));
  };
  StartGateway(language.target());
  const absl::Status status = Analyze(Everything()).status();
  EXPECT_EQ(ReasonOf(status), reason::kImageCorrupt);
  EXPECT_EQ(FieldOf(status), "image");
}

TEST_F(AnalyzeRpcTest, TheFirstErrorEndsTheOtherCall) {
  FakeLanguageTier language;
  std::atomic<int> waiting = 0;
  language.analysis = UntilCancelled<v1::AnalyzeQueriesRequest, v1::AnalyzeQueriesResponse>(waiting);
  vision_.analysis = [&](grpc::ServerContext*, const v1::AnalyzeVisionRequest&, v1::AnalyzeVisionResponse*) {
    while (waiting == 0) std::this_thread::yield();
    return ToGrpcStatus(RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full", absl::Seconds(1)));
  };
  StartGateway(language.target());
  const absl::Status status = Analyze(Everything()).status();
  EXPECT_EQ(ReasonOf(status), reason::kQueueFull);
  EXPECT_TRUE(RetryAfterOf(status).has_value());
}

TEST_F(AnalyzeRpcTest, ACancelledCallEndsBothTiers) {
  FakeLanguageTier language;
  std::atomic<int> waiting = 0;
  language.analysis = UntilCancelled<v1::AnalyzeQueriesRequest, v1::AnalyzeQueriesResponse>(waiting);
  vision_.analysis = UntilCancelled<v1::AnalyzeVisionRequest, v1::AnalyzeVisionResponse>(waiting);
  StartGateway(language.target());
  grpc::ClientContext context;
  auto call = std::async(std::launch::async, [&] { return Analyze(context, Everything()).status(); });
  while (waiting < 2) std::this_thread::yield();
  context.TryCancel();
  EXPECT_EQ(call.get().code(), absl::StatusCode::kCancelled);
}

TEST_F(AnalyzeRpcTest, TheDeadlineReachesTheTiers) {
  FakeLanguageTier language;
  std::atomic<int> waiting = 0;
  vision_.analysis = UntilCancelled<v1::AnalyzeVisionRequest, v1::AnalyzeVisionResponse>(waiting);
  StartGateway(language.target());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  EXPECT_EQ(Analyze(context, Everything()).status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(AnalyzeRpcTest, ATierThatHasSaidAllAndDoesNotEndHoldsNobody) {
  FakeLanguageTier language;
  vision_.never_ends = true;
  StartGateway(language.target());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(15));  // until which it was held
  const auto response = Analyze(context, Everything());
  EXPECT_TRUE(response.ok()) << response.status();
  while (vision_.left == 0) std::this_thread::yield();
}

TEST_F(AnalyzeRpcTest, AnotherModelIsAMismatch) {
  FakeLanguageTier language;
  vision_.analysis = [&](grpc::ServerContext*, const v1::AnalyzeVisionRequest&, v1::AnalyzeVisionResponse* response) {
    *response = testing::FakeVisionAnalysis();
    response->set_model_fingerprint("another");
    return grpc::Status::OK;
  };
  StartGateway(language.target());
  const absl::Status status = Analyze(Everything()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), reason::kModelMismatch);
}

TEST_F(AnalyzeRpcTest, AnAnswerOfAnotherShapeIsTheTiersFault) {
  FakeLanguageTier language;
  language.analysis = [&](grpc::ServerContext*, const v1::AnalyzeQueriesRequest&,
                          v1::AnalyzeQueriesResponse* response) {
    *response = testing::FakeQueryAnalysis();
    response->mutable_query_attention(1)->mutable_patches()->add_values(0);
    return grpc::Status::OK;
  };
  StartGateway(language.target());
  const absl::Status status = Analyze(Everything()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ReasonOf(status), reason::kTierProtocol);
}

TEST_F(AnalyzeRpcTest, ADrainingReplicaIsAskedAgain) {
  FakeLanguageTier language;
  std::atomic<int> asked = 0;
  vision_.analysis = [&](grpc::ServerContext*, const v1::AnalyzeVisionRequest&, v1::AnalyzeVisionResponse* response) {
    if (++asked < 3) {
      return ToGrpcStatus(MakeError(absl::StatusCode::kUnavailable, reason::kDraining, "this server is shutting down"));
    }
    *response = testing::FakeVisionAnalysis();
    return grpc::Status::OK;
  };
  StartGateway(language.target());
  EXPECT_TRUE(Analyze(Everything()).ok());
  EXPECT_EQ(asked, 3);
}

TEST_F(AnalyzeRpcTest, AReplicaStoppedByForceHandsTheAnalysisOn) {
  FakeLanguageTier language;
  std::atomic<int> asked = 0;
  vision_.analysis = [&](grpc::ServerContext*, const v1::AnalyzeVisionRequest&, v1::AnalyzeVisionResponse* response) {
    if (++asked == 1) return grpc::Status(grpc::StatusCode::CANCELLED, "");
    *response = testing::FakeVisionAnalysis();
    return grpc::Status::OK;
  };
  StartGateway(language.target());
  EXPECT_TRUE(Analyze(Everything()).ok());
  EXPECT_EQ(asked, 2);
}

TEST_F(AnalyzeRpcTest, ADeadTierIsUnavailable) {
  FakeLanguageTier language;
  StartGateway(language.target());
  vision_.Kill();
  absl::Status status = Analyze(Everything()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), reason::kTierUnavailable);
}

TEST_F(AnalyzeRpcTest, ADeadLanguageTierIsMissedOnlyForItsMaps) {
  FakeLanguageTier language;
  StartGateway(language.target());
  language.Kill();
  const absl::Status status = Analyze(Everything()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), reason::kTierUnavailable);
  v1::AnalyzeImageRequest request = Everything();
  request.set_qformer_attention(false);
  EXPECT_TRUE(Analyze(request).ok());
}

TEST_F(AnalyzeRpcTest, TakesAPlaceBesideTheQuestions) {
  FakeLanguageTier language;
  std::atomic<int> waiting = 0;
  vision_.analysis = UntilCancelled<v1::AnalyzeVisionRequest, v1::AnalyzeVisionResponse>(waiting);
  StartGateway(language.target(), {.max_inflight = 1});
  grpc::ClientContext context;
  auto first = std::async(std::launch::async, [&] { return Analyze(context, Everything()).status(); });
  while (waiting < 1) std::this_thread::yield();
  EXPECT_EQ(ReasonOf(Analyze(Everything()).status()), reason::kQueueFull);
  EXPECT_EQ(ReasonOf(Ask(TextQuestion()).status()), reason::kQueueFull);
  context.TryCancel();
  EXPECT_FALSE(first.get().ok());
}

}  // namespace
}  // namespace diptych::gateway
