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
  Admission admission({}, 1, 1 << 20);
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
  Admission admission({}, 1, 1 << 20);
  const auto place = admission.Admit(Good(), "demo");
  v1::Question faulty = Good();
  faulty.mutable_generation()->set_top_p(2);
  const auto status = admission.Admit(faulty, "demo").status();
  EXPECT_EQ(ReasonOf(status), reason::kOptionRange);
  EXPECT_EQ(FieldOf(status), "question.generation.top_p");
}

TEST(AdmissionTest, BytesAreReservedUntilTheLeaseIsGone) {
  Admission admission({}, 1, 1 << 20);
  {
    const auto most = admission.Reserve(300 << 10);
    ASSERT_TRUE(most.ok()) << most.status();
    EXPECT_GE(admission.memory().taken(), 600 << 10) << "a question is held twice";
    const auto refused = admission.Reserve(300 << 10).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ReasonOf(refused), reason::kQueueFull);
    EXPECT_TRUE(RetryAfterOf(refused).has_value());
  }
  EXPECT_EQ(admission.memory().taken(), 0);
}

TEST(AdmissionTest, TheLeastBoundTakesTheLargestQuestion) {
  const QuestionLimits limits;
  Admission admission(limits, 1, Admission::LeastBytes(limits));
  EXPECT_TRUE(admission.Reserve(limits.MaxMessageBytes()).ok());
  EXPECT_FALSE(Admission(limits, 1, Admission::LeastBytes(limits) - 1).Reserve(limits.MaxMessageBytes()).ok());
}

TEST(AdmissionTest, AnotherModelIsUnknown) {
  Admission admission({}, 1, 1 << 20);
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
  Admission admission({}, 1, 1 << 20);
  v1::Question question = Good();
  question.set_model("other");
  EXPECT_TRUE(admission.Admit(question, "").ok());
}

TEST(AdmissionTest, RefusesAsDrainingOnceClosed) {
  Admission admission({}, 1, 1 << 20);
  admission.gate().Close();
  EXPECT_EQ(ReasonOf(admission.Admit(Good(), "demo").status()), reason::kDraining);
}

}  // namespace
}  // namespace diptych::gateway
