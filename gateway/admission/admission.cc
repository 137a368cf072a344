#include "gateway/admission/admission.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/grpc/wire.h"
#include "common/hash.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

// The message as it is kept for another attempt, and the copy that is received or sent.
constexpr int64_t kCopies = 2;
// The two calls, their buffers and the answer.
constexpr int64_t kCallBytes = 64 << 10;

// Most memory of a text as a message, where it is nothing but numbers or fields, as a multiple of its bytes.
constexpr int64_t kFieldCopies = 4;

int64_t BytesFor(int64_t message_bytes) {
  return kCopies * message_bytes + kCallBytes;
}

// Messages of one key, the largest that there may be, that its share of the memory would hold.
int MostPatient(const AdmissionOptions& options) {
  return static_cast<int>(std::max<int64_t>(options.max_inflight_bytes / 2 / options.limits.MaxMessageBytes(), 1));
}

absl::StatusOr<HeldPlace> HeldIn(absl::StatusOr<FairGate::Place> place) {
  if (!place.ok()) return place.status();
  return std::make_shared<FairGate::Place>(*std::move(place));
}

}  // namespace

Admission::Admission(const AdmissionOptions& options, const Callers& callers, ImageFetcher* fetcher,
                     std::function<std::string()> served_model, std::function<void(ImageLimits&)> narrow)
    : limits_(options.limits),
      model_aliases_(options.model_aliases),
      max_inflight_(options.max_inflight),
      shared_cache_(options.shared_cache),
      callers_(callers),
      fetcher_(fetcher),
      served_model_(std::move(served_model)),
      narrow_(std::move(narrow)),
      gate_(FairGate::Make(options.max_inflight, options.max_waiting)),
      memory_(options.max_inflight_bytes),
      texts_(std::max(options.max_inflight_bytes / 4, BytesFor(kFieldCopies * kMaxTextRequestBytes))),
      callers_memory_(std::max(options.max_inflight_bytes / 2, LeastBytes(options.limits))),
      pending_messages_(MostPatient(options)) {}

absl::StatusOr<Admission::Memory> Admission::Reserve(const Caller& caller, int64_t message_bytes) {
  Memory memory;
  const int64_t bytes = BytesFor(message_bytes);
  if (caller != nullptr) {
    memory.callers_ = callers_memory_.Of(caller->name);
    DIPTYCH_ASSIGN_OR_RETURN(memory.of_caller_, memory.callers_->Take(bytes));
  }
  DIPTYCH_ASSIGN_OR_RETURN(memory.of_all_, memory_.Take(bytes));
  return memory;
}

absl::StatusOr<Admission::Memory> Admission::ReserveText(const Caller& caller, int64_t message_bytes) {
  DIPTYCH_ASSIGN_OR_RETURN(auto of_texts, texts_.Take(BytesFor(message_bytes)));
  DIPTYCH_ASSIGN_OR_RETURN(Memory memory, Reserve(caller, message_bytes));
  memory.of_texts_ = std::move(of_texts);
  return memory;
}

absl::Status Admission::Memory::Grow(int64_t message_bytes) {
  const int64_t bytes = kCopies * message_bytes;
  if (of_texts_.bytes() > 0) DIPTYCH_RETURN_IF_ERROR(of_texts_.Grow(bytes));
  if (callers_ != nullptr) DIPTYCH_RETURN_IF_ERROR(of_caller_.Grow(bytes));
  return of_all_.Grow(bytes);
}

void Admission::Memory::KeepOnly(int64_t answer_bytes) {
  const int64_t bytes = std::max<int64_t>(answer_bytes - kCallBytes, 0);
  of_caller_.ShrinkTo(bytes);
  of_all_.ShrinkTo(bytes);
}

int64_t Admission::LeastBytes(const QuestionLimits& limits) {
  return BytesFor(limits.MaxMessageBytes());
}

std::string Admission::CacheSaltOf(const Caller& caller) const {
  if (caller == nullptr || shared_cache_) return "";
  Sha256 hash;
  hash.UpdateField("cache of");
  hash.UpdateField(caller->name);
  const Sha256Digest digest = hash.Finish();
  return std::string(digest.begin(), digest.end());
}

absl::Status Admission::Check(const v1::Question& question) const {
  const absl::Status checked = CheckQuestion(question, limits());
  const bool to_be_fetched = fetcher_ != nullptr && ReasonOf(checked) == reason::kImageUrlRefused;
  if (!checked.ok() && !to_be_fetched) return checked;
  return CheckModel(question.model());
}

absl::Status Admission::CheckModel(const std::string& name) const {
  const std::vector<std::string> names = model_names();
  if (name.empty() || names.empty() || name == names.front() || IsAlias(name)) {
    return absl::OkStatus();
  }
  return MakeError(absl::StatusCode::kNotFound, reason::kModelUnknown,
                   absl::StrCat("no such model is served here; the one that is has the name ", names.front()));
}

bool Admission::IsAlias(const std::string& name) const {
  return std::find(model_aliases_.begin(), model_aliases_.end(), name) != model_aliases_.end();
}

std::vector<std::string> Admission::model_names() const {
  std::vector<std::string> names = {served_model_()};
  if (names.front().empty()) return {};
  names.insert(names.end(), model_aliases_.begin(), model_aliases_.end());
  return names;
}

QuestionLimits Admission::limits() const {
  QuestionLimits limits = limits_;
  if (narrow_) narrow_(limits.image);
  return limits;
}

v1::Limits Admission::ToProto() const {
  const QuestionLimits limits = this->limits();
  v1::Limits proto;
  proto.set_max_image_bytes(limits.image.max_bytes);
  proto.set_max_image_pixels(limits.image.max_pixels);
  proto.set_max_images(kMaxImages);
  proto.set_max_prompt_bytes(kMaxTextBytes);
  proto.set_max_inflight(max_inflight_);
  return proto;
}

