#include "cli/connection/readiness.h"

#include <gtest/gtest.h>

#include <string>

#include "common/status.h"

namespace diptych::cli {
namespace {

v1::GetModelResponse Tiers(const std::string& language, const std::string& vision) {
  v1::GetModelResponse response;
  for (const std::string& fingerprint : {language, vision}) {
    v1::TierStatus& tier = *response.add_tiers();
    tier.set_serving(!fingerprint.empty());
    tier.mutable_model()->set_fingerprint(fingerprint);
  }
  return response;
}

const absl::Status kNotServing = MakeError(absl::StatusCode::kUnavailable, "NOT_SERVING", "no language tier");

TEST(ReadinessTest, TiersThatDifferAreTheCause) {
  EXPECT_EQ(ReasonOf(WhyNotReady(kNotServing, Tiers("one", "another"))), reason::kModelMismatch);
}

TEST(ReadinessTest, AGatewayThatReachesItsTiersIsBeingStopped) {
  for (const char* vision : {"one", ""}) {
    const absl::Status why = WhyNotReady(kNotServing, Tiers("one", vision));
    EXPECT_NE(std::string(why.message()).find("is being stopped"), std::string::npos) << why;
    EXPECT_EQ(ReasonOf(why), "NOT_SERVING");
  }
}

TEST(ReadinessTest, WithoutAnotherCauseTheLanguageTierIsIt) {
  EXPECT_EQ(WhyNotReady(kNotServing, Tiers("", "one")), kNotServing);
  EXPECT_EQ(WhyNotReady(kNotServing, absl::UnavailableError("it does not answer")), kNotServing);
}

TEST(ReadinessTest, AReadyGatewayIsReady) {
  EXPECT_TRUE(WhyNotReady(absl::OkStatus(), Tiers("one", "another")).ok());
}

}  // namespace
}  // namespace diptych::cli
