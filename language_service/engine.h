// The language engine: one thread that alone runs Q-Former and decoder.
#pragma once

#include <thread>

#include "common/bounded_queue.h"
#include "language_service/generate_work.h"
#include "language_service/served_model.h"

namespace diptych {

// Runs requests in the order in which they come, each to its end before the next. Thread-safe.
class LanguageEngine {
 public:
  // `model` must outlive the engine. At most `queue_limit` requests wait.
  LanguageEngine(const ServedLanguageModel& model, int queue_limit);
  // Runs what is queued to its end, then joins the thread.
  ~LanguageEngine();

  // Ends work.stream in any case, sooner or later. Never waits; a full queue ends it with RESOURCE_EXHAUSTED.
  void Submit(GenerateWork work);

 private:
  void Run();
  void RunToEnd(GenerateWork work);

  const ServedLanguageModel& model_;
  BoundedQueue<GenerateWork> queue_;
  std::thread thread_;
};

}  // namespace diptych
