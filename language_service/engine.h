// The language engine: one thread that alone runs Q-Former and decoder.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <variant>

#include "absl/status/statusor.h"
#include "common/bounded_queue.h"
#include "language_service/generate_work.h"
#include "language_service/projected_image.h"
#include "language_service/served_model.h"
#include "language_service/visual_tokens.h"

namespace diptych {

// Runs requests in the order in which they come, each to its end before the next. Thread-safe.
class LanguageEngine {
 public:
  using Projected = std::function<void(absl::StatusOr<std::shared_ptr<const ProjectedImage>>)>;

  // `model` must outlive the engine. At most `queue_limit` requests wait.
  LanguageEngine(const ServedLanguageModel& model, int queue_limit);
  // Runs what is queued to its end, then joins the thread.
  ~LanguageEngine();

  // Ends work.stream in any case, sooner or later. Never waits; a full queue ends it with RESOURCE_EXHAUSTED.
  void Submit(GenerateWork work);

  // Runs the Q-Former over one picture's visual tokens. Calls `done` exactly once: on the engine thread, or, with
  // RESOURCE_EXHAUSTED, before it returns if the queue is full. INTERNAL if the model fails on these tokens or makes
  // numbers of them that are not finite. `done` must not wait.
  void Project(VisualTokens tokens, std::string image_key, Projected done);

 private:
  struct Projection {
    VisualTokens tokens;
    std::string image_key;
    Projected done;
  };

  void Run();
  void RunToEnd(GenerateWork work);
  void RunProjection(Projection projection);

  const ServedLanguageModel& model_;
  BoundedQueue<std::variant<GenerateWork, Projection>> queue_;
  std::thread thread_;
};

}  // namespace diptych
