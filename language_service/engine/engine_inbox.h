// The work that waits for the engine thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "language_service/engine/generate_work.h"
#include "language_service/engine/query_tokens.h"
#include "language_service/engine/visual_tokens.h"

namespace diptych::language {

// One image for the Q-Former.
struct Projection {
  VisualTokens tokens;
  std::string image_key;
  bool with_attention = false;
  std::function<void(absl::StatusOr<std::shared_ptr<const QueryTokens>>)> done;
};

// Requests and images in the order in which they came. Bounds the requests that are inside the engine, from TryPush
// to Release. Thread-safe.
class EngineInbox {
 public:
  struct Content {
    std::vector<GenerateWork> work = {};       // all
    std::vector<Projection> projections = {};  // the first ones
    bool closed = false;
  };

  EngineInbox(size_t work_limit, size_t projection_limit)
      : work_limit_(work_limit), projection_limit_(projection_limit) {}

  EngineInbox(const EngineInbox&) = delete;
  EngineInbox& operator=(const EngineInbox&) = delete;

  // False, and the argument is untouched, when the bound is reached or the inbox closed. Never waits.
  bool TryPush(GenerateWork&& work);
  bool TryPush(Projection&& projection);
  // A request has ended.
  void Release();
  // Refuses further items; those inside are still taken. Idempotent.
  void Close();

  // Takes what there is, of the images at most `images`. If there is nothing at all, waits for something, for Close, or
  // until `patience` has passed (nullopt: without end).
  Content Take(std::optional<SteadyDuration> patience, size_t images);

  // Requests from TryPush to Release.
  size_t inside() const;

 private:
  const size_t work_limit_;
  const size_t projection_limit_;
  mutable Mutex mutex_;
  CondVar ready_;
  std::deque<GenerateWork> work_ ABSL_GUARDED_BY(mutex_);
  std::deque<Projection> projections_ ABSL_GUARDED_BY(mutex_);
  size_t inside_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace diptych::language
