#include "language_service/image_pulls.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych {
namespace {

// The vision tier calls the picture "image"; the caller knows it by its place in the question.
absl::Status WithCallersField(const absl::Status& error, size_t index) {
  if (FieldOf(error) != "image") return error;
  return InvalidField(ReasonOf(error), absl::StrCat("question.images[", index, "]"), std::string(error.message()));
}

}  // namespace

std::shared_ptr<ImagePulls> ImagePulls::Start(v1::VisionService::Stub* stub, std::vector<ImageRequest> requests,
                                              std::shared_ptr<const CallWatch> watch, Done done) {
  const auto self = std::shared_ptr<ImagePulls>(new ImagePulls(std::move(done)));
  self->open_ = requests.size();
  self->pulled_.images.resize(requests.size());
  std::vector<std::shared_ptr<ImagePull>> pulls;
  for (size_t i = 0; i < requests.size(); ++i) {
    pulls.push_back(std::make_shared<ImagePull>(
        stub, std::move(requests[i]), watch,
        [self, i](absl::StatusOr<VisualTokens> image) { self->OnImage(i, std::move(image)); }));
  }
  self->pulls_ = pulls;
  for (const auto& pull : pulls) pull->Start();
  return self;
}

void ImagePulls::Cancel() {
  std::vector<std::shared_ptr<ImagePull>> pulls;
  {
    std::lock_guard lock(mutex_);
    pulls = pulls_;
  }
  for (const auto& pull : pulls) pull->Cancel();
}

void ImagePulls::OnImage(size_t index, absl::StatusOr<VisualTokens> image) {
  bool first_error = false, last = false;
  {
    std::lock_guard lock(mutex_);
    if (image.ok()) {
      pulled_.last = image->timings;
      pulled_.images[index] = *std::move(image);
    } else if (error_.ok()) {
      error_ = WithCallersField(image.status(), index);
      first_error = true;
    }
    last = --open_ == 0;
    if (last) pulls_.clear();  // each of them refers back to this
  }
  if (first_error && !last) Cancel();
  if (last) done_(error_.ok() ? absl::StatusOr<PulledImages>(std::move(pulled_)) : error_);
}

}  // namespace diptych
