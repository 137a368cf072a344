// Pulls all pictures of one request at the same time.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "language_service/image_pull.h"

namespace diptych {

struct PulledImages {
  std::vector<VisualTokens> images;  // in the order of the request
  VisionTimings last;                // of the picture that arrived last
};

// The first error cancels the other pulls. Thread-safe; owned by shared_ptr.
class ImagePulls final : public std::enable_shared_from_this<ImagePulls> {
 public:
  // Called exactly once, on a gRPC thread, when every pull has ended.
  using Done = std::function<void(absl::StatusOr<PulledImages>)>;

  // Requires: at least one picture.
  static std::shared_ptr<ImagePulls> Start(v1::VisionService::Stub* stub, std::vector<ImageRequest> requests,
                                           std::shared_ptr<const CallWatch> watch, Done done);

  void Cancel();

 private:
  explicit ImagePulls(Done done) : done_(std::move(done)) {}

  void OnImage(size_t index, absl::StatusOr<VisualTokens> image);

  const Done done_;

  std::mutex mutex_;
  std::vector<std::shared_ptr<ImagePull>> pulls_;
  size_t open_ = 0;
  absl::Status error_;
  PulledImages pulled_;
};

}  // namespace diptych
