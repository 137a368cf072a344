// A language engine without wire or vision tier, whose model and readers a test can bend.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "blip2/prompt.h"
#include "language_service/engine/engine.h"
#include "language_service/engine/kv_cache_size.h"
#include "tests/language_service/before_relevance.h"
#include "tests/testing/gate.h"
#include "tests/testing/tiny_checkpoint.h"

namespace diptych::language::testing {

using namespace diptych::testing;  // NOLINT: one name for the doubles of this folder and of tests/testing

inline ServedLanguageModel LoadServed(const std::string& folder) {
  LanguageOptions options;
  options.model = folder;
  options.threads = 1;
  return *LoadLanguageModel(options);
}

// An image that only the decoder sees: [1, Q, De], other numbers for each name.
inline std::shared_ptr<const QueryTokens> MadeUpImage(const ServedLanguageModel& model, const std::string& name) {
  const c10::InferenceMode inference;
  const int64_t queries = model.config.num_query_tokens, width = model.config.text.word_embed_proj_dim;
  const auto seed = static_cast<double>(std::hash<std::string>()(name) % 1000);
  const at::Tensor numbers = at::sin(at::arange(queries * width, at::kDouble).add_(seed).square().mul_(0.7));
  return std::make_shared<const QueryTokens>(
      QueryTokens{.key = name,
                  .query_tokens = numbers.to(at::kFloat).view({1, queries, width}),
                  .query_attention = at::full({queries, 5}, 0.2, at::kFloat)});
}

inline constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();

struct EngineQuestion {
  std::string text = "the cat";
  blip2::GenerationOptions options = {};
  std::vector<std::shared_ptr<const QueryTokens>> images = {};
  bool relevance = false;
};

// What happens in an engine, in its order, a letter each. Thread-safe.
class Order {
 public:
  void Note(char what) {
    std::lock_guard lock(mutex_);
    letters_ += what;
  }
  std::string letters() const {
    std::lock_guard lock(mutex_);
    return letters_;
  }

 private:
  mutable std::mutex mutex_;
  std::string letters_;
};

// A question inside an engine, and its reader.
class Asked {
 public:
  explicit Asked(SteadyTime deadline, bool reads) : reads_(reads), call_(std::make_shared<CallContext>(deadline)) {
    stream_ = std::make_shared<TokenStream>(
        TokenStream::Reader{.on_delta = [this](TokenDelta delta) { OnDelta(std::move(delta)); },
                            .on_end = [this](auto result) { end_.set_value(std::move(result)); },
                            .on_stuck = [this] { given_up_ = true; }});
    if (reads_) stream_->Next();
  }

  void Cancel() { call_->Cancel(); }
  // Takes everything from now on. For readers that did not.
  void Read() {
    reads_ = true;
    stream_->Next();
  }
  absl::StatusOr<GenerateResult> Await() { return end_.get_future().get(); }
  int64_t unread() const { return stream_->unread_tokens(); }
  bool given_up() const { return given_up_; }

  GenerateWork Work(const EngineQuestion& question, const ServedLanguageModel& model) const {
    return {.prompt = *blip2::BuildPrompt({.images = static_cast<int64_t>(question.images.size()),
                                           .text = question.text,
                                           .turns = {},
                                           .max_new_tokens = question.options.max_new_tokens},
                                          model.config, *model.tokenizer),
            .options = question.options,
            .images = question.images,
            .relevance = question.relevance,
            .clock = StageClock(SteadyClock::now()),
            .call = call_,
            .stream = stream_};
  }

 private:
  void OnDelta(TokenDelta /*delta*/) {
    if (reads_) stream_->Next();
  }

  std::atomic<bool> reads_;
  std::atomic<bool> given_up_ = false;
  const std::shared_ptr<CallContext> call_;
  std::shared_ptr<TokenStream> stream_;
  std::promise<absl::StatusOr<GenerateResult>> end_;
};

class EngineFixture : public ::testing::Test {
 protected:
  explicit EngineFixture(const std::string& folder = "")
      : model_(LoadServed(folder.empty() ? std::string(checkpoint_.folder()) : folder)) {}

  void Start(const EngineOptions& options = {}, int64_t blocks = 200) {
    engine_.reset();
    engine_ = std::make_unique<LanguageEngine>(
        model_, model_.make_kv_pool(blocks, KvBlockTokens(model_.config.num_query_tokens)), options);
  }

  // Does something before each pass; it may throw.
  void BeforeEachPass(std::function<void(std::span<const blip2::DecoderRow>)> work) {
    model_.forward = [work, forward = model_.forward](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
      work(rows);
      return forward(rows, pool);
    };
  }

  // Every pass waits at `gate`, which must outlive the engine's work.
  void HoldPasses(Gate& gate) {
    BeforeEachPass([&gate](std::span<const blip2::DecoderRow>) { gate.Pass(); });
  }
  // And is then noted as 'd'.
  void HoldPasses(Gate& gate, Order& order) {
    BeforeEachPass([&](std::span<const blip2::DecoderRow>) {
      gate.Pass();
      order.Note('d');
    });
  }

  std::unique_ptr<Asked> Ask(const EngineQuestion& question, SteadyTime deadline = SteadyTime::max(),
                             bool reads = true) {
    auto asked = std::make_unique<Asked>(deadline, reads);
    engine_->Submit(asked->Work(question, model_));
    return asked;
  }

  std::shared_ptr<const QueryTokens> Image(const std::string& name) const { return MadeUpImage(model_, name); }

  template <typename Condition>
  void Until(Condition condition) const {
    while (!condition(engine_->stats())) std::this_thread::yield();
  }

  void ExpectNothingHeld() const {
    const EngineStats stats = engine_->stats();
    EXPECT_EQ(stats.requests_running, 0);
    EXPECT_EQ(stats.requests_waiting, 0);
    EXPECT_EQ(stats.kv_blocks_used, 0);
  }

  TinyCheckpoint checkpoint_;
  ServedLanguageModel model_;
  std::unique_ptr<LanguageEngine> engine_;
};

// A question whose answer has exactly so many tokens.
inline EngineQuestion OfLength(int64_t tokens, const std::string& text = "the cat") {
  return {.text = text, .options = {.max_new_tokens = tokens, .min_new_tokens = tokens}};
}

inline std::vector<int64_t> IdsOf(const GenerateResult& result) {
  std::vector<int64_t> ids;
  for (const blip2::ChosenToken& token : result.tokens) ids.push_back(token.id);
  return ids;
}

}  // namespace diptych::language::testing
