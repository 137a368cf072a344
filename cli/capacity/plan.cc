#include "cli/capacity/plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace diptych::cli {
namespace {

constexpr double kRarely = 1e-9;  // what is taken for nothing
constexpr int kTriesWithoutGain = 3;
constexpr double kConnectionSeconds = 8;  // --max_connection_age, after which a caller connects again

double ImageQuestions(const Workload& workload) {
  return workload.images > 0 ? workload.questions_per_second * (1 - workload.text_share) : 0;
}

double MissesPerSecond(const Workload& workload) {
  return ImageQuestions(workload) * workload.images * (1 - workload.hit_rate);
}

// Of 0, 1, … images of a question that has any, by the number that no cache holds.
std::vector<double> Misses(const Workload& workload) {
  std::vector<double> shares{1};
  for (int image = 0; image < workload.images; ++image) {
    shares.push_back(0);
    for (size_t i = shares.size(); i-- > 0;) {
      shares[i] = shares[i] * workload.hit_rate + (i > 0 ? shares[i - 1] * (1 - workload.hit_rate) : 0);
    }
  }
  return shares;
}

// A caller sends to one replica after the other, and begins at a random one whenever a connection is renewed. Of a run
// that is x rounds long, exponential with mean `rounds`, a replica gets x on average with variance
// frac(x) (1 - frac(x)); `variation_of_all`: of what all replicas get together.
double ArrivalVariation(double per_second_of_caller, int replicas, double variation_of_all) {
  const double rounds = per_second_of_caller * kConnectionSeconds / replicas / replicas;
  if (rounds <= 0) return 1;
  const double of_run = 1 - 2 * rounds + 2 / std::expm1(1 / rounds);
  return of_run + (1 - of_run) * variation_of_all / replicas;
}

// The images of one question go to one replica after the other.
VisionLoad VisionLoadOf(const Workload& workload, const Replicas& replicas) {
  const double images_per_second = MissesPerSecond(workload);
  const double together = images_per_second / std::max(ImageQuestions(workload), kRarely);
  const int group = std::max(1, static_cast<int>(std::lround(together / replicas.vision)));
  const double of_all = 1 + (workload.images - 1) * (1 - workload.hit_rate);  // mean square of misses by their mean
  return {.images_per_second = images_per_second / replicas.vision,
          .group = group,
          .variation = ArrivalVariation(images_per_second / replicas.language, replicas.vision, of_all / group)};
}

LanguageLoad LanguageLoadOf(const Workload& workload, int replicas) {
  const double images = workload.images * (1 - workload.text_share);
  return {.questions_per_second = workload.questions_per_second / replicas,
          .images = images * (1 - workload.hit_rate),
          .prompt_tokens = workload.text_tokens + images * workload.query_tokens,
          .new_tokens = workload.new_tokens,
          .length_variation = workload.length_variation,
          .arrival_variation = ArrivalVariation(workload.questions_per_second / workload.gateways, replicas, 1)};
}

// Until the last image of a question that no cache holds has its visual tokens.
Distribution ImagesOf(const Workload& workload, const Distribution& one) {
  const double with_images = workload.images > 0 ? 1 - workload.text_share : 0;
  std::vector<std::pair<double, Distribution>> cases{{1 - with_images + kRarely, Distribution()}};
  const std::vector<double> misses = Misses(workload);
  for (size_t i = 0; i < misses.size(); ++i) {
    cases.emplace_back(with_images * misses[i], one.SlowestOf(static_cast<int>(i)));
  }
  return Distribution::Mixed(cases);
}

double PriceOf(const Hardware& hardware, const Replicas& replicas) {
  return replicas.vision * hardware.vision_units * hardware.vision_unit_price +
         replicas.language * hardware.language_units * hardware.language_unit_price;
}

// Plans of one workload; what a tier does is computed once for each number of replicas.
class Planner {
 public:
  Planner(const Workload& workload, const Hardware& hardware) : workload_(workload), hardware_(hardware) {}

  const Distribution& Vision(const Replicas& replicas) {
    const auto [found, is_new] = vision_.try_emplace({replicas.vision, replicas.language});
    if (is_new) found->second = VisionSeconds(hardware_.vision, VisionLoadOf(workload_, replicas));
    return found->second;
  }
  const LanguageSeconds& Language(int replicas) {
    const auto [found, is_new] = language_.try_emplace(replicas);
    if (is_new) found->second = LanguageTimes(hardware_.language, LanguageLoadOf(workload_, replicas));
    return found->second;
  }
  double VisionUse(int replicas) const {
    return VisionUtilization(hardware_.vision, VisionLoadOf(workload_, {replicas, 1}));
  }
  double LanguageUse(int replicas) const {
    return LanguageUtilization(hardware_.language, LanguageLoadOf(workload_, replicas));
  }

