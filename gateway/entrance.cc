#include "gateway/entrance.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::gateway {

absl::Status Entrance::Reserve(const grpc::ServerContextBase& context, int64_t message_bytes) {
  DIPTYCH_ASSIGN_OR_RETURN(caller_, house_.callers->Identify(context));
  DIPTYCH_ASSIGN_OR_RETURN(memory_, house_.admission->Reserve(caller_, message_bytes));
  return absl::OkStatus();
}

void Entrance::Enter(v1::Question question, std::function<void(absl::StatusOr<v1::Question>)> entered) {
  const absl::Status checked = house_.admission->Check(question, house_.served_model());
  if (!checked.ok()) return entered(checked);
  question_ = std::move(question);
  entered_ = std::move(entered);
  waiting_ =
      house_.admission->gate().Enter(caller_, house_.callers->count(), deadline_,
                                     [this](absl::StatusOr<FairGate::Place> place) { OnPlace(std::move(place)); });
}

void Entrance::OnPlace(absl::StatusOr<FairGate::Place> place) {
  if (!place.ok()) return End(place.status());
  place_ = *std::move(place);
  std::vector<int> by_address;
  for (int i = 0; i < question_.images_size(); ++i) {
    if (question_.images(i).has_url()) by_address.push_back(i);
  }
  by_address.empty() ? End(absl::OkStatus()) : Fetch(std::move(by_address));
}

void Entrance::Fetch(std::vector<int> by_address) {
  ImageFetcher::Request request{.urls = {},
                                .fields = {},
                                .deadline = deadline_,
                                .take = [this](int64_t bytes) { return memory_.Grow(bytes); },
                                .done = [this](auto pictures) { OnFetched(std::move(pictures)); }};
  for (const int i : by_address) {
    request.urls.push_back(question_.images(i).url());
    request.fields.push_back(absl::StrCat("question.images[", i, "]"));
  }
  // From Prepare on Abandon may end the call, and this object with it.
  ImageFetcher& fetcher = *house_.fetcher;
  const auto leaving = leaving_;
  const ImageFetcher::Id id = fetcher.Prepare(std::move(request));
  leaving->fetch = id;
  // Whichever of these two and of those in Abandon comes last sees the other's word.
  if (leaving->abandoned) fetcher.Cancel(id);
  fetcher.Run(id);
}

void Entrance::OnFetched(absl::StatusOr<std::vector<std::string>> pictures) {
  End(pictures.ok() ? TakePictures(*std::move(pictures)) : pictures.status());
}

absl::Status Entrance::TakePictures(std::vector<std::string> pictures) {
  size_t next = 0;
  for (v1::Image& image : *question_.mutable_images()) {
    if (image.has_url()) image.set_data(std::move(pictures[next++]));
  }
  return house_.admission->Check(question_, house_.served_model());
}

void Entrance::End(const absl::Status& status) {
  const auto entered = std::exchange(entered_, nullptr);
  status.ok() ? entered(std::exchange(question_, {})) : entered(status);
}

void Entrance::Abandon() {
  leaving_->abandoned = true;
  if (const ImageFetcher::Id fetch = leaving_->fetch; fetch != 0) house_.fetcher->Cancel(fetch);
  house_.admission->gate().Abandon(waiting_, absl::CancelledError("the caller went away"));
}

}  // namespace diptych::gateway
