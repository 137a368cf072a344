#include "blip2/checkpoint.h"

#include <gtest/gtest.h>

#include "blip2/tensor_names.h"

namespace diptych::blip2 {
namespace {

TEST(CheckpointTest, OpensTheDemoModel) {
  const auto checkpoint = Checkpoint::Open(std::filesystem::path(DIPTYCH_SOURCE_DIR) / "models/demo/");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->name(), "demo");
  EXPECT_FALSE((*checkpoint)->Has(kLmHead));
  const at::Tensor queries = (*checkpoint)->Load("query_tokens", Placement{.dtype = c10::ScalarType::Half});
  EXPECT_EQ(queries.dim(), 3);
  EXPECT_EQ(queries.scalar_type(), c10::ScalarType::Half);
}

}  // namespace
}  // namespace diptych::blip2
