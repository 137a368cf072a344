#include "vision_service/vision_metrics.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/testing/metrics_page.h"
#include "tests/testing/sample_images.h"
#include "tests/vision_service/vision_client.h"
#include "vision_service/server.h"

namespace diptych::vision {
namespace {

using std::chrono::seconds;
using testing::MetricsPage;

TEST(BusyRatioTest, IsTheShareOfTheLastTenSeconds) {
  const SteadyTime start{};
  BusyRatio ratio(start);
  EXPECT_EQ(ratio.At(start, seconds(0)), 0);
  EXPECT_EQ(ratio.At(start + seconds(4), seconds(1)), 0.25);
  EXPECT_EQ(ratio.At(start + seconds(14), seconds(6)), 0.5);  // since second 4
  EXPECT_EQ(ratio.At(start + seconds(1000), seconds(6)), 0);
}

TEST(BusyRatioTest, StaysAShareWhoeverAsksAndHoweverOften) {
  const SteadyTime start{};
  BusyRatio ratio(start);
  for (int i = 0; i < 100'000; ++i) {
    const double value = ratio.At(start + std::chrono::microseconds(i), std::chrono::microseconds(2 * i));
    ASSERT_GE(value, 0);
    ASSERT_LE(value, 1);
  }
}

class VisionMetricsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ServedVisionModel model;
    model.description.set_name("double");
    model.description.set_fingerprint("f00d");
    model.description.set_dtype("float32");
    model.description.set_device("cpu");
    model.description.set_patch_size(14);
    model.description.set_image_size(28);
    model.encode = [](const at::Tensor& pixels, auto&&...) { return at::zeros({pixels.size(0), 5, 4}); };
    auto server = VisionServer::Start({.listen = "127.0.0.1:0", .metrics_listen = "127.0.0.1:0"}, std::move(model));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = testing::VisionStub(server_->port());
  }

  absl::Status Encode(const std::string& image) {
    v1::EncodeImageRequest request;
    request.set_image(image);
    return testing::EncodeImage(*stub_, request).status;
  }
  MetricsPage Page() const { return testing::Scrape(server_->metrics_port()); }
  // A moment after the last call has ended.
  void AwaitIdle() const {
    while (server_->stats().images_running > 0 || server_->stats().inflight_bytes > 0) std::this_thread::yield();
  }

  std::unique_ptr<VisionServer> server_;
  std::unique_ptr<v1::VisionService::Stub> stub_;
};

TEST_F(VisionMetricsTest, CountsWhatWasAskedAndComputed) {
  EXPECT_EQ(Page().Total("diptych_requests_total"), 0);
  EXPECT_TRUE(Encode(testing::GoodPng()).ok());
  EXPECT_TRUE(Encode(testing::GoodPng()).ok());  // from the cache
  EXPECT_FALSE(Encode("no image").ok());
  AwaitIdle();
  const MetricsPage page = Page();
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "OK"}, {"finish_reason", "none"}}), 2);
  EXPECT_EQ(page.Value("diptych_requests_total", {{"code", "INVALID_ARGUMENT"}, {"finish_reason", "none"}}), 1);
  EXPECT_EQ(page.Total("diptych_requests_total"), 3);
  EXPECT_EQ(page.Value("diptych_errors_total", {{"reason", "IMAGE_FORMAT"}}), 1);
  EXPECT_EQ(page.Value("diptych_request_seconds_count"), 3);
  EXPECT_EQ(page.Value("diptych_cache_queries_total", {{"cache", "vision_tokens"}}), 2);
  EXPECT_EQ(page.Value("diptych_cache_hits_total", {{"cache", "vision_tokens"}}), 1);
  EXPECT_EQ(page.Value("diptych_cache_bytes", {{"cache", "vision_tokens"}}), server_->stats().cache_bytes);
  EXPECT_EQ(page.Value("diptych_visual_tokens_total"), 5);
  EXPECT_EQ(page.Value("diptych_batch_size_count", {{"tier", "vision"}}), 1);
  EXPECT_EQ(page.Value("diptych_batch_size_sum", {{"tier", "vision"}}), 1);
  EXPECT_EQ(page.Value("diptych_batch_size_bucket", {{"tier", "vision"}, {"le", "1"}}), 1);
  EXPECT_EQ(page.Value("diptych_stage_seconds_count", {{"stage", "vit"}}), 1);
  EXPECT_EQ(page.Value("diptych_requests_running"), 0);
  EXPECT_EQ(page.Value("diptych_requests_waiting"), 0);
  EXPECT_EQ(page.Value("diptych_inflight_bytes"), 0);
  EXPECT_EQ(Page().Value("diptych_batch_size_sum", {{"tier", "vision"}}), 1);  // reading twice counts nothing twice
}

TEST_F(VisionMetricsTest, TellsItsLoadToWhoeverAsksWhatItServes) {
  EXPECT_TRUE(Encode(testing::GoodPng()).ok());
  EXPECT_TRUE(Encode(testing::GoodPng()).ok());
  AwaitIdle();
  grpc::ClientContext context;
  v1::GetVisionModelResponse response;
  ASSERT_TRUE(stub_->GetVisionModel(&context, {}, &response).ok());
  EXPECT_EQ(response.load().mean_batch_size(), 1);
  ASSERT_EQ(response.load().caches_size(), 1);
  EXPECT_EQ(response.load().caches(0).name(), "vision_tokens");
  EXPECT_EQ(response.load().caches(0).queries(), 2);
  EXPECT_EQ(response.load().caches(0).hits(), 1);
}

}  // namespace
}  // namespace diptych::vision