absl::Status AdmittedCall::Read(absl::StatusOr<Caller> caller, const grpc::ByteBuffer& bytes,
                                google::protobuf::Message& message) {
  DIPTYCH_ASSIGN_OR_RETURN(caller_, std::move(caller));
  DIPTYCH_ASSIGN_OR_RETURN(memory_, admission_.Reserve(caller_, static_cast<int64_t>(bytes.Length())));
  return TakeRequest(bytes, message, [this](int64_t more) { return memory_.Grow(more); });
}

void AdmittedCall::Release(int64_t answer_bytes) {
  memory_.KeepOnly(answer_bytes);
  SetRefused(false);
  place_.reset();
}

void AdmittedCall::SetRefused(bool refused) {
  if (place_ == nullptr || std::exchange(refused_, refused) == refused) return;
  refused ? place_->Refused() : place_->Taken();
}

void AdmittedCall::Charge(int64_t tokens) {
  if (place_ != nullptr) place_->Charge(tokens);
}

void AdmittedCall::Enter(v1::Question question, std::function<void(absl::StatusOr<v1::Question>)> entered) {
  const absl::Status checked = admission_.Check(question);
  if (!checked.ok()) return entered(checked);
  question_ = std::move(question);
  if (admission_.IsAlias(question_.model())) question_.clear_model();  // the tiers know none
  entered_ = std::move(entered);
  waits_since_ = SteadyClock::now();
  const std::shared_ptr<SharedPlace> shared = shared_.lock();
  if (shared == nullptr) return AskGate(nullptr);
  const SharedPlace::Task task = shared->Join([this](absl::StatusOr<HeldPlace> place) {
    follows_ = true;
    OnPlace(std::move(place));
  });
  if (task.kind == SharedPlace::Task::kEnter) AskGate(shared);
  if (task.kind == SharedPlace::Task::kTakeTurn) TakeTurn(shared, task.place);
}

void AdmittedCall::TakeTurn(std::shared_ptr<SharedPlace> shared, HeldPlace place) {
  follows_ = true;
  waiting_ = admission_.gate().TakeTurn(
      place, deadline_, [this, shared = std::move(shared), place](const absl::StatusOr<FairGate::Place>& turn) {
        absl::StatusOr<HeldPlace> held = place;
        if (!turn.ok()) held = turn.status();
        shared->OnEntered(held);
        OnPlace(std::move(held));
      });
}

void AdmittedCall::AskGate(std::shared_ptr<SharedPlace> shared) {
  waiting_ = admission_.gate().Enter(caller_, admission_.callers().count(), deadline_,
                                     [this, shared = std::move(shared)](absl::StatusOr<FairGate::Place> place) {
                                       absl::StatusOr<HeldPlace> held = HeldIn(std::move(place));
                                       if (shared != nullptr) shared->OnEntered(held);
                                       OnPlace(std::move(held));
                                     });
}

void AdmittedCall::OnPlace(absl::StatusOr<HeldPlace> place) {
  EndWait("admission_queue");
  if (!place.ok()) return End(place.status());
  place_ = *std::move(place);
  std::vector<int> by_address;
  for (int i = 0; i < question_.images_size(); ++i) {
    if (question_.images(i).has_url()) by_address.push_back(i);
  }
  by_address.empty() ? End(absl::OkStatus()) : Fetch(std::move(by_address));
}

void AdmittedCall::Fetch(std::vector<int> by_address) {
  ImageFetcher::Request request{.caller = std::string(caller_name()),
                                .urls = {},
                                .fields = {},
                                .deadline = deadline_,
                                .take = [this](int64_t bytes) { return memory_.Grow(bytes); },
                                .done = [this](auto fetched) { OnFetched(std::move(fetched)); }};
  for (const int i : by_address) {
    request.urls.push_back(question_.images(i).url());
    request.fields.push_back(absl::StrCat("question.images[", i, "]"));
  }
  // From Prepare on Abandon may end the call, and this object with it.
  ImageFetcher& fetcher = *admission_.fetcher();
  const auto leaving = leaving_;
  const ImageFetcher::Id id = fetcher.Prepare(std::move(request));
  leaving->fetch = id;
  // Whichever of these two and of those in Abandon comes last sees the other's word.
  if (leaving->abandoned) fetcher.Cancel(id);
  fetcher.Run(id);
}

void AdmittedCall::OnFetched(absl::StatusOr<std::vector<std::string>> fetched) {
  EndWait("image_fetch");
  End(fetched.ok() ? TakeImages(*std::move(fetched)) : fetched.status());
}

absl::Status AdmittedCall::TakeImages(std::vector<std::string> fetched) {
  size_t next = 0;
  for (v1::Image& image : *question_.mutable_images()) {
    if (image.has_url()) image.set_data(std::move(fetched[next++]));
  }
  return admission_.Check(question_);
}

void AdmittedCall::EndWait(std::string_view what) {
  const SteadyTime now = SteadyClock::now();
  waits_.push_back({what, std::exchange(waits_since_, now), now});
}

void AdmittedCall::End(const absl::Status& status) {
  const auto entered = std::exchange(entered_, nullptr);
  status.ok() ? entered(std::exchange(question_, {})) : entered(status);
}

void AdmittedCall::Abandon() {
  leaving_->abandoned = true;
  if (const ImageFetcher::Id fetch = leaving_->fetch; fetch != 0) admission_.fetcher()->Cancel(fetch);
  admission_.gate().Abandon(waiting_, CallerLeft());
}

}  // namespace diptych::gateway
