// Decides at once whether a request is taken, and leads it from its arrival to the tiers: caller, memory, checks,
// place, images.
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/containers/byte_budget.h"
#include "common/requests/question_limits.h"
#include "common/stage_clock.h"
#include "diptych/v1/gateway.pb.h"
#include "gateway/admission/api_keys.h"
#include "gateway/admission/fair_gate.h"
#include "gateway/admission/pending_messages.h"
#include "gateway/admission/shared_places.h"
#include "gateway/image_urls/image_fetcher.h"

namespace diptych::gateway {

struct AdmissionOptions {
  QuestionLimits limits;
  std::vector<std::string> model_aliases = {};  // further names of the served model
  int max_inflight = 0;
  int64_t max_inflight_bytes = 0;
  int max_waiting = 0;        // requests that may wait for a place
  bool shared_cache = false;  // callers with keys share what was computed for others
};

// Outlives all calls. Thread-safe.
class Admission {
 public:
  // `callers` and `fetcher` must outlive it. Without a `fetcher` no image is fetched. `served_model` returns the name
  // of the served model, empty while it is unknown; `narrow` lowers bounds on images to what the tiers take.
  Admission(const AdmissionOptions& options, const Callers& callers, ImageFetcher* fetcher,
            std::function<std::string()> served_model, std::function<void(ImageLimits&)> narrow = nullptr);

  // Memory that one request holds, counted for all and for its caller.
  class Memory {
   public:
    // The errors of Reserve; what is held stays.
    absl::Status Grow(int64_t message_bytes);
    // Releases all but an answer of this many bytes, of which the first kCallBytes are not counted.
    void KeepOnly(int64_t answer_bytes);

   private:
    friend class Admission;
    std::shared_ptr<ByteBudget> callers_;
    ByteBudget::Lease of_texts_;  // empty for a question
    ByteBudget::Lease of_caller_;
    ByteBudget::Lease of_all_;
  };

  // Memory for a request message of this many bytes. Comes before the message is read; lives as long as the request.
  // RESOURCE_EXHAUSTED with QUEUE_FULL if it does not fit with the others, or if a caller with a key would hold more
  // than half of all there is and more than the largest request needs.
  absl::StatusOr<Memory> Reserve(const Caller& caller, int64_t message_bytes);
  // The same for a request without images, which takes no place: all of these together get a quarter of the memory, so
  // that they keep no question out.
  absl::StatusOr<Memory> ReserveText(const Caller& caller, int64_t message_bytes);
  // The least max_inflight_bytes with which every question within `limits` can be taken.
  static int64_t LeastBytes(const QuestionLimits& limits);

  // Errors: those of CheckQuestion, where a URL that may be fetched passes, unread, and what follows it is not looked
  // at: check again when it has been fetched; NOT_FOUND with MODEL_UNKNOWN if it names another model than the served
  // one. Comes before the gate: waiting would not fix these.
  absl::Status Check(const v1::Question& question) const;

  // NOT_FOUND with MODEL_UNKNOWN, telling the name to use, if nothing of this name is served. An empty name, and any
  // name while the served one is unknown, passes.
  absl::Status CheckModel(const std::string& name) const;
  bool IsAlias(const std::string& name) const;
  // All names of the served model, its own first; empty while it is unknown.
  std::vector<std::string> model_names() const;
  // Whether none can tell what another asked: callers have keys, and the operator does not let them share the caches.
  bool separates_callers() const { return callers_.need_keys() && !shared_cache_; }
  // Separates the caches of callers, so that times and counts of one tell nothing of another. Empty where nothing does.
  std::string CacheSaltOf(const Caller& caller) const;

  // The gateway's own limits or the tiers', whichever are less.
  QuestionLimits limits() const;
  const Callers& callers() const { return callers_; }
  ImageFetcher* fetcher() const { return fetcher_; }
  FairGate& gate() { return *gate_; }
  SharedPlaces& shared_places() { return shared_places_; }
  PendingMessages& pending_messages() { return pending_messages_; }
  const ByteBudget& memory() const { return memory_; }
  v1::Limits ToProto() const;

