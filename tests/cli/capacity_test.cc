// The queueing model of plan-capacity against results that textbooks state.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/capacity/balance.h"
#include "cli/capacity/birth_death.h"
#include "cli/capacity/distribution.h"
#include "cli/capacity/language_queue.h"
#include "cli/capacity/plan.h"
#include "cli/capacity/vision_queue.h"

namespace diptych::cli {
namespace {

using ::testing::HasSubstr;

void ExpectNear(double value, double expected, double share) {
  EXPECT_NEAR(value, expected, share * expected);
}

TEST(DistributionTest, KeepsTheMeanOfWhatItIsMadeOf) {
  const Distribution made = Distribution::Of({{5, 1}, {1, 2}, {2, 1}});
  EXPECT_NEAR(made.Mean(), 2.25, 1e-9);
  EXPECT_NEAR(made.Quantile(0.4), 1, 1e-9);
  EXPECT_NEAR(made.Quantile(0.6), 2, 1e-9);
  EXPECT_NEAR(made.Quantile(0.9), 5, 1e-9);
  EXPECT_NEAR(made.Plus(made).Mean(), 4.5, 1e-9);
  EXPECT_NEAR(Distribution::Mixed({{3, Distribution(1)}, {1, Distribution(5)}}).Mean(), 2, 1e-9);
}

TEST(DistributionTest, TheSlowestOfManyIsAnOrderStatistic) {
  const Distribution uniform = Distribution::UpTo(1);
  ExpectNear(uniform.SlowestOf(1).Mean(), 0.5, 1e-9);
  ExpectNear(uniform.SlowestOf(4).Mean(), 4.0 / 5, 0.01);
  EXPECT_EQ(uniform.SlowestOf(0).Mean(), 0);
}

// Erlang's C formula: the probability that all servers are busy.
double ErlangC(double offered, int servers) {
  double blocked = 1;
  for (int n = 1; n <= servers; ++n) blocked = offered * blocked / (n + offered * blocked);
  return blocked / (1 - offered / servers * (1 - blocked));
}

TEST(BirthDeathTest, ManyServersWaitAsErlangSays) {
  for (const int servers : {1, 2, 7}) {
    for (const double load : {0.3, 0.7, 0.95}) {
      const double offered = load * servers;
      const auto inside = BirthDeath(
          offered, [&](int n) { return std::min(n, servers); }, servers);
      const double busy = std::accumulate(inside.begin() + servers, inside.end(), 0.0);
      ExpectNear(busy, ErlangC(offered, servers), 1e-5);
    }
  }
  EXPECT_NEAR(ErlangC(0.7 * 2, 2), 0.5765, 1e-4) << "as tabulated";
}

TEST(BirthDeathTest, WithAServerForEachItIsPoisson) {
  const auto inside = BirthDeath(
      3, [](int n) { return n; }, 1);
  EXPECT_NEAR(inside[0], std::exp(-3), 1e-9);
  EXPECT_NEAR(inside[5], std::exp(-3) * std::pow(3, 5) / 120, 1e-9);
}

// Engset's formula for two sources and a server: 1, 2 r, 2 r² by their sum.
TEST(BirthDeathTest, SourcesThatAreInsideBringNoMore) {
  const auto inside = BirthDeathOfSources(
      0.5, [](int) { return 1; }, 2);
  const double r = (std::sqrt(3) - 1) / 2;  // half of the time none is inside
  ASSERT_EQ(inside.size(), 3);
  EXPECT_NEAR(inside[0], 0.5, 1e-9);
  EXPECT_NEAR(inside[1], r, 1e-9);
  EXPECT_NEAR(MeanOf(inside), r + 2 * r * r, 1e-9);
}

constexpr auto kOneServer = [](int) { return 1.0; };

// One caller that gives nobody two calls while another has none is one queue of many servers.
TEST(BalanceTest, OneCallerWaitsAsInOneQueue) {
  for (const int replicas : {2, 4, 8}) {
    for (const double load : {0.5, 0.85}) {
      const double pooled = ErlangC(load * replicas, replicas) / (replicas * load);  // by load / (1 - load)
      ExpectNear(WaitsByAffinity({replicas, 1, load}, kOneServer), pooled, 0.02);
    }
  }
}

TEST(BalanceTest, ManyCallersWaitAsIfTheyChoseAnyReplica) {
  EXPECT_GT(WaitsByAffinity({64, 200, 0.5}, kOneServer), 0.95);
  EXPECT_EQ(WaitsByAffinity({64, 2000, 0.5}, kOneServer), 1);
  EXPECT_EQ(WaitsByAffinity({4, 4, 0}, kOneServer), 1);
}

// As simulated with tools/capacity/simulation.py, a vision tier by itself: 0.24, 0.41, 0.49, 0.62 of sixteen replicas.
TEST(BalanceTest, MoreCallersKnowLessOfEachOther) {
  const double expected[] = {0.24, 0.41, 0.49, 0.62};
  const int callers[] = {2, 3, 4, 6};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(WaitsByAffinity({16, callers[i], 0.5}, kOneServer), expected[i], 0.05);
}

// Servers enough for all: a caller that may have four inside and has two on average has them binomially.
TEST(BalanceTest, CallsAtEaseVaryAsFarAsTheirBound) {
  const auto servers = [](int n) { return n * 1.0; };
  EXPECT_NEAR(VariationByAffinity({1000, 1, 2}, servers, 4), 0.5, 1e-3);
  EXPECT_NEAR(VariationByAffinity({1000, 1, 4}, servers, 4), 0, 2e-3);
  EXPECT_NEAR(VariationByAffinity({1, 1, 2}, servers, 4), 1, 1e-3) << "one replica gets what comes";
}

TEST(BalanceTest, FewBusyCallersThatTakeTurnsAreEven) {
  EXPECT_LT(VariationByTurns({4, 1, 100}, 1), 0.3);
  EXPECT_GT(VariationByTurns({100, 100, 0.1}, 1), 0.99);
  EXPECT_EQ(VariationByTurns({4, 1, 0}, 1), 1);
}

TEST(VisionQueueTest, OneAtATimeWaitsAsPollaczekAndKhinchinSay) {
  const VisionReplica replica{.pass_seconds = 0.5, .image_seconds = 0.5, .max_batch = 1};
  for (const double load : {0.2, 0.5, 0.8, 0.9}) {
    ExpectNear(VisionUtilization(replica, {.images_per_second = load}), load, 1e-9);
    ExpectNear(VisionSeconds(replica, {.images_per_second = load}).Mean(), 1 + load / (2 * (1 - load)), 0.02);
  }
}

// As a queue of one at a time whose service is the whole group's.
TEST(VisionQueueTest, GroupsThatFillThePassesAreOneCustomer) {
  const VisionReplica replica{.pass_seconds = 0.5, .image_seconds = 0.125, .max_batch = 4};
  const double load = 0.7;
  const Distribution seconds = VisionSeconds(replica, {.images_per_second = 4 * load, .group = 4});
  ExpectNear(seconds.Mean(), 1 + load / (2 * (1 - load)), 0.02);
}

TEST(VisionQueueTest, AlmostWithoutLoadItIsOnePass) {
  const VisionReplica replica{.pass_seconds = 1, .image_seconds = 0.1, .max_batch = 8};
  ExpectNear(VisionSeconds(replica, {.images_per_second = 1e-6}).Quantile(0.95), 1.1, 1e-3);
  ExpectNear(VisionSeconds(replica, {.images_per_second = 0}).Mean(), 1.1, 1e-9);
  ExpectNear(VisionSeconds(replica, {.images_per_second = 1e-6, .group = 8}).Mean(), 1.8, 1e-3);
}

TEST(VisionQueueTest, ArrivalsBetweenEvenAndRandomWaitSoFarBetween) {
  const VisionReplica replica{.image_seconds = 1, .max_batch = 1};
  const double random = VisionSeconds(replica, {.images_per_second = 0.8}).Mean();
  const double even = VisionSeconds(replica, {.images_per_second = 0.8, .uneven = 0.25}).Mean();
  ExpectNear(even - 1, (random - 1) / 4, 1e-6);
}

// In passes of one, no more than 0.9 images a second would be done.
TEST(VisionQueueTest, EvenArrivalsFillEqualPasses) {
  const VisionReplica replica{.pass_seconds = 1, .image_seconds = 0.1, .max_batch = 8};
  ExpectNear(VisionSeconds(replica, {.images_per_second = 0.5, .uneven = 0}).Quantile(0.95), 1.1, 1e-9);
  const Distribution even = VisionSeconds(replica, {.images_per_second = 4, .uneven = 0});
  ExpectNear(even.Mean(), 1.5 / 0.6, 1e-6);
  EXPECT_LT(even.Quantile(0.95), 2 / 0.6) << "the rest of a pass, and one";
}

TEST(VisionQueueTest, CompanionsOfThePassAddTheirOwn) {
  const VisionReplica replica{.pass_seconds = 1, .image_seconds = 0.1, .max_batch = 8};
  const VisionLoad load{.images_per_second = 1e-6, .group = 4, .companion_seconds = 0.5};
  ExpectNear(VisionSeconds(replica, load).Mean(), 1.4 + 3 * 0.5, 1e-3);
}

// All that wait share a pass: what arrives waits for the rest of one pass and is in the next.
TEST(VisionQueueTest, WithoutABoundOnBatchesItTakesOnePassAndAHalf) {
  const VisionReplica replica{.pass_seconds = 1, .image_seconds = 1e-6, .max_batch = 64};
  ExpectNear(VisionSeconds(replica, {.images_per_second = 20}).Mean(), 1.5, 0.01);
}

// A step whose time grows with its rows alone shares one rate: M/G/1 with processor sharing, whose mean is 1 / (1 -
// load) for answers of any lengths.
TEST(LanguageQueueTest, SharesARateAsProcessorSharingDoes) {
  const LanguageReplica replica{.step_seconds = 0, .row_seconds = 0.01, .max_batch = 512};
  for (const double variation : {0.0, 0.5, 1.0}) {
    for (const double load : {0.3, 0.7}) {
      const LanguageLoad questions{.questions_per_second = load, .new_tokens = 100, .length_variation = variation};
      ExpectNear(LanguageUtilization(replica, questions), load, 1e-9);
      ExpectNear(LanguageTimes(replica, questions).answer.Mean(), 1 / (1 - load), 0.03);
    }
  }
}

// Steps that take as long whatever is in them are servers enough for all.
TEST(LanguageQueueTest, StepsThatCostTheSameHoldNobodyUp) {
  const LanguageReplica replica{.step_seconds = 0.1, .row_seconds = 1e-6, .max_batch = 512};
  const LanguageSeconds seconds = LanguageTimes(replica, {.questions_per_second = 2, .new_tokens = 50});
  ExpectNear(seconds.answer.Mean(), 5 + 0.05, 0.02);
  ExpectNear(seconds.first_token.Mean(), 0.1 + 0.05, 0.02);
}

TEST(CapacityPlanTest, AsksForTheCheapestThatKeepsTheTargets) {
  const Hardware hardware{.vision = {.image_seconds = 0.9},
                          .language = {.step_seconds = 0.094, .row_seconds = 0.006, .qformer_seconds = 0.1},
                          .vision_units = 2,
                          .language_units = 2,
                          .vision_unit_price = 0.04,
                          .language_unit_price = 0.04};
  const Workload workload{.questions_per_second = 4};
  const auto loose = PlanFor(workload, hardware, {.utilization = 0.8});
  ASSERT_TRUE(loose.ok()) << loose.status();
  EXPECT_EQ(loose->replicas.vision, 5) << "4 × 0.9 s / 0.8";
  EXPECT_LE(loose->language_utilization, 0.8);
  EXPECT_NEAR(loose->price_per_hour, 0.08 * (loose->replicas.vision + loose->replicas.language), 1e-9);
  EXPECT_NEAR(loose->price_per_1000, loose->price_per_hour * 1000 / (4 * 3600), 1e-9);

  const Targets targets{.first_token_p95 = 2.5, .answer_p95 = 10, .utilization = 0.8};
  const auto strict = PlanFor(workload, hardware, targets);
  ASSERT_TRUE(strict.ok()) << strict.status();
  EXPECT_LE(strict->first_token.Quantile(0.95), 2.5);
  EXPECT_LE(strict->answer.Quantile(0.95), 10);
  EXPECT_GT(strict->price_per_hour, loose->price_per_hour);
  // One replica fewer of either tier breaks them.
  for (const Replicas fewer : {Replicas{strict->replicas.vision - 1, strict->replicas.language},
                               Replicas{strict->replicas.vision, strict->replicas.language - 1}}) {
    const auto plan = Judge(workload, hardware, fewer);
    EXPECT_TRUE(!plan.ok() || plan->vision_utilization > 0.8 || plan->language_utilization > 0.8 ||
                plan->first_token.Quantile(0.95) > 2.5 || plan->answer.Quantile(0.95) > 10);
  }
}

TEST(CapacityPlanTest, CachedImagesAndTextNeedNoVision) {
  const Hardware hardware{.vision = {.image_seconds = 0.9}, .language = {.step_seconds = 0.1, .row_seconds = 0.01}};
  const Workload cached{.questions_per_second = 1, .hit_rate = 1}, text{.questions_per_second = 1, .text_share = 1};
  for (const Workload& workload : {cached, text}) {
    const auto plan = PlanFor(workload, hardware, {});
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->vision_utilization, 0);
    EXPECT_LT(plan->first_token.Quantile(0.95), 0.9) << "no image is waited for";
  }
}

TEST(CapacityPlanTest, SaysWhatCannotBe) {
  const Hardware hardware{.vision = {.image_seconds = 0.9}, .language = {.step_seconds = 0.1, .row_seconds = 0.01}};
  const auto early = PlanFor({}, hardware, {.first_token_p95 = 0.5});
  EXPECT_TRUE(absl::IsResourceExhausted(early.status()));
  EXPECT_THAT(std::string(early.status().message()), HasSubstr("no number of replicas keeps the targets"));
  const auto many = PlanFor({.questions_per_second = 1e6}, hardware, {});
  EXPECT_THAT(std::string(many.status().message()), HasSubstr("more than 10000 replicas"));
  const auto loaded = Judge({.questions_per_second = 10}, hardware, {1, 100});
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("1 vision replicas would be loaded to 900 %"));
}

}  // namespace
}  // namespace diptych::cli
