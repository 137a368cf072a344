// EncodeImage of a real vision service with a tiny checkpoint: what it streams, and what it refuses.
#include <ATen/ATen.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <cstring>

#include "blip2/checkpoint/checkpoint.h"
#include "blip2/images/image.h"
#include "blip2/images/pixels.h"
#include "blip2/vision_model.h"
#include "common/grpc/message_checksum.h"
#include "common/requests/image_preparation.h"
#include "common/status.h"
#include "tests/testing/sample_images.h"
#include "tests/testing/tiny_checkpoint.h"
#include "tests/vision_service/vision_client.h"
#include "vision_service/server.h"

namespace diptych::vision {
namespace {

using testing::EncodeImage;

class EncodeImageTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    checkpoint_ = new testing::TinyCheckpoint();
    auto server = VisionServer::Start({.model = checkpoint_->folder(), .listen = "127.0.0.1:0", .threads = 1});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = server->release();
  }
  static void TearDownTestSuite() {
    delete server_;
    delete checkpoint_;
  }

  static v1::EncodeImageRequest Request(const std::string& image) {
    v1::EncodeImageRequest request;
    request.set_image(image);
    request.set_model_fingerprint(server_->model().fingerprint());
    return request;
  }

  // What the model itself makes of the image, [P, Dv].
  static at::Tensor Expected(const std::string& image, int image_size, int merging = 0) {
    const auto checkpoint = blip2::Checkpoint::Open(checkpoint_->folder());
    const blip2::VisionModel model(**checkpoint, {});
    const auto pixels =
        blip2::ToPixelValues(*blip2::DecodeImage(image, {}), (*checkpoint)->config().image_processor, image_size);
    return model.Forward(pixels, merging)[0].contiguous();
  }

  static void ExpectTokens(const testing::EncodeOutcome& outcome, const at::Tensor& expected) {
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    ASSERT_TRUE(outcome.messages.front().has_header());
    EXPECT_EQ(outcome.messages.front().header().tokens(), expected.size(0));
    EXPECT_EQ(outcome.messages.front().header().width(), expected.size(1));
    const std::string bytes = outcome.bytes();
    ASSERT_EQ(bytes.size(), expected.nbytes());
    EXPECT_EQ(std::memcmp(bytes.data(), expected.const_data_ptr(), bytes.size()), 0);
  }

  std::unique_ptr<v1::VisionService::Stub> stub_ = testing::VisionStub(server_->port());

  static inline testing::TinyCheckpoint* checkpoint_ = nullptr;
  static inline VisionServer* server_ = nullptr;
};

TEST_F(EncodeImageTest, StreamsWhatTheModelComputes) {
  for (const std::string& image : {testing::GoodPng(), testing::GoodJpeg()}) {
    const auto outcome = EncodeImage(*stub_, Request(image));
    ExpectTokens(outcome, Expected(image, server_->model().image_size()));
    EXPECT_EQ(
        outcome.messages.front().header().image_key(),
        ImageKey(image, {.image_size = server_->model().image_size(), .max_side = 0}, server_->model().fingerprint()));
    EXPECT_TRUE(outcome.messages.back().has_trailer());
    EXPECT_EQ(outcome.messages.back().trailer().total_bytes(), static_cast<int64_t>(outcome.bytes().size()));
  }
}

TEST_F(EncodeImageTest, StreamsTheNumbersThatAreWanted) {
  const at::Tensor expected = Expected(testing::GoodPng(), server_->model().image_size());
  v1::EncodeImageRequest request = Request(testing::GoodPng());
  request.set_dtype(v1::NUMBER_TYPE_BFLOAT16);
  const auto half = EncodeImage(*stub_, request);
  ExpectTokens(half, expected.to(at::kBFloat16));
  EXPECT_EQ(half.messages.front().header().dtype(), v1::NUMBER_TYPE_BFLOAT16);

  request.set_dtype(v1::NUMBER_TYPE_INT8);
  const auto bytes = EncodeImage(*stub_, request);
  ASSERT_TRUE(bytes.status.ok()) << bytes.status;
  EXPECT_EQ(bytes.messages.front().header().dtype(), v1::NUMBER_TYPE_INT8);
  EXPECT_EQ(bytes.messages.front().header().width(), expected.size(1));
  EXPECT_EQ(bytes.messages.front().header().image_key(), half.messages.front().header().image_key());
  EXPECT_EQ(bytes.messages.back().trailer().total_bytes(), (4 + expected.size(0)) * expected.size(1));
}

