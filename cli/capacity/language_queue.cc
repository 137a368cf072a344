#include "cli/capacity/language_queue.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "cli/capacity/birth_death.h"

namespace diptych::cli {
namespace {

constexpr int kImagesAtOnce = 8;    // of the Q-Former, between two steps
constexpr int kMostTogether = 8;    // questions that begin in one step, as far as they are distinguished
constexpr int kMomentsOfAStep = 8;  // at which others come
constexpr int kMostStages = 24;
constexpr double kLeft = 1e-4;            // share of answers whose last moments are not followed
constexpr double kRare = 1e-7;            // numbers inside that are not followed
constexpr double kEventsAStep = 0.1;      // of the fastest state; small, so that a step is hardly ever two events
constexpr int kMostFollowed = 1'000'000;  // steps

class SharedSteps {
 public:
  SharedSteps(const LanguageReplica& replica, const LanguageLoad& load) : replica_(replica), load_(load) {}

  // Answers a second while so many questions are inside: each needs its images and its prompt for itself, and its share
  // of as many steps as it has tokens.
  double Departures(int inside) const {
    const double running = Running(inside);
    return 1 / (Alone() + load_.new_tokens * replica_.StepSeconds(running) / running);
  }

  LanguageSeconds Times() const {
    const std::vector<double> inside = BirthDeath(
        load_.questions_per_second, [&](int n) { return SmoothDepartures(n); }, replica_.max_batch);
    return {.first_token = FirstToken(inside), .answer = RestOfStep(inside).Plus(Answer(inside))};
  }

 private:
  // Short answers end as fast as their images are projected.
  double Running(int inside) const {
    const double projected = load_.images > 0 ? load_.new_tokens * kImagesAtOnce / load_.images : replica_.max_batch;
    return std::max(1.0, std::min<double>({1.0 * inside, 1.0 * replica_.max_batch, projected}));
  }

  // Arrivals that vary less keep the number inside nearer to where it rests (diffusion limit of GI/M/n).
  double SmoothDepartures(int inside) const {
    const double arrivals = load_.questions_per_second;
    return arrivals * std::pow(Departures(inside) / arrivals, 2 / (1 + load_.arrival_variation));
  }

  // Seconds of the engine that a question takes besides its row in each step.
  double Alone() const {
    return load_.images * replica_.qformer_seconds + replica_.row_seconds * (load_.prompt_tokens - 1);
  }

  // With the images and prompts that others bring.
  double Step(double running) const {
    return replica_.StepSeconds(running) / (1 - std::min(load_.questions_per_second * Alone(), 0.99));
  }

  // The state that an arriving question finds.
  struct Met {
    double length;  // of the step that runs
    double rest;    // of it
    double share;   // of the questions that come so
  };

  // A step with so many others that begin in it is longer, and met as much more often.
  std::vector<Met> StepsMet(int others) const {
    if (others == 0) return {{.length = 0, .rest = 0, .share = 1}};
    std::vector<Met> met;
    const double base = replica_.StepSeconds(Running(others)), mean = Step(Running(others));
    const std::vector<double> began = Arrivals(mean);
    for (size_t i = 0; i < began.size(); ++i) {
      const double length = base + static_cast<double>(i) * Alone();
      for (int moment = 0; moment < kMomentsOfAStep; ++moment) {
        met.push_back({.length = length,
                       .rest = length * (moment + 0.5) / kMomentsOfAStep,
                       .share = began[i] * length / mean / kMomentsOfAStep});
      }
    }
    return met;
  }

  // Probability that 0, 1, … questions come in so many seconds.
  std::vector<double> Arrivals(double seconds) const {
    const double mean = load_.questions_per_second * seconds;
    std::vector<double> shares{std::exp(-mean)};
    for (int n = 1; n < kMostTogether; ++n) shares.push_back(shares.back() * mean / n);
    return shares;
  }

  // Until the step that runs, if one does, has ended.
  Distribution RestOfStep(const std::vector<double>& inside) const {
    std::vector<Distribution::Weighted> cases;
    for (size_t others = 0; others < inside.size(); ++others) {
      if (inside[others] < kRare) continue;
      for (const Met& step : StepsMet(static_cast<int>(others))) {
        cases.push_back({step.rest, inside[others] * step.share});
      }
    }
    return Distribution::Of(std::move(cases));
  }

