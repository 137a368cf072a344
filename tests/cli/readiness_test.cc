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

const absl::Status kNoTier = MakeError(absl::StatusCode::kUnavailable, kNotServing, "no language tier");

TEST(ReadinessTest, TiersThatDifferAreTheCause) {
  EXPECT_EQ(ReasonOf(WhyNotReady(kNoTier, Tiers("one", "another"))), reason::kModelMismatch);
}

TEST(ReadinessTest, AGatewayThatReachesItsTiersIsBeingStopped) {
  for (const char* vision : {"one", ""}) {
    const absl::Status why = WhyNotReady(kNoTier, Tiers("one", vision));
    EXPECT_NE(std::string(why.message()).find("is being stopped"), std::string::npos) << why;
    EXPECT_EQ(ReasonOf(why), kNotServing);
  }
}

TEST(ReadinessTest, WithoutAnotherCauseTheLanguageTierIsIt) {
  EXPECT_EQ(WhyNotReady(kNoTier, Tiers("", "one")), kNoTier);
  EXPECT_EQ(WhyNotReady(kNoTier, absl::UnavailableError("it does not answer")), kNoTier);
}

TEST(ReadinessTest, WhatTheGatewaySaysIsShown) {
  const absl::Status no_tier = InWordsOfReadiness(
      MakeError(absl::StatusCode::kUnavailable, reason::kTierUnavailable, "the language tier is not reachable"));
  EXPECT_EQ(ReasonOf(no_tier), kNotServing);
  EXPECT_EQ(no_tier.message(), "the language tier is not reachable");
  for (const std::string_view reason : {reason::kModelMismatch, reason::kDraining}) {
    const absl::Status why = MakeError(absl::StatusCode::kUnavailable, reason, "its own words");
    EXPECT_EQ(WhyNotReady(InWordsOfReadiness(why), Tiers("one", "one")), why);
  }
}

TEST(ReadinessTest, AReadyGatewayIsReady) {
  EXPECT_TRUE(WhyNotReady(absl::OkStatus(), Tiers("one", "another")).ok());
}

}  // namespace
}  // namespace diptych::cli
