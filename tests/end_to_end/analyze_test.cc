// AnalyzeImage through the three processes with the demo model.
#include <gtest/gtest.h>

#include <numeric>

#include "common/grpc_status.h"
#include "tests/end_to_end/stack.h"

namespace diptych {
namespace {

using testing::Sample;

class AnalyzeTest : public testing::SharedStackTest {};

double SumOf(const v1::AttentionMap& map) {
  return std::accumulate(map.patches().values().begin(), map.patches().values().end(), double{map.class_token()});
}

TEST_F(AnalyzeTest, DescribesAPictureOfTheDemoModel) {
  v1::AnalyzeImageRequest request;
  request.mutable_image()->set_data(Sample("red_circle_blue_star.png"));
  request.set_cls_attention(true);
  request.set_qformer_attention(true);
  request.set_prepared_image(true);
  grpc::ClientContext context;
  v1::AnalyzeImageResponse response;
  const absl::Status status = FromGrpcStatus(stack_->stub().AnalyzeImage(&context, request, &response));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(response.patch_rows(), 8);
  EXPECT_EQ(response.patch_columns(), 8);
  EXPECT_EQ(response.visual_tokens(), 65);
  EXPECT_EQ(response.visual_width(), 128);
  EXPECT_EQ(std::vector<int>(response.pixel_shape().begin(), response.pixel_shape().end()),
            (std::vector<int>{1, 3, 112, 112}));
  EXPECT_EQ(std::vector<int>(response.feature_shape().begin(), response.feature_shape().end()),
            (std::vector<int>{1, 65, 128}));
  EXPECT_GT(response.mean_norm(), 0);
  EXPECT_NEAR(SumOf(response.cls_attention()), 1, 1e-5);
  ASSERT_EQ(response.query_attention_size(), 16);
  for (const v1::AttentionMap& map : response.query_attention()) EXPECT_NEAR(SumOf(map), 1, 1e-5);
  EXPECT_NEAR(SumOf(response.mean_query_attention()), 1, 1e-5);
  EXPECT_EQ(response.prepared_image().substr(1, 3), "PNG");
}

}  // namespace
}  // namespace diptych
