#include "language_service/engine.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <optional>
#include <utility>

#include "common/catch_exceptions.h"
#include "common/status.h"
#include "language_service/projection.h"
#include "language_service/sequence.h"

namespace diptych {
namespace {

absl::Status QueueFull() {
  return RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "the language engine's queue is full",
                    absl::Seconds(1));
}

}  // namespace

LanguageEngine::LanguageEngine(const ServedLanguageModel& model, int queue_limit)
    : model_(model), queue_(queue_limit), thread_([this] { Run(); }) {}

LanguageEngine::~LanguageEngine() {
  queue_.Close();
  thread_.join();
}

void LanguageEngine::Submit(GenerateWork work) {
  const std::shared_ptr<TokenStream> stream = work.stream;
  if (!queue_.TryPush(std::move(work))) stream->End(QueueFull());
}

void LanguageEngine::Project(VisualTokens tokens, std::string image_key, Projected done) {
  std::variant<GenerateWork, Projection> projection =
      Projection{.tokens = std::move(tokens), .image_key = std::move(image_key), .done = std::move(done)};
  if (!queue_.TryPush(std::move(projection))) std::get<Projection>(projection).done(QueueFull());
}

void LanguageEngine::Run() {
  at::init_num_threads();
  const c10::InferenceMode inference_mode;
  while (auto next = queue_.Pop()) {
    if (auto* projection = std::get_if<Projection>(&*next)) {
      RunProjection(std::move(*projection));
    } else {
      RunToEnd(std::get<GenerateWork>(*std::move(next)));
    }
  }
}

void LanguageEngine::RunProjection(Projection projection) {
  projection.done(ProjectImage(model_, std::move(projection.tokens), std::move(projection.image_key)));
}

void LanguageEngine::RunToEnd(GenerateWork work) {
  work.clock.Lap(Stage::kLanguageQueue, SteadyClock::now());
  const std::shared_ptr<TokenStream> stream = work.stream;
  std::optional<Sequence> sequence(std::in_place, std::move(work), model_);
  absl::Status status = CatchExceptions("prefill", [&] { return sequence->Prefill(); });
  while (status.ok() && !sequence->finished()) {
    status = CatchExceptions("decode", [&] { return sequence->Decode(); });
  }
  auto result = status.ok() ? absl::StatusOr<GenerateResult>(sequence->TakeResult()) : status;
  sequence.reset();  // its memory is free before its caller may come back
  stream->End(std::move(result));
}

}  // namespace diptych
