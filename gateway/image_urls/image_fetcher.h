// Images that are given by address.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "common/stage_clock.h"
#include "gateway/image_urls/fetch_queue.h"
#include "gateway/image_urls/https_get.h"

namespace diptych::gateway {

// Fetches on threads of its own, so that neither gRPC's nor HTTP's wait for a stranger's server. A quarter of them is
// left to others, whatever one key has to fetch. Thread-safe.
class ImageFetcher {
 public:
  using Id = uint64_t;

  struct Request {
    std::string caller;               // the name of the key; empty where there are none
    std::vector<std::string> urls;    // fetched one after the other
    std::vector<std::string> fields;  // their places in the request, for errors: "question.images[0]"
    SteadyTime deadline;
    // Memory for so many more bytes. Called from a thread of the fetcher, never after `done`.
    std::function<absl::Status(int64_t bytes)> take;
    // Called once, on a thread of the fetcher, a timer's or Cancel's: all bodies in order, or the first error: those of
    // HttpsGet with the field, DEADLINE_EXCEEDED, CANCELLED.
    std::function<void(absl::StatusOr<std::vector<std::string>>)> done;
  };

  ImageFetcher(FetchRules rules, int threads, int waiting);
  // Ends what runs and waits; their `done` has been called afterwards.
  ~ImageFetcher();

  // In two steps, so that the id is known before `done` can be called. Each Prepare is followed by one Run, which
  // does nothing if the id was cancelled in between. RESOURCE_EXHAUSTED with QUEUE_FULL, through `done`, if too many
  // wait.
  Id Prepare(Request request);
  void Run(Id id);

  // `done` gets CANCELLED unless it has been called. Nothing for an id that has ended.
  void Cancel(Id id);

 private:
  class Job;

  void Work();
  std::shared_ptr<Job> Find(Id id);
  void Forget(Id id);
  absl::StatusOr<std::vector<std::string>> FetchAll(Job& job) const;
  absl::StatusOr<std::string> Fetch(Job& job, std::string url, SteadyTime until) const;

  const FetchRules rules_;
  FetchQueue<std::shared_ptr<Job>> queue_;
  Mutex mutex_;
  Id last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unordered_map<Id, std::shared_ptr<Job>> jobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace diptych::gateway
