#include "language_service/engine/best_of.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <utility>

#include "common/mutex.h"

namespace diptych::language {
namespace {

double MeanLogprob(const std::vector<blip2::ChosenToken>& tokens) {
  const double sum = std::accumulate(tokens.begin(), tokens.end(), 0.0,
                                     [](double total, const auto& token) { return total + token.logprob; });
  return sum / static_cast<double>(std::max<size_t>(tokens.size(), 1));
}

// Collects the answers. Held by the streams of all of them. Thread-safe.
class Drawn {
 public:
  Drawn(std::shared_ptr<TokenStream> stream, int count, std::function<void()> give_up)
      : stream_(std::move(stream)), give_up_(std::move(give_up)), missing_(count), answers_(count) {}

  void OnEnd(size_t index, absl::StatusOr<GenerateResult> result) {
    bool failed_first = false, last = false;
    {
      MutexLock lock(mutex_);
      failed_first = !result.ok() && status_.ok();
      if (failed_first) status_ = result.status();
      if (result.ok()) answers_[index] = *std::move(result);
      last = --missing_ == 0;
      if (last && status_.ok()) timings_ = answers_[index].timings;
    }
    if (failed_first) give_up_();
    if (last) End();
  }

 private:
  // After the last answer.
  void End() {
    absl::StatusOr<GenerateResult> best = TakeBest();
    if (best.ok()) stream_->Push({.text = best->text, .tokens = best->tokens, .prompt_scores = best->prompt_scores});
    stream_->End(std::move(best));
  }

  absl::StatusOr<GenerateResult> TakeBest() {
    MutexLock lock(mutex_);
    if (!status_.ok()) return status_;
    const auto worse = [](const GenerateResult& a, const GenerateResult& b) {
      return MeanLogprob(a.tokens) < MeanLogprob(b.tokens);
    };
    const auto best = std::max_element(answers_.begin(), answers_.end(), worse);
    int64_t tokens = 0;
    int32_t cached = answers_.front().timings.cache_hits().kv_prefix();
    for (const GenerateResult& answer : answers_) {
      tokens += static_cast<int64_t>(answer.tokens.size());
      cached = std::min(cached, answer.timings.cache_hits().kv_prefix());
    }
    best->discarded_tokens = tokens - static_cast<int64_t>(best->tokens.size());
    if (best != answers_.begin()) best->prompt_scores = std::move(answers_.front().prompt_scores);
    best->timings = std::move(timings_);
    best->timings.mutable_cache_hits()->set_kv_prefix(cached);
    return std::move(*best);
  }

  const std::shared_ptr<TokenStream> stream_;
  const std::function<void()> give_up_;
  Mutex mutex_;
  int missing_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // the first error
  std::vector<GenerateResult> answers_ ABSL_GUARDED_BY(mutex_);
  v1::StageTimings timings_ ABSL_GUARDED_BY(mutex_);
};

// Takes everything at once: nothing is shown before the end.
std::shared_ptr<TokenStream> StreamInto(std::shared_ptr<Drawn> drawn, size_t index) {
  auto self = std::make_shared<std::weak_ptr<TokenStream>>();
  const auto take_more = [self](const TokenDelta&) {
    if (const auto stream = self->lock()) stream->Next();
  };
  const auto stream = std::make_shared<TokenStream>(TokenStream::Reader{
      .on_delta = take_more, .on_end = [drawn = std::move(drawn), index](absl::StatusOr<GenerateResult> result) {
        drawn->OnEnd(index, std::move(result));
      }});
  *self = stream;
  stream->Next();
  return stream;
}

}  // namespace

std::vector<GenerateWork> DrawSeveral(GenerateWork work, int count, std::function<void()> give_up) {
  const auto drawn = std::make_shared<Drawn>(work.stream, count, std::move(give_up));
  work.options.logprobs = std::max<int64_t>(work.options.logprobs, 1);  // they decide
  const uint64_t seed = work.options.seed ? *work.options.seed : std::random_device()();
  std::vector<GenerateWork> works;
  for (int i = 0; i < count; ++i) {
    GenerateWork one = work;
    one.options.seed = seed + static_cast<uint64_t>(i);
    if (i > 0) one.options.prompt_logprobs.reset();  // the prompt is the same for all
    one.stream = StreamInto(drawn, static_cast<size_t>(i));
    works.push_back(std::move(one));
  }
  return works;
}

}  // namespace diptych::language
