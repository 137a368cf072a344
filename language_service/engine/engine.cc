#include "language_service/engine/engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "common/error_details.h"
#include "common/process/catch_exceptions.h"
#include "common/status.h"
#include "common/tiers/on_card.h"
#include "language_service/engine/projection.h"
#include "language_service/engine/relevance.h"
#include "language_service/engine/trial.h"

namespace diptych::language {
namespace {

constexpr int64_t kMostImagesAtOnce = 8;         // for the Q-Former, between two passes
constexpr int64_t kMostImagesAtOnceOnCard = 32;  // in one pass of it

// Interval in which an idle thread checks whether a reader that is behind has caught up.
constexpr std::chrono::milliseconds kPausedPoll(10);

absl::Status QueueFull() {
  return RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull, "the language engine's queue is full",
                    absl::Seconds(1));
}

absl::Status SlowReader() {
  return RetryLater(absl::StatusCode::kResourceExhausted, reason::kSlowReader,
                    "the answer's reader takes none of what waits for it", absl::Seconds(1));
}

absl::Status NoTimeLeft() {
  return WithDetail(MakeError(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
                              "the deadline leaves no time for stage prefill"),
                    detail::kStage, NameOf(Stage::kPrefill));
}

SchedulerOptions ToSchedulerOptions(const ServedLanguageModel& model, const blip2::KvPool& pool,
                                    const EngineOptions& options) {
  return {.blocks = static_cast<int32_t>(pool.blocks),
          .block_tokens = pool.block_tokens,
          .query_tokens = model.config.num_query_tokens,
          .max_batch = options.max_batch,
          .max_batched_tokens = options.max_batched_tokens};
}

// Images whose query tokens one pass of the decoder can read, but no more than those that decode can wait for.
size_t ImagesOfAPass(const ServedLanguageModel& model, const EngineOptions& options) {
  const int64_t readable = options.max_batched_tokens / std::max<int64_t>(model.config.num_query_tokens, 1);
  return static_cast<size_t>(
      std::clamp<int64_t>(readable, 1, IsOnCard(model.description) ? kMostImagesAtOnceOnCard : kMostImagesAtOnce));
}

// Each once.
std::vector<uint64_t> RequestsOf(const StepPlan& plan) {
  std::vector<uint64_t> ids;
  for (const PlannedRow& row : plan.rows) {
    if (row.beam == 0) ids.push_back(row.id);
  }
  return ids;
}

int64_t TokensOf(const StepPlan& plan) {
  int64_t tokens = 0;
  for (const PlannedRow& row : plan.rows) tokens += row.tokens;
  return tokens;
}

EngineStats StatsOfUnused(const blip2::KvPool& pool) {
  EngineStats stats;
  stats.kv_block_tokens = pool.block_tokens;
  stats.kv_blocks_total = pool.blocks;
  for (const auto* tensors : {&pool.keys, &pool.values}) {
    for (const at::Tensor& tensor : *tensors) stats.kv_block_bytes += static_cast<int64_t>(tensor.nbytes());
  }
  stats.kv_block_bytes /= std::max<int64_t>(pool.blocks, 1);
  return stats;
}

}  // namespace

LanguageEngine::LanguageEngine(const ServedLanguageModel& model, blip2::KvPool pool, const EngineOptions& options)
    : model_(model),
      options_(options),
      images_at_once_(ImagesOfAPass(model, options)),
      inbox_(options.queue_limit, options.projection_limit),
      decoder_health_(options.longest_pass),
      projection_health_(options.longest_pass),
      published_(StatsOfUnused(pool)),
      pool_(std::move(pool)),
      scheduler_(ToSchedulerOptions(model, pool_, options)),
      stats_(published_),
      thread_([this] { Run(); }) {}

LanguageEngine::~LanguageEngine() {
  inbox_.Close();
  thread_.join();
}

void LanguageEngine::Submit(GenerateWork work) {
  const std::shared_ptr<TokenStream> stream = work.stream;
  if (!inbox_.TryPush(std::move(work))) stream->End(QueueFull());
}

