#include "language_service/images/image_collector.h"

#include <string>
#include <utility>

#include "common/grpc/steady_deadline.h"
#include "common/status.h"

namespace diptych::language {
namespace {

// The vision tier calls the image "image".
absl::Status WithCallersField(const absl::Status& error, std::string_view field) {
  if (FieldOf(error) != "image") return error;
  return InvalidField(ReasonOf(error), field, std::string(error.message()));
}

}  // namespace

std::shared_ptr<ImageCollector> ImageCollector::Start(ImageStore* store, std::vector<ImageRequest> requests,
                                                      std::shared_ptr<const CallContext> call, Done done) {
  const auto self = std::shared_ptr<ImageCollector>(new ImageCollector(store, requests.size(), std::move(done)));
  self->deadline_.Set(call->deadline(), [weak = self->weak_from_this()](bool passed) {
    const auto collector = passed ? weak.lock() : nullptr;
    if (collector != nullptr) collector->Fail(DeadlinePassed(Stage::kTokenTransfer));
  });
  for (size_t i = 0; i < requests.size(); ++i) {
    std::string field = requests[i].field;
    auto wait = store->Get(std::move(requests[i]), call->deadline(),
                           [self, i, field = std::move(field)](absl::StatusOr<ImageStore::Result> image) {
                             if (!image.ok()) return self->Fail(WithCallersField(image.status(), field));
                             self->OnImage(i, *std::move(image));
                           });
    if (wait == nullptr || self->Keep(wait)) continue;
    store->StopWaiting(wait);
    return self;
  }
  return self;
}

bool ImageCollector::Keep(const std::shared_ptr<ImageStore::Wait>& wait) {
  MutexLock lock(mutex_);
  if (done_ == nullptr) return false;
  waits_.push_back(wait);
  return true;
}

void ImageCollector::OnImage(size_t index, ImageStore::Result image) {
  Done done;
  CollectedImages collected;
  {
    MutexLock lock(mutex_);
    if (done_ == nullptr) return;
    collected_.images[index] = image.image;
    collected_.projected_hits += image.cached ? 1 : 0;
    collected_.vision_hits += image.vision.cache_hit ? 1 : 0;
    if (!image.cached) collected_.last = std::move(image);
    if (--open_ > 0) return;
    done = std::exchange(done_, nullptr);
    waits_.clear();
    collected = std::move(collected_);
  }
  deadline_.Cancel();
  done(std::move(collected));
}

void ImageCollector::Fail(const absl::Status& error) {
  Done done;
  std::vector<std::shared_ptr<ImageStore::Wait>> waits;
  {
    MutexLock lock(mutex_);
    if (done_ == nullptr) return;
    done = std::exchange(done_, nullptr);
    waits = std::exchange(waits_, {});
  }
  deadline_.Cancel();
  for (const auto& wait : waits) store_->StopWaiting(wait);
  done(error);
}

}  // namespace diptych::language