TEST_F(EncodeImageTest, ANumberTypeOfALaterVersionGetsTheTokensAsTheyAre) {
  v1::EncodeImageRequest request = Request(testing::GoodPng());
  request.set_dtype(static_cast<v1::NumberType>(77));
  const auto outcome = EncodeImage(*stub_, request);
  ExpectTokens(outcome, Expected(testing::GoodPng(), server_->model().image_size()));
  EXPECT_EQ(outcome.messages.front().header().dtype(), v1::NUMBER_TYPE_FLOAT32);
}

TEST_F(EncodeImageTest, AnotherResolutionGivesMoreTokens) {
  const int twice = 2 * server_->model().image_size();
  v1::EncodeImageRequest request = Request(testing::GoodPng());
  request.mutable_options()->set_image_size(twice);
  ExpectTokens(EncodeImage(*stub_, request), Expected(testing::GoodPng(), twice));
}

TEST_F(EncodeImageTest, APreShrinkChangesTheTokensAndTheKey) {
  v1::EncodeImageRequest request = Request(testing::GoodPng());
  const auto plain = EncodeImage(*stub_, request);
  request.mutable_options()->set_max_side(16);
  const auto shrunk = EncodeImage(*stub_, request);
  ASSERT_TRUE(shrunk.status.ok()) << shrunk.status;
  EXPECT_NE(shrunk.bytes(), plain.bytes());
  EXPECT_NE(shrunk.messages.front().header().image_key(), plain.messages.front().header().image_key());
}

TEST_F(EncodeImageTest, MergingGivesFewerTokensAndAnotherKey) {
  const int side = 4 * server_->model().image_size();  // 8 × 8 patches
  v1::EncodeImageRequest request = Request(testing::GoodPng());
  request.mutable_options()->set_image_size(side);
  const auto plain = EncodeImage(*stub_, request);
  request.mutable_options()->set_token_merging(0.25);
  const auto merged = EncodeImage(*stub_, request);
  ExpectTokens(merged, Expected(testing::GoodPng(), side, /*merging=*/250));
  EXPECT_EQ(merged.messages.front().header().tokens(), 1 + 64 - 16 - 12);
  EXPECT_NE(merged.messages.front().header().image_key(), plain.messages.front().header().image_key());
}

TEST_F(EncodeImageTest, AnEmptyFingerprintAcceptsAnyModel) {
  v1::EncodeImageRequest request = Request(testing::GoodPng());
  request.clear_model_fingerprint();
  EXPECT_TRUE(EncodeImage(*stub_, request).status.ok());
}

TEST_F(EncodeImageTest, AnotherFingerprintIsAMismatch) {
  v1::EncodeImageRequest request = Request(testing::GoodPng());
  request.set_model_fingerprint("another");
  const absl::Status status = EncodeImage(*stub_, request).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), reason::kModelMismatch);
}

TEST_F(EncodeImageTest, RefusesImagesByTheirHeader) {
  for (const testing::RefusedImage& image : testing::RefusedImages()) {
    SCOPED_TRACE(image.name);
    const absl::Status status = EncodeImage(*stub_, Request(image.bytes)).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReasonOf(status), image.reason);
    EXPECT_EQ(FieldOf(status), "image");
  }
}

// Its sender, not the caller whose image it is, sends it again.
TEST_F(EncodeImageTest, AMessageThatIsNotWhatWasSentIsNotLookedAt) {
  for (const std::string& image : {testing::GoodPng(), std::string(300'000, 'x')}) {
    v1::EncodeImageRequest request = Request(image);
    grpc::ClientContext as_sent, spoilt;
    for (grpc::ClientContext* context : {&as_sent, &spoilt}) SendChecksum(*context, request);
    const bool good = image == testing::GoodPng();
    EXPECT_EQ(ReasonOf(EncodeImage(*stub_, request, as_sent).status), good ? "" : reason::kImageFormat);
    (*request.mutable_image())[image.size() / 2] ^= 4;
    const absl::Status status = EncodeImage(*stub_, request, spoilt).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_EQ(ReasonOf(status), "") << "so that it is repeated";
  }
}

TEST_F(EncodeImageTest, RefusesAnImageThatIsCutOff) {
  const absl::Status status = EncodeImage(*stub_, Request(testing::CutOffJpeg())).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), reason::kImageCorrupt);
}

TEST_F(EncodeImageTest, RefusesOptionsOutOfRange) {
  const auto field_of_refusal = [this](auto&& change) {
    v1::EncodeImageRequest request = Request(testing::GoodPng());
    change(request);
    const absl::Status status = EncodeImage(*stub_, request).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReasonOf(status), reason::kOptionRange);
    return FieldOf(status);
  };
  using Request = v1::EncodeImageRequest;
  EXPECT_EQ(field_of_refusal([](Request& r) { r.mutable_options()->set_image_size(0); }), "options.image_size");
  EXPECT_EQ(field_of_refusal([](Request& r) { r.mutable_options()->set_image_size(29); }), "options.image_size");
  EXPECT_EQ(field_of_refusal([](Request& r) { r.mutable_options()->set_image_size(14 << 20); }), "options.image_size");
  EXPECT_EQ(field_of_refusal([](Request& r) { r.mutable_options()->set_max_side(-1); }), "options.max_side");
  EXPECT_EQ(field_of_refusal([](Request& r) { r.mutable_options()->set_max_side(9000); }), "options.max_side");
  EXPECT_EQ(field_of_refusal([](Request& r) { r.mutable_options()->set_token_merging(0.6); }), "options.token_merging");
  EXPECT_EQ(field_of_refusal([](Request& r) { r.set_cut(static_cast<v1::Cut>(7)); }), "cut");
}