  CapacityPlan Join(const Replicas& replicas) {
    const Distribution& vision = Vision(replicas);
    const LanguageSeconds& language = Language(replicas.language);
    const Distribution images = ImagesOf(workload_, vision).Plus(Distribution(hardware_.other_seconds));
    const double price = PriceOf(hardware_, replicas);
    return {.replicas = replicas,
            .vision_utilization = VisionUse(replicas.vision),
            .language_utilization = LanguageUse(replicas.language),
            .vision = vision,
            .first_token = images.Plus(language.first_token),
            .answer = images.Plus(language.answer),
            .price_per_hour = price,
            .price_per_1000 = price / 3.6 / workload_.questions_per_second};
  }

 private:
  const Workload workload_;
  const Hardware hardware_;
  std::map<std::pair<int, int>, Distribution> vision_;  // by the numbers of replicas
  std::map<int, LanguageSeconds> language_;
};

bool Keeps(const CapacityPlan& plan, const Targets& targets) {
  const auto keeps = [](const Distribution& seconds, double target) {
    return target <= 0 || seconds.Quantile(0.95) <= target;
  };
  return keeps(plan.first_token, targets.first_token_p95) && keeps(plan.answer, targets.answer_p95);
}

// The plan with the least number of a tier's replicas, from `least` to `most`, that keeps the targets.
template <typename PlanWith>
std::optional<CapacityPlan> FewestThatKeep(const Targets& targets, int least, int most, PlanWith&& plan_with) {
  std::optional<CapacityPlan> found;
  while (least <= most) {
    const int middle = found ? (least + most) / 2 : std::min(most, 2 * least);
    CapacityPlan plan = plan_with(middle);
    if (Keeps(plan, targets)) {
      found = std::move(plan);
      most = middle - 1;
    } else {
      least = middle + 1;
    }
  }
  return found;
}

absl::Status NeedsTooMany() {
  return absl::ResourceExhaustedError(absl::StrFormat(
      "more than %d replicas of a tier would be needed; plan for replicas that are faster", kMostReplicas));
}

absl::Status IsTooSlow(const CapacityPlan& idle) {
  return absl::ResourceExhaustedError(absl::StrFormat(
      "no number of replicas keeps the targets: even idle ones have 95 %% of first tokens within %.3g s and 95 %% of "
      "answers within %.3g s; allow more time or plan for replicas that are faster",
      idle.first_token.Quantile(0.95), idle.answer.Quantile(0.95)));
}

int Fewest(double utilization_of_one, double allowed) {
  return std::max(
      1, static_cast<int>(std::ceil(std::min<double>(utilization_of_one / allowed, 2 * kMostReplicas) - kRarely)));
}

}  // namespace

Replicas FewestReplicas(const Workload& workload, const Hardware& hardware, double utilization) {
  const Planner planner(workload, hardware);
  return {Fewest(planner.VisionUse(1), utilization), Fewest(planner.LanguageUse(1), utilization)};
}

absl::StatusOr<CapacityPlan> Judge(const Workload& workload, const Hardware& hardware, const Replicas& replicas) {
  Planner planner(workload, hardware);
  const double vision = planner.VisionUse(replicas.vision), language = planner.LanguageUse(replicas.language);
  if (std::max(vision, language) >= kMostUtilization) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "%d vision replicas would be loaded to %.0f %%, %d language replicas to %.0f %%: queues would grow without end",
        replicas.vision, 100 * vision, replicas.language, 100 * language));
  }
  return planner.Join(replicas);
}

absl::StatusOr<CapacityPlan> PlanFor(const Workload& workload, const Hardware& hardware, const Targets& targets) {
  Planner planner(workload, hardware);
  const Replicas fewest = FewestReplicas(workload, hardware, targets.utilization);
  if (std::max(fewest.vision, fewest.language) > kMostReplicas) return NeedsTooMany();
  if (const CapacityPlan idle = planner.Join({kMostReplicas, kMostReplicas}); !Keeps(idle, targets))
    return IsTooSlow(idle);
  std::optional<CapacityPlan> best = FewestThatKeep(targets, fewest.vision, kMostReplicas, [&](int vision) {
    return planner.Join({vision, kMostReplicas});
  });
  if (!best) return NeedsTooMany();
  // More vision replicas save language replicas less and less: a few without a gain end the search.
  int without_gain = 0;
  for (int vision = best->replicas.vision; vision <= kMostReplicas && without_gain < kTriesWithoutGain;
       vision += 1 + vision / 16) {
    std::optional<CapacityPlan> plan =
        FewestThatKeep(targets, fewest.language, best->replicas.language, [&](int language) {
          return planner.Join({vision, language});
        });
    const bool gain = plan && plan->price_per_hour < best->price_per_hour;
    if (gain) best = std::move(plan);
    without_gain = gain ? 0 : without_gain + 1;
  }
  return *best;
}

}  // namespace diptych::cli
