#include "bench/null_language_tier.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <string>
#include <utility>

#include "blip2/checkpoint/checkpoint.h"
#include "blip2/prompt.h"
#include "language_service/engine/engine.h"
#include "language_service/engine/kv_cache_size.h"
#include "language_service/server.h"
#include "tests/testing/fake_tiers.h"

namespace diptych::bench {
namespace {

constexpr char kModel[] = "models/demo";
constexpr char kPrompt[] = "Question: What color is the circle? Answer:";
constexpr int64_t kWindow = 2048;
constexpr int64_t kBlocks = 1 << 16;

int64_t ThreadNanoseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

// Makes one word the likeliest everywhere, and adds up what the engine thread does between its passes.
class NullDecoder {
 public:
  NullDecoder(int64_t vocab_size, int64_t word, int64_t most_rows) : logits_(at::zeros({most_rows, vocab_size})) {
    logits_.select(1, word).fill_(1);
  }

  // On the engine thread alone.
  at::Tensor Forward(std::span<const blip2::DecoderRow> rows) {
    if (rows_ > 0) nanoseconds_ += ThreadNanoseconds() - left_;
    counted_ += rows_;
    rows_ = static_cast<int64_t>(rows.size());
    const auto wanted = std::count_if(rows.begin(), rows.end(), [](const auto& row) { return row.wants_logits; });
    at::Tensor logits = logits_.narrow(0, 0, wanted);
    left_ = ThreadNanoseconds();
    return logits;
  }

  double TakeMicroseconds() {
    const auto nanoseconds = static_cast<double>(nanoseconds_.exchange(0));
    return nanoseconds / 1e3 / static_cast<double>(std::max<int64_t>(counted_.exchange(0), 1));
  }

 private:
  at::Tensor logits_;
  int64_t rows_ = 0, left_ = 0;  // of the last pass
  std::atomic<int64_t> nanoseconds_ = 0, counted_ = 0;
};

language::ServedLanguageModel NullModel() {
  language::ServedLanguageModel model;
  model.description = testing::FakeLanguageModel();
  model.description.set_window_tokens(kWindow);
  model.config = (*blip2::Checkpoint::Open(kModel))->config();
  model.config.text.max_position_embeddings = kWindow;
  model.tokenizer = std::make_shared<const blip2::Tokenizer>(*blip2::Tokenizer::Load(kModel));
  model.embed = [](std::span<const int64_t> ids, const at::Tensor&) {
    return at::zeros({1, static_cast<int64_t>(ids.size()), 1});
  };
  model.kv_block_bytes = [](int64_t) { return 1; };
  model.make_kv_pool = [](int64_t blocks, int64_t tokens) {
    return blip2::KvPool{.keys = {}, .values = {}, .blocks = blocks, .block_tokens = tokens};
  };
  model.copy_kv_blocks = [](blip2::KvPool&, std::span<const int32_t>, std::span<const int32_t>) {};
  return model;
}

namespace {

struct CountedModel {
  language::ServedLanguageModel model;
  std::shared_ptr<NullDecoder> decoder;
};

CountedModel MakeCountedModel(int callers) {
  language::ServedLanguageModel model = NullModel();
  const int64_t word = model.tokenizer->Encode(" red").back();
  auto decoder = std::make_shared<NullDecoder>(model.config.text.vocab_size, word, callers);
  model.forward = [decoder](std::span<const blip2::DecoderRow> rows, blip2::KvPool&) { return decoder->Forward(rows); };
  return {std::move(model), std::move(decoder)};
}

int MostTokens(int callers) {
  return std::max(callers, 256);
}

std::unique_ptr<language::LanguageServer> StartTier(int callers, language::ServedLanguageModel model) {
  language::LanguageOptions options;
  options.listen = "127.0.0.1:0";
  options.queue_limit = options.max_batch = callers;
  options.max_batched_tokens = MostTokens(callers);
  options.kv_cache_bytes = kBlocks;
  options.max_connection_age = absl::Hours(1);
  return *language::LanguageServer::Start(options, std::move(model));
}

language::EngineOptions AloneOptions(int callers) {
  return {.queue_limit = static_cast<size_t>(callers), .max_batch = callers, .max_batched_tokens = MostTokens(callers)};
}

blip2::KvPool Pool(const language::ServedLanguageModel& model) {
  return model.make_kv_pool(kBlocks, language::KvBlockTokens(model.config.num_query_tokens));
}

}  // namespace

struct NullLanguageTier::Parts {
  explicit Parts(int callers)
      : alone(MakeCountedModel(callers)),
        engine(alone.model, Pool(alone.model), AloneOptions(callers)),
        served(MakeCountedModel(callers)),
        server(StartTier(callers, served.model)) {}

  CountedModel alone;
  language::LanguageEngine engine;
  const CountedModel served;
  const std::unique_ptr<language::LanguageServer> server;
};

NullLanguageTier::NullLanguageTier(int callers) : parts_(std::make_unique<Parts>(callers)) {}
NullLanguageTier::~NullLanguageTier() = default;

int NullLanguageTier::port() const {
  return parts_->server->port();
}

void Ask(language::LanguageEngine& engine, const language::ServedLanguageModel& model, int max_new_tokens,
         std::function<void(int64_t tokens)> on_tokens, std::function<void(bool ok)> on_end) {
  auto self = std::make_shared<std::weak_ptr<language::TokenStream>>();
  const auto stream = std::make_shared<language::TokenStream>(language::TokenStream::Reader{
      .on_delta =
          [self, on_tokens = std::move(on_tokens)](const language::TokenDelta& delta) {
            on_tokens(static_cast<int64_t>(delta.tokens.size()));
            if (const auto stream = self->lock()) stream->Next();
          },
      .on_end = [on_end = std::move(on_end)](const auto& result) { on_end(result.ok()); }});
  *self = stream;
  stream->Next();
  const blip2::PromptInput prompt{.images = 0, .text = kPrompt, .turns = {}, .max_new_tokens = max_new_tokens};
  engine.Submit({.prompt = *blip2::BuildPrompt(prompt, model.config, *model.tokenizer),
                 .options = {.max_new_tokens = max_new_tokens},
                 .images = {},
                 .clock = StageClock(SteadyClock::now()),
                 .call = std::make_shared<CallContext>(SteadyTime::max()),
                 .stream = stream});
}

void NullLanguageTier::AskAlone(int max_new_tokens, std::function<void(int64_t tokens)> on_tokens,
                                std::function<void(bool ok)> on_end) {
  Ask(parts_->engine, parts_->alone.model, max_new_tokens, std::move(on_tokens), std::move(on_end));
}

double NullLanguageTier::TakeMicroseconds() {
  return parts_->served.decoder->TakeMicroseconds();
}

double NullLanguageTier::TakeMicrosecondsAlone() {
  return parts_->alone.decoder->TakeMicroseconds();
}

}  // namespace diptych::bench