void LanguageEngine::Project(VisualTokens tokens, std::string image_key, bool with_attention, Projected done) {
  Projection projection{
      .tokens = std::move(tokens), .image_key = std::move(image_key), .with_attention = with_attention, .done = done};
  if (!inbox_.TryPush(std::move(projection))) done(QueueFull());
}

EngineStats LanguageEngine::stats() const {
  const auto inside = static_cast<int64_t>(inbox_.inside());
  MutexLock lock(stats_mutex_);
  EngineStats stats = published_;
  stats.requests_waiting = std::max<int64_t>(inside - stats.requests_running, 0);
  return stats;
}

void LanguageEngine::Run() {
  at::init_num_threads();
  const c10::InferenceMode inference_mode;
  PublishStats();
  std::optional<SteadyDuration> patience;  // for more work; nullopt: there is none yet
  while (true) {
    const bool projected = Take(patience);
    const bool explained = ExplainOne();
    const bool ran = RunStep();
    if (closing_ && sequences_.empty() && !projected && !explained) break;  // else images may have been left
    if (ran || projected || explained) {
      patience = SteadyDuration::zero();
    } else if (sequences_.empty()) {
      patience = std::nullopt;
    } else {
      patience = kPausedPoll;
    }
  }
  EndRunning();
}

bool LanguageEngine::Take(std::optional<SteadyDuration> patience) {
  EngineInbox::Content content = inbox_.Take(patience, images_at_once_);
  const bool projected = !content.projections.empty();
  for (GenerateWork& work : content.work) Admit(std::move(work));
  if (projected) EndRunning();  // its tokens do not wait for images
  RunProjections(content.projections);
  if (projected) {  // the questions about these images, which so share a pass
    content = inbox_.Take(SteadyDuration::zero(), /*images=*/0);
    for (GenerateWork& work : content.work) Admit(std::move(work));
  }
  closing_ = content.closed;
  Sweep(SteadyClock::now());
  return projected;
}

void LanguageEngine::Admit(GenerateWork work) {
  const uint64_t id = ++last_id_;
  work.stream->DeliverOn(delivery_);
  const auto& [place, added] = sequences_.try_emplace(id, std::move(work), model_);
  const absl::Status status = scheduler_.Add(place->second.ToScheduled(id));
  if (status.ok()) return;
  const std::shared_ptr<TokenStream> stream = place->second.shared_stream();
  sequences_.erase(place);
  inbox_.Release();
  stream->End(status);
}

void LanguageEngine::RunProjections(std::span<Projection> images) {
  while (!images.empty()) {
    const size_t count = IsOnCard(model_.description) ? AlikeAtTheFront(images) : 1;
    RunProjection(images.first(count));
    images = images.subspan(count);
  }
}

void LanguageEngine::RunProjection(std::span<Projection> images) {
  projection_health_.Begin();
  std::vector<ProjectedImage> projected = ProjectImages(model_, images);
  const auto failed = std::find_if(projected.begin(), projected.end(), [](const auto& image) { return !image.ok(); });
  JudgeProjection(failed == projected.end() ? absl::OkStatus() : failed->status());
  stats_.projections += static_cast<int64_t>(images.size());
  PublishStats();
  for (size_t i = 0; i < images.size(); ++i) {
    const Projection image = std::move(images[i]);  // which so ends here with all that it holds
    image.done(std::move(projected[i]));
  }
}

void LanguageEngine::Sweep(SteadyTime now) {
  std::vector<std::pair<uint64_t, absl::Status>> ended;
  for (const auto& [id, sequence] : sequences_) {
    absl::Status status = sequence.Check(now);
    if (status.ok() && !sequence.finished()) status = CheckReader(id, sequence, now);
    if (!status.ok()) ended.emplace_back(id, std::move(status));
  }
  for (auto& [id, status] : ended) Retire(id, std::move(status));
}

