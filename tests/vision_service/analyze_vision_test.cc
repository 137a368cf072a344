// AnalyzeVision: what it says of an image, what it shares with EncodeImage, and what it refuses.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <future>
#include <iterator>
#include <numeric>
#include <thread>

#include "blip2/checkpoint/checkpoint.h"
#include "blip2/images/image.h"
#include "blip2/images/pixels.h"
#include "blip2/images/resample.h"
#include "blip2/vision_model.h"
#include "common/status.h"
#include "tests/testing/gate.h"
#include "tests/testing/paths.h"
#include "tests/testing/sample_images.h"
#include "tests/testing/tiny_checkpoint.h"
#include "tests/vision_service/vision_client.h"
#include "vision_service/server.h"

namespace diptych::vision {
namespace {

struct AnalyzeOutcome {
  v1::AnalyzeVisionResponse response;
  absl::Status status;
};

AnalyzeOutcome AnalyzeOne(v1::VisionService::Stub& stub, const v1::AnalyzeVisionRequest& request) {
  grpc::ClientContext context;
  AnalyzeOutcome outcome;
  outcome.status = FromGrpcStatus(stub.AnalyzeVision(&context, request, &outcome.response));
  return outcome;
}

double SumOf(const v1::AttentionMap& map) {
  return std::accumulate(map.patches().values().begin(), map.patches().values().end(), double{map.class_token()});
}

class AnalyzeVisionTest : public ::testing::Test {
 protected:
  // `bend` may change what the service sees of the model.
  void Start(std::function<void(ServedVisionModel&)> bend = nullptr, int queue_limit = 64,
             const std::string& image_decode = "exact") {
    VisionOptions options{.model = checkpoint_.folder(), .listen = "127.0.0.1:0", .threads = 1};
    options.image_decode = image_decode;
    options.queue_limit = queue_limit;
    auto model = LoadVisionModel(options);
    ASSERT_TRUE(model.ok()) << model.status();
    if (bend) bend(*model);
    server_.reset();
    auto server = VisionServer::Start(options, *std::move(model));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = testing::VisionStub(server_->port());
  }
  // The model waits at the gate in each pass.
  void StartHeld(int queue_limit = 64) {
    Start(
        [this](ServedVisionModel& model) {
          model.encode = [this, encode = model.encode](const at::Tensor& pixels, int merging) {
            gate_.Pass();
            return encode(pixels, merging);
          };
          model.analyze = [this, analyze = model.analyze](const at::Tensor& pixels) {
            gate_.Pass();
            return analyze(pixels);
          };
        },
        queue_limit);
  }

  static v1::AnalyzeVisionRequest Everything() {
    v1::AnalyzeVisionRequest request;
    request.set_image(testing::GoodPng());
    request.set_cls_attention(true);
    request.set_prepared_image(true);
    return request;
  }
  static v1::EncodeImageRequest EncodeRequest() {
    v1::EncodeImageRequest request;
    request.set_image(testing::GoodPng());
    return request;
  }
  AnalyzeOutcome Analyze(const v1::AnalyzeVisionRequest& request) { return AnalyzeOne(*stub_, request); }
  void AwaitIdle() {
    while (server_->calls_inside() > 0 || server_->stats().inflight_bytes > 0) std::this_thread::yield();
  }

