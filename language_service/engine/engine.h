// The language engine: one thread that alone runs Q-Former and decoder, for many requests at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/kv_pool.h"
#include "common/mutex.h"
#include "common/tiers/engine_health.h"
#include "language_service/engine/decoder_pass.h"
#include "language_service/engine/engine_inbox.h"
#include "language_service/engine/engine_options.h"
#include "language_service/engine/engine_stats.h"
#include "language_service/engine/generate_work.h"
#include "language_service/engine/query_tokens.h"
#include "language_service/engine/scheduler.h"
#include "language_service/engine/sequence.h"
#include "language_service/engine/token_delivery.h"
#include "language_service/engine/visual_tokens.h"
#include "language_service/served_model.h"

namespace diptych::language {

// Plan, run, choose, retire: each step of its thread gives every running request its next token or the next piece of
// its prompt. Where the model chooses tokens, on a card, the next step is planned and begun while the last one is
// computed, and then the last one's tokens are handed over. Between two steps as many images go through the Q-Former as
// one step can read, 8 at most, and of one answer as many tokens through one layer of the decoder, for its relevance.
// Thread-safe.
class LanguageEngine {
 public:
  using Projected = std::function<void(absl::StatusOr<std::shared_ptr<const QueryTokens>>)>;

  // `model` must outlive the engine; `pool` is AllocateKvCache's.
  LanguageEngine(const ServedLanguageModel& model, blip2::KvPool pool, const EngineOptions& options);
  // Runs what is inside to its end, then joins the thread; returns when all streams have ended.
  ~LanguageEngine();

  // Ends work.stream in any case, sooner or later; its reader is called on a thread of its own. Never waits.
  // RESOURCE_EXHAUSTED with QUEUE_FULL if too many are inside, with KV_FULL if the request could not run even alone,
  // with SLOW_READER if its reader lets tokens lie; CANCELLED or DEADLINE_EXCEEDED within one step; INTERNAL if the
  // model fails on this request.
  void Submit(GenerateWork work);

  // Runs the Q-Former over one image's visual tokens; `with_attention` also keeps where the queries looked. Calls
  // `done` exactly once: on the engine thread, or, with RESOURCE_EXHAUSTED, before it returns if the queue is full.
  // INTERNAL if the model fails on these tokens or makes numbers of them that are not finite. `done` must not wait.
  void Project(VisualTokens tokens, std::string image_key, bool with_attention, Projected done);

  EngineStats stats() const;
  // As EngineHealth::Check.
  absl::Status health() const {
    const absl::Status decoder = decoder_health_.Check();
    return decoder.ok() ? projection_health_.Check() : decoder;
  }

 private:
  void Run();
  // Projects and admits what came, waiting for it for so long, and sweeps. True if there was an image.
  bool Take(std::optional<SteadyDuration> patience);
  void Admit(GenerateWork work);
  // On a card images that are alike share a pass; on the CPU, where it would not be faster, each has its own.
  void RunProjections(std::span<Projection> images);
  void RunProjection(std::span<Projection> alike);
  // Ends cancelled and late requests, and pauses, resumes or drops those whose readers are behind.
  void Sweep(SteadyTime now);
  // Looks at the sequence's reader. SLOW_READER if it is to be given up.
  absl::Status CheckReader(uint64_t id, const Sequence& sequence, SteadyTime now);
  // A pass that the device may still compute.
  struct Step {
    RunningPass pass;
    std::vector<uint64_t> ids;  // of its requests
    int64_t tokens = 0;
    SteadyTime begin{};                         // when no other step was before it any more
    std::optional<UnknownTokens> unknown = {};  // set if the next step may start before these are known
  };

  // Plans and starts a step, then ends the one before it. False if there was neither.
  bool RunStep();
  void Begin(Step& step);
  void Start(const StepPlan& plan, Step& step);
  void Count(const StepPlan& plan);
  // Ends the step that runs. False if none does.
  bool EndRunning();
  // Waits for it and hands on what it gave.
  void End(Step step);
  // Each updates its part of the engine's health after a pass that ended, and with it what it was for.
  void JudgePass(const absl::Status& pass);
  void JudgeProjection(const absl::Status& projection);
  void Advance(const PassResult& result, SteadyTime now);
  // What the model gave for it cannot be used.
  void Fail(uint64_t id, const absl::Status& status);
  // The answer is whole: retires it, or lets it wait for its relevance.
  void Finish(uint64_t id);
  // Explains one answer that waits for it: a pass of the decoder in pieces, with a step of the others between two.
  // False if none waits.
  bool ExplainOne();
  void Retire(uint64_t id, absl::StatusOr<GenerateResult> result);
  void PublishStats();

  const ServedLanguageModel& model_;
  const EngineOptions options_;
  const size_t images_at_once_;  // for the Q-Former, between two passes of the decoder
  EngineInbox inbox_;
  EngineHealth decoder_health_, projection_health_;  // apart: one that works does not excuse the other

  mutable Mutex stats_mutex_;
  EngineStats published_ ABSL_GUARDED_BY(stats_mutex_);

  // Of the engine thread alone.
  blip2::KvPool pool_;
  Scheduler scheduler_;
  std::map<uint64_t, Sequence> sequences_;
  std::map<uint64_t, SteadyTime> paused_;  // since when
  // Whole answers that wait for their relevance, and how many prompt tokens of each were found in the KV cache.
  std::map<uint64_t, int64_t> unexplained_;
  uint64_t last_id_ = 0;
  bool closing_ = false;
  EngineStats stats_;
  absl::Status failure_;         // of a request in the step that ends: what the model gave for it cannot be used
  std::optional<Step> running_;  // while the next one is planned and started; it has `unknown`

  TokenDelivery delivery_;  // of all streams inside
  std::thread thread_;
};

}  // namespace diptych::language
