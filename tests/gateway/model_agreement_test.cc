#include "gateway/tiers/model_agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/status.h"

namespace diptych::gateway {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

v1::ModelDescription Model(const std::string& name, const std::string& fingerprint) {
  v1::ModelDescription model;
  model.set_name(name);
  model.set_fingerprint(fingerprint);
  return model;
}

const v1::ModelDescription kOpt = Model("blip2-opt", "0123456789abcdef");
const v1::ModelDescription kT5 = Model("blip2-t5", "fedcba9876543210");

TEST(ModelAgreementTest, TiersThatDifferForSomeLooksAreNamed) {
  ModelAgreement judge;
  for (int i = 1; i < ModelAgreement::kLooks; ++i) EXPECT_TRUE(judge.Observe(kOpt, kT5).ok()) << i;
  const absl::Status differ = judge.Observe(kOpt, kT5);
  EXPECT_EQ(differ.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(differ), reason::kModelMismatch);
  EXPECT_THAT(std::string(differ.message()),
              AllOf(HasSubstr("vision blip2-t5 (fedcba987654)"), HasSubstr("language blip2-opt (0123456789ab)"),
                    HasSubstr("same --model")));
  EXPECT_FALSE(judge.Observe(kOpt, kT5).ok());
}

TEST(ModelAgreementTest, OneLookInWhichTheyAgreeIsEnough) {
  ModelAgreement judge;
  for (int i = 0; i < ModelAgreement::kLooks; ++i) (void)judge.Observe(kOpt, kT5);
  EXPECT_TRUE(judge.Observe(kOpt, kOpt).ok());
  for (int i = 1; i < ModelAgreement::kLooks; ++i) EXPECT_TRUE(judge.Observe(kOpt, kT5).ok()) << "counted anew";
}

TEST(ModelAgreementTest, NamesMayDiffer) {
  ModelAgreement judge;
  for (int i = 0; i < 2 * ModelAgreement::kLooks; ++i) {
    EXPECT_TRUE(judge.Observe(kOpt, Model("another-folder", kOpt.fingerprint())).ok());
  }
}

TEST(ModelAgreementTest, ATierThatHasSaidNothingAgrees) {
  ModelAgreement judge;
  for (int i = 0; i < 2 * ModelAgreement::kLooks; ++i) {
    EXPECT_TRUE(judge.Observe(kOpt, {}).ok());
    EXPECT_TRUE(judge.Observe({}, kT5).ok());
  }
}

}  // namespace
}  // namespace diptych::gateway