absl::Status LanguageEngine::CheckReader(uint64_t id, const Sequence& sequence, SteadyTime now) {
  const int64_t unread = sequence.stream().unread_tokens();
  const auto paused = paused_.find(id);
  if (paused == paused_.end()) {
    if (unread <= options_.max_unread_tokens || sequence.has_beams()) return absl::OkStatus();
    scheduler_.Pause(id);
    paused_.emplace(id, now);
    PublishStats();
  } else if (unread == 0) {
    scheduler_.Resume(id);
    paused_.erase(paused);
  } else if (closing_ || now - paused->second >= options_.reader_patience) {
    ++stats_.slow_readers;
    return SlowReader();
  }
  return absl::OkStatus();
}

bool LanguageEngine::RunStep() {
  const StepPlan plan = scheduler_.Plan(SteadyClock::now());
  for (const uint64_t id : plan.too_late) Retire(id, NoTimeLeft());
  if (plan.rows.empty()) return EndRunning() || !plan.too_late.empty();
  Step step{.pass = {}, .ids = RequestsOf(plan), .tokens = TokensOf(plan)};
  if (!running_) Begin(step);
  Start(plan, step);
  if (EndRunning()) Begin(step);
  if (step.unknown) {
    running_ = std::move(step);
  } else {
    End(std::move(step));
  }
  return true;
}

void LanguageEngine::Begin(Step& step) {
  step.begin = SteadyClock::now();
  decoder_health_.Begin();
  for (const uint64_t id : step.ids) {
    if (const auto sequence = sequences_.find(id); sequence != sequences_.end()) sequence->second.BeginPass(step.begin);
  }
}

void LanguageEngine::Start(const StepPlan& plan, Step& step) {
  Count(plan);
  step.pass = StartPass(plan, sequences_, model_, pool_, running_ ? *running_->unknown : UnknownTokens());
  for (const uint64_t id : step.ids) scheduler_.Computed(id);
  step.unknown = TokensToCome(step.pass, sequences_);
  if (!step.unknown) return;
  for (const auto& [id, place] : step.unknown->places) {
    sequences_.at(id).Expect();
    scheduler_.Expect(id);
  }
}

void LanguageEngine::Count(const StepPlan& plan) {
  for (const PlannedRow& row : plan.rows) {
    (sequences_.at(row.id).decoding() ? stats_.decode_tokens : stats_.prefill_tokens) += row.tokens;
  }
  stats_.last_batch = static_cast<int64_t>(plan.rows.size());
  stats_.rows += stats_.last_batch;
  ++stats_.passes;
  ++stats_.passes_by_batch_size[BatchSizeBucket(stats_.last_batch)];
}

bool LanguageEngine::EndRunning() {
  if (!running_) return false;
  End(*std::exchange(running_, std::nullopt));
  return true;
}

void LanguageEngine::End(Step step) {
  const std::vector<PassResult> results = AwaitPass(std::move(step.pass));
  const SteadyTime end = SteadyClock::now();
  const auto failed =
      std::find_if(results.begin(), results.end(), [](const PassResult& result) { return !result.logits.ok(); });
  const bool sound = failed == results.end();
  // A part of a prompt that nothing is read from proves nothing.
  const bool gave_scores = std::any_of(results.begin(), results.end(), [](const PassResult& result) {
    return result.logits.ok() && (result.logits->defined() || result.scored.defined());
  });
  if (sound) scheduler_.ObservePass(step.tokens, end - step.begin);
  if (!sound) JudgePass(failed->logits.status());  // before a caller learns of it
  failure_ = absl::OkStatus();
  for (const PassResult& result : results) Advance(result, end);
  if (sound) gave_scores ? JudgePass(failure_) : decoder_health_.End();
  PublishStats();
}

void LanguageEngine::JudgePass(const absl::Status& pass) {
  decoder_health_.End();
  if (decoder_health_.Judge(pass)) decoder_health_.Tried(TryDecoder(model_).ok());
}

void LanguageEngine::JudgeProjection(const absl::Status& projection) {
  projection_health_.End();
  if (projection_health_.Judge(projection)) projection_health_.Tried(TryProjection(model_).ok());
}