  // The step that runs ends, a place in the batch comes free, the Q-Former runs, and the prompt is part of a step; so
  // are others that came during the same step.
  Distribution FirstToken(const std::vector<double>& inside) const {
    std::vector<Distribution::Weighted> cases;
    for (size_t others = 0; others < inside.size(); ++others) {
      if (inside[others] < kRare) continue;
      const int running = std::min(static_cast<int>(others) + 1, replica_.max_batch);
      const double queued = static_cast<double>(others) + 1 - running;
      const double own = queued / Departures(replica_.max_batch) + Alone() + replica_.StepSeconds(Running(running));
      for (const Met& step : StepsMet(static_cast<int>(others))) {
        const std::vector<double> more = Arrivals(step.length);
        for (size_t i = 0; i < more.size(); ++i) {
          cases.push_back({step.rest + own + static_cast<double>(i) * Alone(), inside[others] * step.share * more[i]});
        }
      }
    }
    return Distribution::Of(std::move(cases));
  }

  // Stages of equal mean that a question goes through: their number gives answer lengths their variation.
  int Stages() const {
    const double variance = load_.length_variation * load_.length_variation;
    return std::clamp(static_cast<int>(std::lround(1 / std::max(variance, 1e-3))), 1, kMostStages);
  }

  Distribution Answer(const std::vector<double>& inside) const {
    std::vector<Distribution::Weighted> ends;
    const int stages = Stages();
    int most = static_cast<int>(inside.size());
    while (most > 1 && inside[most - 1] < kRare) --most;
    double fastest = 0;
    for (int n = 1; n <= most; ++n) {
      fastest = std::max(fastest, (SmoothDepartures(n) * (n - 1) + Departures(n) * stages) / n);
    }
    const double step = kEventsAStep / (fastest + load_.questions_per_second);
    // at[(n - 1) * stages + s]: the question is in stage s, n are inside with it.
    std::vector<double> at(most * stages);
    for (int others = 0; others < most; ++others) at[others * stages] = inside[others];
    double left = 1;
    for (int i = 1; left > kLeft && i < kMostFollowed; ++i) {
      const double ended = Follow(at, stages, step);
      ends.push_back({i * step, ended});
      left -= ended;
    }
    return WithoutNoise(std::move(ends), stages);
  }

  // Takes out the variance by which so many stages vary more than answers do.
  Distribution WithoutNoise(std::vector<Distribution::Weighted> ends, int stages) const {
    double all = 0, first = 0, second = 0;
    for (const auto& [seconds, weight] : ends) {
      all += weight;
      first += weight * seconds;
      second += weight * seconds * seconds;
    }
    const double mean = first / all, variance = second / all - mean * mean;
    const double noise = mean * mean * (1.0 / stages - load_.length_variation * load_.length_variation);
    return Distribution::Of(std::move(ends)).Stretched(mean, std::sqrt(std::max(0.0, 1 - noise / variance)));
  }

  // One small step of time; returns the share that ended in it.
  double Follow(std::vector<double>& at, int stages, double step) const {
    const int most = static_cast<int>(at.size()) / stages;
    std::vector<double> next(at.size());
    double ended = 0;
    for (int n = 1; n <= most; ++n) {
      const double rate = Departures(n) * step / n;
      const double comes = n < most ? load_.questions_per_second * step : 0;
      const double leaves = SmoothDepartures(n) * step / n * (n - 1), advances = rate * stages;
      for (int s = 0; s < stages; ++s) {
        const int here = (n - 1) * stages + s;
        next[here] += at[here] * (1 - comes - leaves - advances);
        if (comes > 0) next[here + stages] += at[here] * comes;
        if (n > 1) next[here - stages] += at[here] * leaves;
        if (s + 1 < stages) next[here + 1] += at[here] * advances;
        if (s + 1 == stages) ended += at[here] * advances;
      }
    }
    at = std::move(next);
    return ended;
  }

  const LanguageReplica replica_;
  const LanguageLoad load_;
};

}  // namespace

double QuestionsThatEnd(const LanguageReplica& replica, const LanguageLoad& load, int inside) {
  return SharedSteps(replica, load).Departures(inside);
}

double LanguageUtilization(const LanguageReplica& replica, const LanguageLoad& load) {
  return load.questions_per_second / SharedSteps(replica, load).Departures(replica.max_batch);
}

LanguageSeconds LanguageTimes(const LanguageReplica& replica, const LanguageLoad& load) {
  return SharedSteps(replica, load).Times();
}

}  // namespace diptych::cli
