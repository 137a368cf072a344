#include "gateway/old_turns.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace diptych::gateway {
namespace {

// A conversation whose questions brought so many images each, of `bytes` bytes.
v1::Question Talk(const std::vector<int>& images, size_t bytes = 1) {
  v1::Question question;
  for (size_t i = 0; i < images.size(); ++i) {
    v1::Turn* turn = question.add_turns();
    turn->set_role(v1::ROLE_USER);
    turn->set_text(std::to_string(i));
    turn->set_images(images[i]);
    if (i + 1 < images.size()) question.add_turns()->set_role(v1::ROLE_ASSISTANT);
    for (int j = 0; j < images[i]; ++j) question.add_images()->set_data(std::string(bytes, static_cast<char>('a' + i)));
  }
  return question;
}

TEST(OldTurnsTest, GoUntilTheImagesAreFewEnough) {
  v1::Question question = Talk({3, 0, 4, 4});
  EXPECT_EQ(LeaveOutOldTurns(question, {}), 2);
  EXPECT_EQ(question.turns_size(), 5);
  EXPECT_EQ(question.turns(0).text(), "1");
  ASSERT_EQ(question.images_size(), 8);
  EXPECT_EQ(question.images(0).data(), "c");
}

TEST(OldTurnsTest, GoUntilTheImagesAreSmallEnoughTogether) {
  QuestionLimits limits;
  limits.image.max_bytes = 100;
  v1::Question question = Talk({1, 1, 1}, 90);
  EXPECT_EQ(LeaveOutOldTurns(question, limits), 2);
  EXPECT_EQ(question.images_size(), 2);
}

TEST(OldTurnsTest, StayWhereEverythingFits) {
  for (const std::vector<int>& images : {std::vector<int>{8}, {4, 4}, {0, 0}}) {
    v1::Question question = Talk(images);
    const std::string before = question.SerializeAsString();
    EXPECT_EQ(LeaveOutOldTurns(question, {}), 0);
    EXPECT_EQ(question.SerializeAsString(), before);
  }
}

TEST(OldTurnsTest, TheLastTurnStaysWhateverItHolds) {
  v1::Question question = Talk({1, 9});
  EXPECT_EQ(LeaveOutOldTurns(question, {}), 2);
  EXPECT_EQ(question.turns_size(), 1);
  EXPECT_EQ(question.images_size(), 9) << "which is refused";
}

TEST(OldTurnsTest, StayWhereTheyDoNotSayWhoseTheImagesAre) {
  for (const int named : {0, 1, -1}) {
    v1::Question question = Talk({5, 5, 5});
    for (v1::Turn& turn : *question.mutable_turns()) turn.set_images(0);
    question.mutable_turns(0)->set_images(named);
    EXPECT_EQ(LeaveOutOldTurns(question, {}), 0);
    EXPECT_EQ(question.images_size(), 15);
  }
}

}  // namespace
}  // namespace diptych::gateway
