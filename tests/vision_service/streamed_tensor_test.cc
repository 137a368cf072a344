#include "vision_service/streamed_tensor.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "blip2/checkpoint/checkpoint.h"
#include "blip2/images/image.h"
#include "blip2/qformer.h"
#include "blip2/vision_model.h"
#include "common/tiers/visual_tokens.h"
#include "tests/testing/paths.h"
#include "tests/testing/planted_checkpoint.h"
#include "tests/testing/sample_images.h"

namespace diptych::vision {
namespace {

constexpr auto kAsTheyAre = v1::NUMBER_TYPE_UNSPECIFIED;

// [P, Dv] float32 whose columns are of very different sizes; the first is all zeros.
at::Tensor Tokens() {
  return at::sin(at::arange(6 * 5, at::kFloat)).view({6, 5}) * at::tensor({0.0f, 1e-3f, 1.0f, 300.0f, 1e30f});
}

// What a receiver makes of it, [P, Dv] float32.
at::Tensor Received(const StreamedTensor& streamed, int64_t tokens, int64_t width) {
  if (streamed.dtype != v1::NUMBER_TYPE_INT8) return streamed.values.to(at::kFloat);
  const at::Tensor scales = streamed.values.narrow(0, 0, 4 * width).view(at::kFloat);
  return streamed.values.narrow(0, 4 * width, tokens * width).view({tokens, width}).to(at::kFloat) * scales;
}

TEST(StreamedTensorTest, NumbersThatAreNotToChangeAreNotCopied) {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor tokens = at::ones({2, 3}, dtype);
    EXPECT_TRUE(ToStreamed(tokens, kAsTheyAre).values.is_same(tokens));
  }
  EXPECT_EQ(ToStreamed(at::ones({2, 3}, at::kDouble), kAsTheyAre).dtype, v1::NUMBER_TYPE_UNSPECIFIED);
}

TEST(StreamedTensorTest, FloatsAreRoundedAsLibtorchRoundsThem) {
  const at::Tensor tokens = Tokens().narrow(1, 0, 4).contiguous();
  const auto bfloat16 = ToStreamed(tokens, v1::NUMBER_TYPE_BFLOAT16),
             float16 = ToStreamed(tokens, v1::NUMBER_TYPE_FLOAT16);
  EXPECT_EQ(bfloat16.dtype, v1::NUMBER_TYPE_BFLOAT16);
  EXPECT_TRUE(bfloat16.values.equal(tokens.to(at::kBFloat16)));
  EXPECT_EQ(float16.dtype, v1::NUMBER_TYPE_FLOAT16);
  EXPECT_TRUE(float16.values.equal(tokens.to(at::kHalf)));
  const auto wider = ToStreamed(bfloat16.values, v1::NUMBER_TYPE_FLOAT32);
  EXPECT_EQ(wider.dtype, v1::NUMBER_TYPE_FLOAT32);
  EXPECT_TRUE(wider.values.equal(bfloat16.values.to(at::kFloat)));
}

TEST(StreamedTensorTest, NumbersThatDoNotFitTravelAsTheyAre) {
  const at::Tensor large = at::full({2, 3}, 70000.0f), huge = at::full({2, 3}, std::numeric_limits<float>::max());
  EXPECT_EQ(ToStreamed(large, v1::NUMBER_TYPE_FLOAT16).dtype, v1::NUMBER_TYPE_FLOAT32);
  EXPECT_TRUE(ToStreamed(large, v1::NUMBER_TYPE_FLOAT16).values.is_same(large));
  EXPECT_EQ(ToStreamed(huge, v1::NUMBER_TYPE_BFLOAT16).dtype, v1::NUMBER_TYPE_FLOAT32) << "rounded up it is infinite";
  EXPECT_EQ(ToStreamed(huge, v1::NUMBER_TYPE_INT8).dtype, v1::NUMBER_TYPE_FLOAT32);
}

TEST(StreamedTensorTest, Int8IsHalfAScaleOffAtMostInEachColumn) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor tokens = Tokens().to(dtype);
    const StreamedTensor streamed = ToStreamed(tokens, v1::NUMBER_TYPE_INT8);
    ASSERT_EQ(streamed.dtype, v1::NUMBER_TYPE_INT8);
    ASSERT_EQ(static_cast<int64_t>(streamed.values.nbytes()), StreamedBytes(v1::NUMBER_TYPE_INT8, 6, 5));
    const at::Tensor numbers = tokens.to(at::kFloat);
    const at::Tensor error = (Received(streamed, 6, 5) - numbers).abs();
    EXPECT_TRUE((error <= numbers.abs().amax(0) * (0.5001 / 127)).all().item<bool>()) << error;
  }
}

TEST(StreamedTensorTest, ColumnsTooSmallForAScaleAreZeros) {
  const at::Tensor tokens = at::full({2, 3}, std::numeric_limits<float>::denorm_min());
  EXPECT_TRUE(Received(ToStreamed(tokens, v1::NUMBER_TYPE_INT8), 2, 3).equal(at::zeros({2, 3})));
}

class WireErrorTest : public ::testing::TestWithParam<int> {};

// Off by, relative to the norm, in the query tokens that the demo model makes of its visual tokens: outlier channels,
// which trained models have, cost the other channels nothing.
TEST_P(WireErrorTest, IsThatOfAModelWithoutOutliers) {
  const testing::PlantedCheckpoint planted(testing::RepositoryPath("models/demo"), GetParam());
  const auto checkpoint = *blip2::Checkpoint::Open(planted.folder());
  const blip2::VisionModel vision(*checkpoint, {});
  const blip2::QFormer qformer(*checkpoint, {});
  const auto image = blip2::DecodeImage(testing::GoodPng(), {});
  const auto& config = checkpoint->config();
  const at::Tensor tokens =
      vision.Forward(blip2::ToPixelValues(*image, config.image_processor, config.vision.image_size), 0)[0].contiguous();
  const auto project = [&](const at::Tensor& t) { return qformer.Project(qformer.Forward(t.unsqueeze(0))); };
  const at::Tensor expected = project(tokens);
  for (const auto& [dtype, most] :
       {std::pair{v1::NUMBER_TYPE_FLOAT32, 0.0}, std::pair{v1::NUMBER_TYPE_BFLOAT16, 0.003},
        std::pair{v1::NUMBER_TYPE_FLOAT16, 0.0005}, std::pair{v1::NUMBER_TYPE_INT8, 0.006}}) {
    const at::Tensor received = Received(ToStreamed(tokens, dtype), tokens.size(0), tokens.size(1));
    const double error = ((project(received) - expected).norm() / expected.norm()).item<double>();
    EXPECT_LE(error, most) << v1::NumberType_Name(dtype);
    RecordProperty(v1::NumberType_Name(dtype), std::to_string(error));
  }
}

INSTANTIATE_TEST_SUITE_P(Gains, WireErrorTest, ::testing::Values(1, 60, 1000),
                         [](const auto& info) { return "Times" + std::to_string(info.param); });

}  // namespace
}  // namespace diptych::vision