void LanguageEngine::Advance(const PassResult& result, SteadyTime now) {
  const uint64_t id = result.id;
  const auto place = sequences_.find(id);
  if (place == sequences_.end() || unexplained_.contains(id)) return;  // it has ended since the step began
  const absl::StatusOr<at::Tensor>& logits = result.logits;
  if (!logits.ok()) return Fail(id, logits.status());
  Sequence& sequence = place->second;
  if (result.scored.defined()) {
    const absl::Status status =
        CatchExceptions(NameOf(Stage::kPrefill), [&] { return sequence.ScorePrompt(result.past, result.scored); });
    if (!status.ok()) return Fail(id, status);
    now = SteadyClock::now();
  }
  if (!logits->defined()) return sequence.EndChunk(now);
  const int64_t before = sequence.answer_tokens();
  const absl::Status status = CatchExceptions(NameOf(Stage::kDecode), [&] {
    return result.chosen ? sequence.AcceptChosen(*result.chosen, now) : sequence.Accept(*logits, now);
  });
  if (!status.ok()) return Fail(id, status);
  stats_.generated_tokens += sequence.answer_tokens() - before;
  if (sequence.has_beams() && !sequence.finished()) return scheduler_.Fork(id, sequence.parents());
  if (sequence.answer_tokens() > before) scheduler_.Append(id, sequence.last_token());
  if (sequence.finished()) Finish(id);
}

void LanguageEngine::Fail(uint64_t id, const absl::Status& status) {
  failure_.Update(status);
  Retire(id, status);
}

void LanguageEngine::Finish(uint64_t id) {
  Sequence& sequence = sequences_.at(id);
  const int64_t cached_tokens = scheduler_.cached_tokens(id);
  if (!sequence.wants_relevance()) return Retire(id, sequence.TakeResult(cached_tokens));
  scheduler_.Remove(id);  // its place and its blocks are others' from now on
  unexplained_.emplace(id, cached_tokens);
}

bool LanguageEngine::ExplainOne() {
  if (unexplained_.empty()) return false;
  EndRunning();
  const auto [id, cached_tokens] = *unexplained_.begin();
  sequences_.at(id).BeginPass(SteadyClock::now());
  decoder_health_.Begin();  // of one piece
  const auto go_on = [this, id = id] {
    Take(SteadyDuration::zero());
    RunStep();
    EndRunning();
    decoder_health_.Begin();
    return sequences_.contains(id);
  };
  auto relevance = ComputeRelevance(model_, sequences_.at(id), {.tokens = options_.max_batched_tokens, .go_on = go_on});
  const auto place = sequences_.find(id);
  JudgePass(place == sequences_.end() && !IsDeviceLost(relevance.status()) ? absl::OkStatus() : relevance.status());
  if (place == sequences_.end()) return true;  // its caller left, or its deadline passed
  Sequence& sequence = place->second;
  sequence.EndRelevance(SteadyClock::now());
  if (relevance.ok()) {
    GenerateResult result = sequence.TakeResult(cached_tokens);
    result.relevance = *std::move(relevance);
    Retire(id, std::move(result));
  } else {
    Retire(id, relevance.status());
  }
  return true;
}

// Everything that the request held is free, and counted as free, before its caller may come back.
void LanguageEngine::Retire(uint64_t id, absl::StatusOr<GenerateResult> result) {
  const auto place = sequences_.find(id);
  const std::shared_ptr<TokenStream> stream = place->second.shared_stream();
  if (absl::IsInternal(result.status())) ++stats_.failed_requests;
  if (unexplained_.erase(id) == 0) scheduler_.Remove(id);
  const bool stuck = paused_.erase(id) > 0;
  sequences_.erase(place);
  inbox_.Release();
  PublishStats();
  if (stuck) stream->GiveUpReader();
  stream->End(std::move(result));
}

void LanguageEngine::PublishStats() {
  const SchedulerCounts counts = scheduler_.counts();
  stats_.requests_running = counts.running;
  stats_.kv_blocks_total = counts.blocks_total;
  stats_.kv_blocks_used = counts.blocks_held;
  stats_.kv_blocks_cached = counts.blocks_cached;
  stats_.preemptions = counts.preemptions;
  stats_.prompt_tokens = counts.prefix_queries;
  stats_.cached_tokens = counts.prefix_hits;
  MutexLock lock(stats_mutex_);
  published_ = stats_;
}

}  // namespace diptych::language