TEST_F(EncodeImageTest, TextThatIsNotUtf8IsNamed) {
  v1::EncodeImageRequest request = Request(testing::GoodPng());
  request.set_request_id("\xff");
  const absl::Status status = EncodeImage(*stub_, request).status;
  EXPECT_EQ(ReasonOf(status), reason::kTextEncoding);
  EXPECT_EQ(FieldOf(status), "request_id");
}

TEST_F(EncodeImageTest, DescribesItsModel) {
  grpc::ClientContext context;
  v1::GetVisionModelResponse response;
  ASSERT_TRUE(stub_->GetVisionModel(&context, {}, &response).ok());
  const v1::ModelDescription& model = response.model();
  EXPECT_EQ(model.fingerprint().size(), 64u);
  EXPECT_EQ(model.dtype(), "float32");
  EXPECT_EQ(model.device(), "cpu");
  EXPECT_EQ(model.image_size(), 28);
  EXPECT_EQ(model.visual_tokens(), 5);
  ASSERT_EQ(model.parts_size(), 1);
  EXPECT_EQ(model.parts(0).bytes(), 4 * model.parts(0).parameters());
  EXPECT_EQ(model.max_image_bytes(), ImageLimits().max_bytes);
  EXPECT_EQ(model.max_image_pixels(), ImageLimits().max_pixels);
}

TEST(VisionServerLimitsTest, TakesAndAnnouncesWhatItIsTold) {
  const testing::TinyCheckpoint checkpoint;
  const auto server = VisionServer::Start({.model = checkpoint.folder(),
                                           .listen = "127.0.0.1:0",
                                           .image_limits = {.max_bytes = 64 << 20, .max_pixels = 4'000}});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ((*server)->model().max_image_bytes(), 64 << 20);
  EXPECT_EQ((*server)->model().max_image_pixels(), 4'000);
}

TEST(VisionServerStartTest, ABadCheckpointIsOneLineThatNamesTheTensor) {
  const testing::TinyCheckpoint broken(
      {.edit_tensors = [](testing::TinyTensors& tensors) { tensors.erase("vision_model.post_layernorm.weight"); }});
  const auto server = VisionServer::Start({.model = broken.folder(), .listen = "127.0.0.1:0"});
  ASSERT_FALSE(server.ok());
  EXPECT_NE(server.status().message().find("vision_model.post_layernorm.weight"), absl::string_view::npos);
  EXPECT_EQ(server.status().message().find('\n'), absl::string_view::npos);
}

TEST(VisionServerStartTest, NamesTheFlagAtFault) {
  const testing::TinyCheckpoint checkpoint;
  const auto message = [&](VisionOptions options) {
    options.model = checkpoint.folder();
    return std::string(VisionServer::Start(options).status().message());
  };
  EXPECT_NE(message({.dtype = "int3"}).find("int3"), std::string::npos);
  EXPECT_NE(message({.device = "abacus"}).find("abacus"), std::string::npos);
  EXPECT_NE(message({.image_workers = 0}).find("--image_workers"), std::string::npos);
  EXPECT_NE(message({.image_decode = "fast"}).find("--image_decode"), std::string::npos);
  EXPECT_NE(message({.queue_limit = 0}).find("--queue_limit"), std::string::npos);
  EXPECT_NE(message({.max_batch = 257}).find("--max_batch"), std::string::npos);
  EXPECT_NE(message({.cache_bytes = -1}).find("--cache_bytes"), std::string::npos);
  EXPECT_NE(message({.max_inflight_bytes = 1 << 20}).find("--max_inflight_bytes"), std::string::npos);
  EXPECT_NE(message({.image_limits = {.max_bytes = 5}}).find("--max_image_bytes"), std::string::npos);
  EXPECT_NE(message({.image_limits = {.max_pixels = 0}}).find("--max_image_pixels"), std::string::npos);
  EXPECT_NE(message({.threads = -1}).find("--threads"), std::string::npos);
  EXPECT_NE(message({.listen = "nowhere"}).find("--listen"), std::string::npos);
}

}  // namespace
}  // namespace diptych::vision
