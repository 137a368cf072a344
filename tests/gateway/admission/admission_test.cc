#include "gateway/admission/admission.h"

#include <gtest/gtest.h>

#include "common/status.h"
#include "gateway/admission/api_key_file.h"

namespace diptych::gateway {
namespace {

// An admission without keys or image URLs, in front of the model "demo" unless told otherwise.
class TestAdmission : public Admission {
 public:
  explicit TestAdmission(const AdmissionOptions& options = {.limits = {},
                                                            .max_inflight = 1,
                                                            .max_inflight_bytes = 1 << 20},
                         std::string served_model = "demo")
      : Admission(options, NoKeys(), nullptr, [served_model] { return served_model; }) {}

 private:
  static const Callers& NoKeys() {
    static const Callers callers(nullptr);
    return callers;
  }
};

v1::Question Good() {
  v1::Question question;
  question.set_prompt("a question");
  return question;
}

// What the gate says, and the place if it has one.
absl::StatusOr<FairGate::Place> Enter(Admission& admission) {
  absl::StatusOr<FairGate::Place> result;
  admission.gate().Enter(nullptr, 1, SteadyTime::max(),
                         [&](absl::StatusOr<FairGate::Place> place) { result = std::move(place); });
  return result;
}

TEST(AdmissionTest, GivesAPlaceUntilAllAreTaken) {
  TestAdmission admission;
  {
    const auto first = Enter(admission);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(admission.gate().inside(), 1);
    const auto second = Enter(admission);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ReasonOf(second.status()), reason::kQueueFull);
    EXPECT_TRUE(RetryAfterOf(second.status()).has_value());
  }
  EXPECT_EQ(admission.gate().inside(), 0);
  EXPECT_TRUE(Enter(admission).ok());
}

TEST(AdmissionTest, AFaultyQuestionIsToldItsFault) {
  const TestAdmission admission;
  v1::Question faulty = Good();
  faulty.mutable_generation()->set_top_p(2);
  const auto status = admission.Check(faulty);
  EXPECT_EQ(ReasonOf(status), reason::kOptionRange);
  EXPECT_EQ(FieldOf(status), "question.generation.top_p");
}

TEST(AdmissionTest, BytesAreReservedUntilTheLeaseIsGone) {
  TestAdmission admission;
  {
    const auto most = admission.Reserve(nullptr, 300 << 10);
    ASSERT_TRUE(most.ok()) << most.status();
    EXPECT_GE(admission.memory().taken(), 600 << 10) << "a question is held twice";
    const auto refused = admission.Reserve(nullptr, 300 << 10).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ReasonOf(refused), reason::kQueueFull);
    EXPECT_TRUE(RetryAfterOf(refused).has_value());
  }
  EXPECT_EQ(admission.memory().taken(), 0);
}

TEST(AdmissionTest, TheLeastBoundTakesTheLargestQuestion) {
  const QuestionLimits limits;
  TestAdmission admission({.limits = limits, .max_inflight = 1, .max_inflight_bytes = Admission::LeastBytes(limits)});
  EXPECT_TRUE(admission.Reserve(nullptr, limits.MaxMessageBytes()).ok());
  TestAdmission smaller({.limits = limits, .max_inflight = 1, .max_inflight_bytes = Admission::LeastBytes(limits) - 1});
  EXPECT_FALSE(smaller.Reserve(nullptr, limits.MaxMessageBytes()).ok());
}

TEST(AdmissionTest, AnotherModelIsUnknown) {
  TestAdmission admission;
  v1::Question question = Good();
  question.set_model("other");
  const auto status = admission.Check(question);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), reason::kModelUnknown);
  question.set_model("demo");
  EXPECT_TRUE(admission.Check(question).ok());
}

TEST(AdmissionTest, TheServedModelIsKnownByItsAliasesAndTheTiersGetNone) {
  TestAdmission admission(
      {.limits = {}, .model_aliases = {"gpt-4o", "org/model"}, .max_inflight = 3, .max_inflight_bytes = 1 << 20});
  EXPECT_EQ(admission.model_names(), (std::vector<std::string>{"demo", "gpt-4o", "org/model"}));
  for (const char* name : {"demo", "gpt-4o", "org/model"}) {
    v1::Question question = Good();
    question.set_model(name);
    AdmittedCall call(admission, SteadyTime::max());
    call.Enter(question, [name](const absl::StatusOr<v1::Question>& entered) {
      ASSERT_TRUE(entered.ok()) << entered.status();
      EXPECT_EQ(entered->model(), std::string_view(name) == "demo" ? "demo" : "");
    });
  }
  const absl::Status unknown = admission.CheckModel("gpt-5");
  EXPECT_EQ(ReasonOf(unknown), reason::kModelUnknown);
  EXPECT_NE(unknown.message().find("demo"), std::string::npos) << unknown;
}

TEST(AdmissionTest, WhileTheServedModelIsNotKnownAnyNamePasses) {
  TestAdmission admission({.limits = {}, .max_inflight = 1, .max_inflight_bytes = 1 << 20}, "");
  v1::Question question = Good();
  question.set_model("other");
  EXPECT_TRUE(admission.Check(question).ok());
}

TEST(AdmissionTest, RefusesAsDrainingOnceClosed) {
  TestAdmission admission;
  admission.gate().door().Close();
  EXPECT_EQ(ReasonOf(Enter(admission).status()), reason::kDraining);
}

TEST(AdmissionTest, OneKeyHoldsAtMostHalfOfTheMemory) {
  QuestionLimits limits;
  limits.image.max_bytes = 1 << 10;
  const int64_t half = Admission::LeastBytes(limits);
  TestAdmission admission({.limits = limits, .max_inflight = 1, .max_inflight_bytes = 2 * half});
  const Caller alice = std::make_shared<const ApiKey>(ApiKey{.name = "alice", .limits = {}});
  const Caller bob = std::make_shared<const ApiKey>(ApiKey{.name = "bob", .limits = {}});
  const auto flood = admission.Reserve(alice, limits.MaxMessageBytes());
  ASSERT_TRUE(flood.ok()) << flood.status();
  EXPECT_EQ(ReasonOf(admission.Reserve(alice, 1).status()), reason::kQueueFull);
  EXPECT_TRUE(admission.Reserve(bob, limits.MaxMessageBytes()).ok());
}

}  // namespace
}  // namespace diptych::gateway
