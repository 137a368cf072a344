#include "gateway/image_urls/image_fetcher.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/grpc/call_context.h"
#include "common/mutex.h"
#include "common/process/catch_exceptions.h"
#include "common/status.h"
#include "gateway/deadline_timer.h"

namespace diptych::gateway {
namespace {

constexpr Stage kFetchStage = Stage::kGateway;
constexpr std::chrono::seconds kAfterDeadline(1);

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// A reason without a field gets the field.
absl::Status InField(const absl::Status& status, const std::string& field) {
  if (status.code() != absl::StatusCode::kInvalidArgument) return status;
  return InvalidField(ReasonOf(status), field, std::string(status.message()));
}

absl::Status FetchFailed(std::string what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageUrlFailed, what + "; send the image itself");
}

}  // namespace

// Ends once, by the first of: the thread that fetches, the deadline, the caller.
class ImageFetcher::Job {
 public:
  Job(Id id, Request request) : id_(id), request_(std::move(request)) {}

  Id id() const { return id_; }
  const std::string& caller() const { return request_.caller; }
  const std::vector<std::string>& urls() const { return request_.urls; }
  const std::string& field(size_t index) const { return request_.fields[index]; }
  SteadyTime deadline() const { return request_.deadline; }
  bool wanted() const { return !ended_; }

  void Keep(std::unique_ptr<DeadlineTimer> timer) {
    MutexLock lock(mutex_);
    if (!ended_) timer_ = std::move(timer);
  }

  absl::Status Take(int64_t bytes) {
    MutexLock lock(mutex_);
    return ended_ ? CallerLeft() : request_.take(bytes);
  }

  void End(absl::StatusOr<std::vector<std::string>> result) {
    std::unique_ptr<DeadlineTimer> timer;
    {
      MutexLock lock(mutex_);
      if (ended_.exchange(true)) return;
      timer = std::move(timer_);
    }
    request_.done(std::move(result));
  }

 private:
  const Id id_;
  const Request request_;
  Mutex mutex_;
  std::atomic<bool> ended_ = false;  // set under the mutex
  std::unique_ptr<DeadlineTimer> timer_ ABSL_GUARDED_BY(mutex_);
};

ImageFetcher::ImageFetcher(FetchRules rules, int threads, int waiting)
    : rules_(std::move(rules)), queue_(static_cast<size_t>(waiting), std::max(threads * 3 / 4, 1)) {
  StartHttps();
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

ImageFetcher::~ImageFetcher() {
  queue_.Close();
  std::unordered_map<Id, std::shared_ptr<Job>> jobs;
  {
    MutexLock lock(mutex_);
    jobs.swap(jobs_);
  }
  for (const auto& [id, job] : jobs) job->End(absl::CancelledError("the server is shutting down"));
  for (std::thread& thread : threads_) thread.join();
}

ImageFetcher::Id ImageFetcher::Prepare(Request request) {
  MutexLock lock(mutex_);
  const Id id = ++last_id_;
  jobs_.emplace(id, std::make_shared<Job>(id, std::move(request)));
  return id;
}

void ImageFetcher::Run(Id id) {
  std::shared_ptr<Job> job = Find(id);
  if (job == nullptr) return;
  job->Keep(std::make_unique<DeadlineTimer>(job->deadline(), [weak = std::weak_ptr(job)] {
    if (const auto late = weak.lock()) late->End(DeadlinePassed(kFetchStage));
  }));
  if (queue_.TryPush(job->caller(), job)) return;
  Forget(id);
  job->End(RetryLater(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                      "too many images are being fetched from addresses", absl::Seconds(1)));
}

void ImageFetcher::Cancel(Id id) {
  const std::shared_ptr<Job> job = Find(id);
  if (job == nullptr) return;
  queue_.Remove(job->caller(), job);
  Forget(id);
  job->End(CallerLeft());
}

std::shared_ptr<ImageFetcher::Job> ImageFetcher::Find(Id id) {
  MutexLock lock(mutex_);
  const auto found = jobs_.find(id);
  return found == jobs_.end() ? nullptr : found->second;
}

void ImageFetcher::Forget(Id id) {
  MutexLock lock(mutex_);
  jobs_.erase(id);
}

void ImageFetcher::Work() {
  while (const auto turn = queue_.Pop()) {
    const std::shared_ptr<Job>& job = turn->item;
    if (job->wanted()) {
      absl::StatusOr<std::vector<std::string>> bodies;
      const absl::Status fetched = CatchExceptions(NameOf(kFetchStage), [&] {
        bodies = FetchAll(*job);
        return bodies.status();
      });
      CatchInThread(NameOf(kFetchStage), [&] { job->End(fetched.ok() ? std::move(bodies) : fetched); });
    }
    Forget(job->id());
    queue_.Done(turn->caller);
  }
}

absl::StatusOr<std::vector<std::string>> ImageFetcher::FetchAll(Job& job) const {
  // The deadline has a timer, which is to come first and say so.
  const SteadyTime until = std::min(job.deadline() + kAfterDeadline, FromNow(rules_.total_timeout));
  std::vector<std::string> bodies;
  for (size_t i = 0; i < job.urls().size(); ++i) {
    absl::StatusOr<std::string> body = Fetch(job, job.urls()[i], until);
    if (!body.ok()) return InField(body.status(), job.field(i));
    bodies.push_back(*std::move(body));
  }
  return bodies;
}

// Each hop is a request of its own, checked like the first.
absl::StatusOr<std::string> ImageFetcher::Fetch(Job& job, std::string url, SteadyTime until) const {
  for (int hop = 0; hop <= rules_.max_redirects; ++hop) {
    const SteadyDuration left = until - SteadyClock::now();
    if (left <= SteadyDuration::zero()) return FetchFailed("fetching the image took too long");
    DIPTYCH_ASSIGN_OR_RETURN(HttpsReply reply, HttpsGet({.url = url,
                                                         .timeout = absl::FromChrono(left),
                                                         .wanted = [&job] { return job.wanted(); },
                                                         .take = [&job](int64_t bytes) { return job.Take(bytes); }},
                                                        rules_));
    if (reply.status == 200) return std::move(reply.body);
    if (!IsRedirect(reply.status) || reply.location.empty()) {
      return FetchFailed(absl::StrCat("the image's address answered with HTTP status ", reply.status));
    }
    url = std::move(reply.location);
  }
  return FetchFailed(absl::StrCat("the image's address led on more than ", rules_.max_redirects, " times"));
}

}  // namespace diptych::gateway
