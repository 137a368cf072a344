// AnalyzeImage and relevance through the three processes with the demo model.
#include <gtest/gtest.h>

#include <numeric>
#include <utility>

#include "common/grpc/grpc_status.h"
#include "tests/end_to_end/stack.h"

namespace diptych {
namespace {

using testing::Sample;

class AnalyzeTest : public testing::SharedStackTest {};

double SumOf(const v1::AttentionMap& map) {
  return std::accumulate(map.patches().values().begin(), map.patches().values().end(), double{map.class_token()});
}

TEST_F(AnalyzeTest, DescribesAnImageOfTheDemoModel) {
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

// Patches [top, bottom) × [left, right).
struct Place {
  int top, bottom, left, right;
};

// What of the grid lies there, and whether the largest value does.
std::pair<double, bool> ShareOf(const v1::FloatGrid& grid, const Place& place) {
  double inside = 0, all = 0;
  int best = 0;
  const auto is_inside = [&](int i) {
    const int row = i / grid.columns(), column = i % grid.columns();
    return row >= place.top && row < place.bottom && column >= place.left && column < place.right;
  };
  for (int i = 0; i < grid.values_size(); ++i) {
    all += grid.values(i);
    if (is_inside(i)) inside += grid.values(i);
    if (grid.values(i) > grid.values(best)) best = i;
  }
  return {inside / all, is_inside(best)};
}

// The demo model learnt nothing but to answer; it looks at what it is asked about all the same.
TEST_F(AnalyzeTest, TheColorOfAShapeIsReadWhereTheShapeIs) {
  const struct {
    const char* question;
    const char* answer;
    Place place;
  } cases[] = {{"What color is the circle?", "red", {0, 3, 0, 3}}, {"What color is the star?", "blue", {3, 6, 3, 5}}};
  for (const auto& expected : cases) {
    v1::Question question = testing::QuestionAbout(Sample("red_circle_blue_star.png"), expected.question);
    question.set_return_relevance(true);
    const auto answer = stack_->Ask(question);
    ASSERT_TRUE(answer.ok()) << answer.status();
    ASSERT_EQ(answer->text(), expected.answer);
    ASSERT_EQ(answer->relevance_size(), answer->token_ids_size());
    const v1::FloatGrid& grid = answer->relevance(0).images(0);
    const auto [share, has_peak] = ShareOf(grid, expected.place);
    const Place& place = expected.place;
    const double by_chance = (place.bottom - place.top) * (place.right - place.left) / double{64};
    EXPECT_TRUE(has_peak) << expected.question;
    EXPECT_GT(share, 3 * by_chance) << expected.question;
  }
}

}  // namespace
}  // namespace diptych