 private:
  const QuestionLimits limits_;
  const std::vector<std::string> model_aliases_;
  const int max_inflight_;
  const bool shared_cache_;
  const Callers& callers_;
  ImageFetcher* const fetcher_;
  const std::function<std::string()> served_model_;
  const std::function<void(ImageLimits&)> narrow_;
  const std::shared_ptr<FairGate> gate_;
  ByteBudget memory_;
  ByteBudget texts_;            // part of memory_
  ByteBudgets callers_memory_;  // likewise; of each that has a key
  SharedPlaces shared_places_;
  PendingMessages pending_messages_;
};

// The memory and place of one call, held until it is destroyed. Thread-compatible, except Abandon.
class AdmittedCall {
 public:
  // `shared`: the place that it shares with other questions of its request; empty if it asks alone.
  AdmittedCall(Admission& admission, SteadyTime deadline, std::weak_ptr<SharedPlace> shared = {})
      : admission_(admission), deadline_(deadline), shared_(std::move(shared)) {}

  // Reads the message, once there is memory for it. `caller`: an error if it is unknown. Errors: that one, and those
  // of Admission::Reserve and TakeRequest.
  absl::Status Read(absl::StatusOr<Caller> caller, const grpc::ByteBuffer& bytes, google::protobuf::Message& message);
  // Memory for so much more.
  absl::Status Grow(int64_t message_bytes) { return memory_.Grow(message_bytes); }

  // What Enter waited for, once it has called `entered`.
  struct Waited {
    std::string_view what;  // "admission_queue", "image_fetch"
    SteadyTime begin, end;
  };
  const std::vector<Waited>& waits() const { return waits_; }

  // Once, before gRPC has the call's reactor. Checks the question, waits for a place, fetches what is given by address.
  // `entered` is called once, also before this returns, on whichever thread comes last, and gets the question with all
  // its images. Errors: those of Admission::Check, FairGate::Enter and ImageFetcher.
  void Enter(v1::Question question, std::function<void(absl::StatusOr<v1::Question>)> entered);

  // The caller left: ends a wait in Enter with CANCELLED. From any thread, at any time.
  void Abandon();

  // Of the caller's key; empty without keys.
  std::string_view caller_name() const { return caller_ == nullptr ? std::string_view() : caller_->name; }
  std::string cache_salt() const { return admission_.CacheSaltOf(caller_); }
  // Whether the tier has no room for the question at the moment.
  void SetRefused(bool refused);
  // With keys a question that the tier has no room for waits for it, as those wait that have no place; so does one
  // whose request has begun with another.
  bool waits_for_room() const { return caller_ != nullptr || follows_; }
  // Counts tokens against the caller's limit. Nothing after Release.
  void Charge(int64_t tokens);
  // Gives the place back, and the memory but for an answer of this many bytes. Comes before the last message leaves, so
  // that a caller who asks again at once finds them free. Idempotent.
  void Release(int64_t answer_bytes);

 private:
  void AskGate(std::shared_ptr<SharedPlace> shared);
  void TakeTurn(std::shared_ptr<SharedPlace> shared, HeldPlace place);
  void OnPlace(absl::StatusOr<HeldPlace> place);
  void Fetch(std::vector<int> by_address);
  void OnFetched(absl::StatusOr<std::vector<std::string>> images);
  // Puts them where their addresses are, and checks the whole again.
  absl::Status TakeImages(std::vector<std::string> images);
  void EndWait(std::string_view what);
  void End(const absl::Status& status);

  Admission& admission_;
  const SteadyTime deadline_;
  Caller caller_;
  Admission::Memory memory_;
  v1::Question question_;  // until it has entered
  std::function<void(absl::StatusOr<v1::Question>)> entered_;
  std::atomic<FairGate::Id> waiting_ = 0;
  // Of its own, because the call may end while Fetch still looks at it.
  struct Leaving {
    std::atomic<ImageFetcher::Id> fetch = 0;
    std::atomic<bool> abandoned = false;
  };
  const std::shared_ptr<Leaving> leaving_ = std::make_shared<Leaving>();
  const std::weak_ptr<SharedPlace> shared_;
  HeldPlace place_;
  bool follows_ = false;
  bool refused_ = false;
  SteadyTime waits_since_{};
  std::vector<Waited> waits_;
};

}  // namespace diptych::gateway