  testing::TinyCheckpoint checkpoint_;
  testing::Gate gate_;
  std::unique_ptr<VisionServer> server_;
  std::unique_ptr<v1::VisionService::Stub> stub_;
};

TEST_F(AnalyzeVisionTest, SaysWhatTheModelComputes) {
  Start();
  const auto checkpoint = blip2::Checkpoint::Open(checkpoint_.folder());
  const blip2::VisionModel model(**checkpoint, {});
  const auto image = blip2::DecodeImage(testing::GoodPng(), {});
  for (const int size : {28, 56}) {
    v1::AnalyzeVisionRequest request = Everything();
    request.mutable_options()->set_image_size(size);
    const auto [response, status] = Analyze(request);
    ASSERT_TRUE(status.ok()) << status;
    const auto seen = model.Analyze(blip2::ToPixelValues(*image, (*checkpoint)->config().image_processor, size));
    const at::Tensor tokens = seen.tokens[0].to(at::kDouble);
    EXPECT_EQ(response.model_fingerprint(), server_->model().fingerprint());
    EXPECT_EQ(response.image_size().height(), image->height);
    EXPECT_EQ(response.image_size().width(), image->width);
    EXPECT_EQ(response.pixel_height(), size);
    EXPECT_EQ(response.pixel_width(), size);
    EXPECT_EQ(response.patch_size(), 14);
    EXPECT_EQ(response.tokens(), tokens.size(0));
    EXPECT_EQ(response.width(), tokens.size(1));
    EXPECT_NEAR(response.mean_norm(), tokens.norm(2, -1).mean().item<double>(), 1e-9);
    const int side = size / 14;
    EXPECT_EQ(response.cls_attention().patches().rows(), side);
    EXPECT_EQ(response.cls_attention().patches().columns(), side);
    ASSERT_EQ(response.cls_attention().patches().values_size(), side * side);
    const float* shares = seen.class_attention.const_data_ptr<float>();
    EXPECT_EQ(response.cls_attention().class_token(), shares[0]);
    EXPECT_TRUE(std::equal(shares + 1, shares + 1 + side * side, response.cls_attention().patches().values().begin()));
    EXPECT_NEAR(SumOf(response.cls_attention()), 1, 1e-6);
    const auto prepared = blip2::DecodeImage(response.prepared_image(), {});
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    EXPECT_EQ(prepared->pixels, blip2::Resize(*image, size, size, blip2::Filter::kBicubic).pixels);
  }
}

TEST_F(AnalyzeVisionTest, SizeAndPreparedImageAreThoseOfTheTurnedImage) {
  Start();
  std::ifstream file(testing::RepositoryPath("tests/data/images/jpeg_exif_6.jpg"), std::ios::binary);
  auto request = Everything();
  request.set_image(std::string{std::istreambuf_iterator<char>(file), {}});
  const AnalyzeOutcome outcome = AnalyzeOne(*stub_, request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.response.image_size().width(), 23);  // stored as 37 x 23
  EXPECT_EQ(outcome.response.image_size().height(), 37);
  const auto shown = blip2::DecodeImage(request.image(), {});
  const auto prepared = blip2::DecodeImage(outcome.response.prepared_image(), {});
  ASSERT_TRUE(shown.ok() && prepared.ok());
  EXPECT_EQ(prepared->pixels, blip2::Resize(*shown, prepared->width, prepared->height, blip2::Filter::kBicubic).pixels);
}

TEST_F(AnalyzeVisionTest, ALargeJpegIsDecodedSmallerOnRequestAlone) {
  constexpr int kSize = 28, kDivisor = 8;
  auto request = Everything();
  request.set_image(testing::ReadRepositoryFile("docs/images/playground.jpg"));
  const auto prepared = [&] { return *blip2::DecodeImage(Analyze(request).response.prepared_image(), {}); };
  const blip2::RgbImage whole = *blip2::DecodeImage(request.image(), {});
  const blip2::RgbImage scaled = *blip2::DecodeImage(request.image(), {}, {}, 2 * kSize);
  ASSERT_EQ(scaled.width, whole.width / kDivisor);
  const auto square = [](const blip2::RgbImage& image) {
    return blip2::Resize(image, kSize, kSize, blip2::Filter::kBicubic).pixels;
  };
  Start();
  EXPECT_EQ(prepared().pixels, square(whole));
  Start(nullptr, 64, "scaled");
  EXPECT_EQ(prepared().pixels, square(scaled));
  EXPECT_NE(square(scaled), square(whole));
  request.mutable_options()->set_max_side(1000);
  EXPECT_EQ(prepared().pixels, square(blip2::ShrinkToMaxSide(whole, 1000))) << "whoever says a size means all pixels";
}

TEST_F(AnalyzeVisionTest, GivesOnlyWhatIsAskedFor) {
  Start();
  v1::AnalyzeVisionRequest request;
  request.set_image(testing::GoodPng());
  const auto [response, status] = Analyze(request);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_GT(response.mean_norm(), 0);
  EXPECT_FALSE(response.has_cls_attention());
  EXPECT_TRUE(response.prepared_image().empty());
}

TEST_F(AnalyzeVisionTest, MergingLeavesFewerTokens) {
  Start();
  v1::AnalyzeVisionRequest request;
  request.set_image(testing::GoodPng());
  request.mutable_options()->set_image_size(112);  // 8 × 8 patches
  request.mutable_options()->set_token_merging(0.25);
  EXPECT_EQ(Analyze(request).response.tokens(), 1 + 64 - 16 - 12);
}

TEST_F(AnalyzeVisionTest, SharesTokensWithEncodeImage) {
  Start();
  const auto passes = [this] { return server_->stats().passes; };
  const auto encoded = testing::EncodeImage(*stub_, EncodeRequest());
  v1::AnalyzeVisionRequest request;
  request.set_image(testing::GoodPng());
  ASSERT_TRUE(Analyze(request).status.ok());
  request.set_prepared_image(true);
  const auto prepared = Analyze(request);
  EXPECT_FALSE(prepared.response.prepared_image().empty());
  EXPECT_EQ(passes(), 1) << "the tokens were there";
  ASSERT_TRUE(Analyze(Everything()).status.ok());
  EXPECT_EQ(passes(), 2) << "the attention was not";
  EXPECT_TRUE(Analyze(Everything()).response.has_cls_attention());
  const auto again = testing::EncodeImage(*stub_, EncodeRequest());
  EXPECT_EQ(passes(), 2) << "now everything is remembered";
  EXPECT_TRUE(again.messages.back().trailer().cache_hit());
  EXPECT_EQ(again.bytes(), encoded.bytes());
}

TEST_F(AnalyzeVisionTest, AnEncodingJoinsAnAnalysisInFlight) {
  StartHeld();
  auto analysis = std::async(std::launch::async, [this] { return Analyze(Everything()); });
  gate_.AwaitArrivals(1);
  auto encoding = std::async(std::launch::async, [this] { return testing::EncodeImage(*stub_, EncodeRequest()); });
  while (server_->stats().joined_calls < 1) std::this_thread::yield();
  gate_.Open();
  EXPECT_TRUE(analysis.get().status.ok());
  EXPECT_TRUE(encoding.get().status.ok());
  EXPECT_EQ(server_->stats().passes, 1);
}

TEST_F(AnalyzeVisionTest, ACallerThatLeavesFreesItsPlace) {
  StartHeld();
  auto first = std::async(std::launch::async, [this] { return Analyze(Everything()); });
  gate_.AwaitArrivals(1);
  v1::AnalyzeVisionRequest another = Everything();
  another.mutable_options()->set_max_side(20);
  grpc::ClientContext context;
  auto cancelled = std::async(std::launch::async, [&] {
    v1::AnalyzeVisionResponse response;
    return stub_->AnalyzeVision(&context, another, &response);
  });
  while (server_->stats().images_waiting < 1) std::this_thread::yield();
  context.TryCancel();
  EXPECT_EQ(cancelled.get().error_code(), grpc::StatusCode::CANCELLED);
  while (server_->calls_inside() > 1) std::this_thread::yield();
  EXPECT_EQ(server_->stats().images_waiting, 0);
  gate_.Open();
  EXPECT_TRUE(first.get().status.ok());
  AwaitIdle();
  EXPECT_EQ(server_->stats().passes, 1) << "what nobody wants is not computed";
}

TEST_F(AnalyzeVisionTest, ADeadlineNamesTheStageInWhichItPassed) {
  StartHeld();
  auto first = std::async(std::launch::async, [this] { return Analyze(Everything()); });
  gate_.AwaitArrivals(1);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  v1::AnalyzeVisionRequest another = Everything();
  another.mutable_options()->set_max_side(20);
  v1::AnalyzeVisionResponse response;
  EXPECT_EQ(stub_->AnalyzeVision(&context, another, &response).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  gate_.Open();
  EXPECT_TRUE(first.get().status.ok());
  AwaitIdle();
}

TEST_F(AnalyzeVisionTest, RefusesWhenAllPlacesAreTaken) {
  StartHeld(/*queue_limit=*/1);
  auto first = std::async(std::launch::async, [this] { return Analyze(Everything()); });
  gate_.AwaitArrivals(1);
  const absl::Status status = Analyze(Everything()).status;
  EXPECT_EQ(ReasonOf(status), reason::kQueueFull);
  EXPECT_TRUE(RetryAfterOf(status).has_value());
  gate_.Open();
  EXPECT_TRUE(first.get().status.ok());
}

TEST_F(AnalyzeVisionTest, AnAttentionThatIsNotFiniteIsOurFault) {
  Start([](ServedVisionModel& model) {
    model.analyze = [analyze = model.analyze](const at::Tensor& pixels) {
      blip2::VisionAnalysis seen = analyze(pixels);
      seen.class_attention = at::full_like(seen.class_attention, std::numeric_limits<float>::quiet_NaN());
      return seen;
    };
  });
  EXPECT_EQ(Analyze(Everything()).status.code(), absl::StatusCode::kInternal);
  AwaitIdle();
}

TEST_F(AnalyzeVisionTest, RefusesImagesByTheirHeader) {
  Start();
  for (const testing::RefusedImage& image : testing::RefusedImages()) {
    SCOPED_TRACE(image.name);
    v1::AnalyzeVisionRequest request = Everything();
    request.set_image(image.bytes);
    const absl::Status status = Analyze(request).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReasonOf(status), image.reason);
    EXPECT_EQ(FieldOf(status), "image");
  }
  v1::AnalyzeVisionRequest request = Everything();
  request.set_image(testing::CutOffJpeg());
  EXPECT_EQ(ReasonOf(Analyze(request).status), reason::kImageCorrupt);
}

TEST_F(AnalyzeVisionTest, RefusesOptionsOutOfRange) {
  Start();
  const auto field_of_refusal = [this](auto&& change) {
    v1::AnalyzeVisionRequest request = Everything();
    change(request);
    const absl::Status status = Analyze(request).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReasonOf(status), reason::kOptionRange);
    return FieldOf(status);
  };
  using Request = v1::AnalyzeVisionRequest;
  EXPECT_EQ(field_of_refusal([](Request& r) { r.mutable_options()->set_token_merging(0.1); }), "options.token_merging");
  EXPECT_EQ(field_of_refusal([](Request& r) { r.mutable_options()->set_image_size(29); }), "options.image_size");
}

TEST_F(AnalyzeVisionTest, TextThatIsNotUtf8IsNamed) {
  Start();
  v1::AnalyzeVisionRequest request = Everything();
  request.set_request_id("\xff");
  const absl::Status status = Analyze(request).status;
  EXPECT_EQ(ReasonOf(status), reason::kTextEncoding);
  EXPECT_EQ(FieldOf(status), "request_id");
}

}  // namespace
}  // namespace diptych::vision
