#include "common/stage.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "diptych/v1/inference.pb.h"

namespace diptych {
namespace {

TEST(StageTest, EveryStageIsAFieldOfStageTimings) {
  for (int i = 0; i < static_cast<int>(Stage::kCount); ++i) {
    const auto stage = static_cast<Stage>(i);
    const auto* field = v1::StageTimings::descriptor()->FindFieldByName(std::string(NameOf(stage)));
    ASSERT_NE(field, nullptr) << NameOf(stage);
    EXPECT_EQ(field->message_type()->full_name(), "google.protobuf.Duration") << NameOf(stage);
    EXPECT_EQ(StageNamed(NameOf(stage)), stage);
  }
  EXPECT_EQ(StageNamed("lunch"), std::nullopt);
}

}  // namespace
}  // namespace diptych
