#include "cli/capacity/plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "cli/capacity/balance.h"
#include "common/tiers/tier_defaults.h"

namespace diptych::cli {
namespace {

constexpr double kRarely = 1e-9;  // what is taken for nothing
constexpr int kTriesWithoutGain = 3;

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

// Images of a question that come to one replica at once.
int GroupOf(const Workload& workload, int replicas) {
  const double together = MissesPerSecond(workload) / std::max(ImageQuestions(workload), kRarely);
  return std::max(1, static_cast<int>(std::lround(together / replicas)));
}

VisionLoad VisionLoadOf(const Workload& workload, const VisionReplica& replica, const Replicas& replicas) {
  VisionLoad load{.images_per_second = MissesPerSecond(workload) / replicas.vision,
                  .group = GroupOf(workload, replicas.vision)};
  const Callers callers{replicas.vision, replicas.language, load.images_per_second};
  const double of_all = 1 + (workload.images - 1) * (1 - workload.hit_rate);  // mean square of misses by their mean
  load.uneven = workload.by_affinity ? WaitsByAffinity(callers, [&](int n) { return ImagesThatEnd(replica, n); })
                                     : VariationByTurns(callers, of_all / load.group);
  return load;
}

LanguageLoad LanguageLoadOf(const Workload& workload, const LanguageReplica& replica, int replicas) {
  const double images = workload.images * (1 - workload.text_share);
  LanguageLoad load{.questions_per_second = workload.questions_per_second / replicas,
                    .images = images * (1 - workload.hit_rate),
                    .prompt_tokens = workload.text_tokens + images * workload.query_tokens,
                    .new_tokens = workload.new_tokens,
                    .length_variation = workload.length_variation};
  if (LanguageUtilization(replica, load) >= kMostUtilization) return load;
  const Callers callers{replicas, workload.gateways, load.questions_per_second};
  const auto ends = [&](int n) { return QuestionsThatEnd(replica, load, n); };
  const double with_key = workload.by_affinity && workload.images > 0 ? 1 - workload.text_share : 0;
  load.arrival_variation = (1 - with_key) * VariationByTurns(callers, 1);
  if (with_key > 0) {
    load.arrival_variation += with_key * VariationByAffinity(callers, ends, tier_defaults::kLanguageCallsAtEase);
  }
  return load;
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

// The addition of a question of the same pass of the vision transformer to the step in which both begin.
double SecondsBeside(const Workload& workload, const LanguageReplica& replica) {
  const double prompt = workload.text_tokens + workload.images * workload.query_tokens;
  return replica.qformer_seconds + replica.row_seconds * prompt / std::max(1, workload.images);
}

struct VisionTimes {
  Distribution image;            // until it has its visual tokens
  Distribution with_companions;  // and what the others of its pass add to its first step
};

// Plans of one workload; what a tier does is computed once for each number of replicas.
class Planner {
 public:
  Planner(const Workload& workload, const Hardware& hardware) : workload_(workload), hardware_(hardware) {}

  const VisionTimes& Vision(const Replicas& replicas) {
    const auto [found, is_new] = vision_.try_emplace({replicas.vision, replicas.language});
    if (is_new) found->second = VisionTimesOf(replicas);
    return found->second;
  }
  const LanguageSeconds& Language(int replicas) {
    const auto [found, is_new] = language_.try_emplace(replicas);
    if (is_new) {
      found->second = LanguageTimes(hardware_.language, LanguageLoadOf(workload_, hardware_.language, replicas));
    }
    return found->second;
  }
  double VisionUse(int replicas) const {
    return VisionUtilization(hardware_.vision, {.images_per_second = MissesPerSecond(workload_) / replicas});
  }
  double LanguageUse(int replicas) const {
    return LanguageUtilization(hardware_.language, LanguageLoadOf(workload_, hardware_.language, replicas));
  }

  CapacityPlan Join(const Replicas& replicas) {
    const VisionTimes& vision = Vision(replicas);
    const LanguageSeconds& language = Language(replicas.language);
    const Distribution images = ImagesOf(workload_, vision.with_companions).Plus(Distribution(hardware_.other_seconds));
    const double price = PriceOf(hardware_, replicas);
    return {.replicas = replicas,
            .vision_utilization = VisionUse(replicas.vision),
            .language_utilization = LanguageUse(replicas.language),
            .vision = vision.image,
            .first_token = images.Plus(language.first_token),
            .answer = images.Plus(language.answer),
            .price_per_hour = price,
            .price_per_1000 = price / 3.6 / workload_.questions_per_second};
  }

 private:
  VisionTimes VisionTimesOf(const Replicas& replicas) const {
    VisionLoad load = VisionLoadOf(workload_, hardware_.vision, replicas);
    VisionTimes times;
    times.image = VisionSeconds(hardware_.vision, load);
    load.companion_seconds = SecondsBeside(workload_, hardware_.language) / replicas.language;
    times.with_companions = VisionSeconds(hardware_.vision, load);
    return times;
  }

  const Workload workload_;
  const Hardware hardware_;
  std::map<std::pair<int, int>, VisionTimes> vision_;  // by the numbers of replicas
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
  // Fewer vision replicas may do where fewer language replicas call them. More of them save language replicas less and
  // less: a few without a gain end the search.
  int without_gain = 0;
  for (int vision = fewest.vision; vision <= kMostReplicas && without_gain < kTriesWithoutGain;
       vision += 1 + vision / 16) {
    std::optional<CapacityPlan> plan =
        FewestThatKeep(targets, fewest.language, best->replicas.language, [&](int language) {
          return planner.Join({vision, language});
        });
    const bool gain = plan && plan->price_per_hour < best->price_per_hour;
    if (gain) best = std::move(plan);
    without_gain = gain || !plan ? 0 : without_gain + 1;
  }
  return *best;
}

}  // namespace diptych::cli
