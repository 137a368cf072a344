#include "gateway/admission.h"

#include <gtest/gtest.h>

#include "common/status.h"

namespace diptych::gateway {
namespace {

v1::Question Good() {
  v1::Question question;
  question.set_prompt("a question");
  return question;
}

TEST(AdmissionTest, GivesAPlaceUntilAllAreTaken) {
  Admission admission({}, 1);
  auto first = admission.Admit(Good(), "demo");
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = admission.Admit(Good(), "demo");
  EXPECT_EQ(second.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(second.status()), reason::kQueueFull);
  EXPECT_TRUE(RetryAfterOf(second.status()).has_value());
  first->Leave();
  EXPECT_TRUE(admission.Admit(Good(), "demo").ok());
}

TEST(AdmissionTest, AFaultyQuestionIsToldItsFaultEvenWhenFull) {
  Admission admission({}, 1);
  const auto place = admission.Admit(Good(), "demo");
  v1::Question faulty = Good();
  faulty.mutable_generation()->set_top_p(2);
  const auto status = admission.Admit(faulty, "demo").status();
  EXPECT_EQ(ReasonOf(status), reason::kOptionRange);
  EXPECT_EQ(FieldOf(status), "question.generation.top_p");
}

TEST(AdmissionTest, AnotherModelIsUnknown) {
  Admission admission({}, 1);
  v1::Question question = Good();
  question.set_model("other");
  const auto status = admission.Admit(question, "demo").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), reason::kModelUnknown);
  EXPECT_EQ(admission.gate().inside(), 0);
  question.set_model("demo");
  EXPECT_TRUE(admission.Admit(question, "demo").ok());
}

TEST(AdmissionTest, WhileTheServedModelIsNotKnownAnyNamePasses) {
  Admission admission({}, 1);
  v1::Question question = Good();
  question.set_model("other");
  EXPECT_TRUE(admission.Admit(question, "").ok());
}

TEST(AdmissionTest, RefusesAsDrainingOnceClosed) {
  Admission admission({}, 1);
  admission.gate().Close();
  EXPECT_EQ(ReasonOf(admission.Admit(Good(), "demo").status()), reason::kDraining);
}

}  // namespace
}  // namespace diptych::gateway
