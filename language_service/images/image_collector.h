// Brings the images of one question together.
#pragma once

#include <grpcpp/alarm.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/grpc/call_context.h"
#include "common/mutex.h"
#include "language_service/images/image_store.h"

namespace diptych::language {

struct CollectedImages {
  std::vector<std::shared_ptr<const QueryTokens>> images;  // in the order of the question
  std::optional<ImageStore::Result> last;                  // of those that had to be waited for, the one that came last
  int projected_hits = 0;                                  // images that this tier held
  int vision_hits = 0;                                     // images whose visual tokens the vision tier held
};

// Gets all images at the same time; the first error ends it. Thread-safe; owned by shared_ptr.
class ImageCollector final : public std::enable_shared_from_this<ImageCollector> {
 public:
  // Called exactly once: before Start returns, if every image is in the cache, or on any thread later. Errors are
  // those of ImageStore::Get with the field as the caller knows it, and CANCELLED or DEADLINE_EXCEEDED of `call`.
  using Done = std::function<void(absl::StatusOr<CollectedImages>)>;

  // Requires: at least one image. `store` must outlive the collector.
  static std::shared_ptr<ImageCollector> Start(ImageStore* store, std::vector<ImageRequest> requests,
                                               std::shared_ptr<const CallContext> call, Done done);

  // Ends it at once with CANCELLED.
  void Cancel() { Fail(CallerLeft()); }

 private:
  ImageCollector(ImageStore* store, size_t images, Done done) : store_(store), done_(std::move(done)), open_(images) {
    collected_.images.resize(images);
  }

  // False, and `wait` is not kept, if another image has failed meanwhile.
  bool Keep(const std::shared_ptr<ImageStore::Wait>& wait);
  void OnImage(size_t index, ImageStore::Result image);
  // Ends it, and leaves what is still waited for.
  void Fail(const absl::Status& error);

  ImageStore* const store_;
  grpc::Alarm deadline_;  // when the request's own time is over, whatever the flights it joined may take

  Mutex mutex_;
  Done done_ ABSL_GUARDED_BY(mutex_);  // null once called
  std::vector<std::shared_ptr<ImageStore::Wait>> waits_ ABSL_GUARDED_BY(mutex_);
  size_t open_ ABSL_GUARDED_BY(mutex_);  // images that are still to come
  CollectedImages collected_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::language
