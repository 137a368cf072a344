#include "blip2/decoding/token_distribution.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/testing/paths.h"

namespace diptych::blip2 {
namespace {

using ::testing::IsEmpty;

constexpr float kNever = -std::numeric_limits<float>::infinity();

std::vector<int64_t> Ids(const std::vector<TokenProbability>& tokens) {
  std::vector<int64_t> ids;
  for (const TokenProbability& token : tokens) ids.push_back(token.id);
  return ids;
}

struct Case {
  double temperature;
  int64_t top_k;
  double top_p;
  std::vector<TokenProbability> expected;
};

// Recorded from transformers 5.23.0, in float32. Ids 2 and 4, and 3 and 7, are equals: which of them stays is ours.
TEST(SamplingDistributionTest, IsTransformers) {
  const std::vector<float> scores = {0.5, -1.25, 2.0, 1.0, 2.0, 0.25, -0.5, 1.0, 3.0, -2.0, 1.5, 0.0};
  const std::vector<Case> cases = {
      {1.0,
       0,
       1.0,
       {{0, 0.03314478},
        {1, 0.005759698},
        {2, 0.1485446},
        {3, 0.0546465},
        {4, 0.1485446},
        {5, 0.02581318},
        {6, 0.01219328},
        {7, 0.0546465},
        {8, 0.403786},
        {9, 0.002720689},
        {10, 0.09009685},
        {11, 0.02010332}}},
      {0.5,
       5,
       1.0,
       {{2, 0.0997247}, {3, 0.01349627}, {4, 0.0997247}, {7, 0.01349627}, {8, 0.7368714}, {10, 0.03668666}}},
      {1.5, 6, 1.0, {{2, 0.175713}, {3, 0.09021405}, {4, 0.175713}, {7, 0.09021405}, {8, 0.3422421}, {10, 0.1259038}}},
      {1.0, 0, 0.8, {{2, 0.1756638}, {3, 0.06462311}, {4, 0.1756638}, {8, 0.4775038}, {10, 0.1065455}}},
      {2.0, 0, 0.3, {{2, 0.3775407}, {8, 0.6224594}}},
      {0.8, 4, 0.7, {{2, 0.2227001}, {8, 0.7772999}}},
      {1.0, 1, 1.0, {{8, 1}}},
      {3.0, 50, 0.01, {{8, 1}}},

  };
  for (const Case& c : cases) {
    const GenerationOptions options = {.temperature = c.temperature, .top_k = c.top_k, .top_p = c.top_p};
    const auto tokens = SamplingDistribution(scores, options);
    ASSERT_EQ(Ids(tokens), Ids(c.expected)) << c.temperature << " " << c.top_k << " " << c.top_p;
    for (size_t i = 0; i < tokens.size(); ++i) {
      EXPECT_NEAR(tokens[i].probability, c.expected[i].probability, 1e-6) << c.expected[i].id;
    }
  }
}

TEST(SamplingDistributionTest, MinPIsTransformers) {
  const auto golden =
      nlohmann::json::parse(std::ifstream(testing::RepositoryPath("tests/goldens/options/golden.json")));
  for (const auto& example : golden["distributions"]) {
    const auto& given = example["options"];
    const GenerationOptions options = {.temperature = given.value("temperature", 1.0),
                                       .top_k = given.value("top_k", 0),
                                       .top_p = given.value("top_p", 1.0),
                                       .min_p = given["min_p"]};
    std::vector<double> probabilities(example["scores"].size());
    for (const TokenProbability& token : SamplingDistribution(example["scores"].get<std::vector<float>>(), options)) {
      probabilities[static_cast<size_t>(token.id)] = token.probability;
    }
    for (size_t id = 0; id < probabilities.size(); ++id) {
      EXPECT_NEAR(probabilities[id], example["probabilities"][id].get<double>(), 1e-6) << given.dump() << " " << id;
    }
  }
}

TEST(SamplingDistributionTest, EqualsOfTheLastOfTopKStay) {
  EXPECT_EQ(Ids(SamplingDistribution(std::vector<float>{1, 2, 2, 2, 3}, {.temperature = 1, .top_k = 2})),
            (std::vector<int64_t>{1, 2, 3, 4}));
}

TEST(SamplingDistributionTest, TopPKeepsTheMostLikelyAtLeast) {
  EXPECT_EQ(Ids(SamplingDistribution(std::vector<float>{1, 1, 1}, {.temperature = 1, .top_p = 1e-9})),
            (std::vector<int64_t>{0}));
}

TEST(SamplingDistributionTest, LeavesOutWhatMayNeverCome) {
  EXPECT_EQ(Ids(SamplingDistribution(std::vector<float>{kNever, 1, kNever}, {.temperature = 1, .top_k = 0})),
            (std::vector<int64_t>{1}));
  EXPECT_THAT(SamplingDistribution(std::vector<float>{kNever, kNever}, {.temperature = 1}), IsEmpty());
  EXPECT_THAT(SamplingDistribution({}, {.temperature = 1}), IsEmpty());
}

TEST(SamplingDistributionTest, TheSmallestTemperatureTakesTheBest) {
  constexpr float kMax = std::numeric_limits<float>::max();
  for (const double temperature : {1e-300, std::numeric_limits<double>::denorm_min()}) {
    const auto tokens = SamplingDistribution(std::vector<float>{-kMax, 1, kMax, 2}, {.temperature = temperature});
    double sum = 0;
    for (const TokenProbability& token : tokens) {
      EXPECT_EQ(token.probability, token.id == 2 ? 1 : 0);
      sum += token.probability;
    }
    EXPECT_EQ(sum, 1);
  }
}

}  // namespace
}  // namespace diptych::blip2
