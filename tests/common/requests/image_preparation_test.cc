#include "common/requests/image_preparation.h"

#include <gtest/gtest.h>

#include "common/status.h"

namespace diptych {
namespace {

constexpr int kPatch = 14;
constexpr int kModelSize = 224;

TEST(ImagePreparationTest, UnsetOptionsTakeTheModelsSize) {
  const auto preparation = PrepareImageOptions({}, "options", kPatch, kModelSize);
  ASSERT_TRUE(preparation.ok());
  EXPECT_EQ(preparation->image_size, kModelSize);
  EXPECT_EQ(preparation->max_side, 0);
  EXPECT_EQ(preparation->merging, 0);
}

TEST(ImagePreparationTest, MergingIsRoundedToThousandths) {
  for (const auto& [share, thousandths] : {std::pair{0.0, 0}, {0.0004, 0}, {0.1, 100}, {0.2996, 300}, {0.5, 500}}) {
    v1::ImageOptions options;
    options.set_token_merging(share);
    EXPECT_EQ(PrepareImageOptions(options, "options", kPatch, kModelSize)->merging, thousandths) << share;
  }
}

TEST(ImagePreparationTest, ASizeThatIsNoMultipleOfThePatchIsRefused) {
  v1::ImageOptions options;
  options.set_image_size(230);
  const auto preparation = PrepareImageOptions(options, "options", kPatch, kModelSize);
  EXPECT_EQ(ReasonOf(preparation.status()), reason::kOptionRange);
  EXPECT_EQ(FieldOf(preparation.status()), "options.image_size");
}

TEST(ImagePreparationTest, EveryPartOfTheKeyMatters) {
  const ImagePreparation base{.image_size = 224, .max_side = 0};
  const std::string key = ImageKey("bytes", base, "model");
  EXPECT_EQ(key.size(), 32u);
  EXPECT_EQ(key, ImageKey("bytes", base, "model"));
  EXPECT_NE(key, ImageKey("bytez", base, "model"));
  EXPECT_NE(key, ImageKey("bytes", base, "other"));
  EXPECT_NE(key, ImageKey("bytes", {.image_size = 448, .max_side = 0}, "model"));
  EXPECT_NE(key, ImageKey("bytes", {.image_size = 224, .max_side = 100}, "model"));
  EXPECT_NE(key, ImageKey("bytes", {.image_size = 224, .max_side = 0, .merging = 100}, "model"));
}

}  // namespace
}  // namespace diptych
