#include "cli/pull/download.h"

#include <curl/curl.h>

#include <algorithm>
#include <deque>
#include <list>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/connection/errors.h"
#include "cli/pull/range_request.h"
#include "cli/pull/retry.h"
#include "common/status.h"
#include "common/steady_clock.h"

namespace diptych::cli {
namespace {

constexpr int64_t kCheckedAtOnce = 8 << 20;  // bytes between two looks at the network
constexpr int kLookMilliseconds = 100;
constexpr absl::Duration kUnnoticed = absl::Milliseconds(500);

// A range of one file that no connection is downloading.
struct Waiting {
  WantedFile* file;
  int range;
  int tries = 1;
  SteadyTime not_before = {};
};

class Downloader {
 public:
  Downloader(const Hub& hub, std::vector<WantedFile>& files, const DownloadOptions& options)
      : hub_(hub),
        files_(files),
        options_(options),
        headers_(HeadersFor(hub)),
        multi_(curl_multi_init(), curl_multi_cleanup) {
    for (WantedFile& file : files_) Enqueue(file);
  }
  ~Downloader() {
    while (!running_.empty()) Remove(running_.begin());
  }

  absl::Status Run() {
    if (multi_ == nullptr) return absl::InternalError("libcurl does not start");
    while (true) {
      if (options_.stopped()) return absl::CancelledError("stopped");
      DIPTYCH_RETURN_IF_ERROR(StartRequests());
      int active = 0;
      curl_multi_perform(multi_.get(), &active);
      DIPTYCH_RETURN_IF_ERROR(ReadEnds());
      bool busy = false;
      DIPTYCH_RETURN_IF_ERROR(CheckFiles(busy));
      Report();
      if (std::all_of(files_.begin(), files_.end(), [](const WantedFile& file) { return file.partial == nullptr; })) {
        return absl::OkStatus();
      }
      curl_multi_poll(multi_.get(), nullptr, 0, busy ? 0 : kLookMilliseconds, nullptr);
    }
  }

 private:
  struct Running {
    std::unique_ptr<RangeRequest> request;
    int tries;
  };
  using Place = std::list<Running>::iterator;

  void Enqueue(WantedFile& file) {
    for (int range = 0; range < file.partial->ranges(); ++range) {
      if (file.partial->Next(range) < file.partial->End(range)) waiting_.push_back({.file = &file, .range = range});
    }
  }

  absl::Status StartRequests() {
    for (size_t looked = waiting_.size(); looked > 0 && running_.size() < size_t(options_.connections); --looked) {
      const Waiting next = waiting_.front();
      waiting_.pop_front();
      if (next.not_before > SteadyClock::now()) {
        waiting_.push_back(next);
        continue;
      }
      auto request = std::make_unique<RangeRequest>(hub_, headers_.get(), *next.file, next.range);
      if (request->curl() == nullptr) return absl::InternalError("libcurl does not start");
      curl_multi_add_handle(multi_.get(), request->curl());
      running_.push_back({.request = std::move(request), .tries = next.tries});
    }
    return absl::OkStatus();
  }

  void Remove(Place place) {
    curl_multi_remove_handle(multi_.get(), place->request->curl());
    running_.erase(place);
  }

  absl::Status ReadEnds() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
      const CURL* curl = message->easy_handle;
      const CURLcode code = message->data.result;
      const auto place = std::find_if(running_.begin(), running_.end(),
                                      [curl](const Running& running) { return running.request->curl() == curl; });
      if (place != running_.end()) DIPTYCH_RETURN_IF_ERROR(End(place, code));
    }
    return absl::OkStatus();
  }

  absl::Status End(Place place, CURLcode code) {
    RangeRequest& request = *place->request;
    const RangeRequest::End end = request.Judge(code);
    if (end == RangeRequest::End::kFailed) return request.Error(options_.model);
    if (end == RangeRequest::End::kNoRanges) {
      return ++request.file().restarts < kTries ? FetchAsOne(request.file()) : request.Error(options_.model);
    }
    if (end == RangeRequest::End::kAgain) {
      const int next = request.brought() ? 2 : place->tries + 1;
      const auto pause = BreakBefore(next, request.retry_after());
      if (!pause) return request.Error(options_.model);
      if (request.retry_after() > kUnnoticed) {
        options_.say(absl::StrCat("the hub asks for a break of ", absl::FormatDuration(*pause)));
      }
      waiting_.push_back(
          {.file = &request.file(), .range = request.range(), .tries = next, .not_before = FromNow(*pause)});
    }
    Remove(place);
    return absl::OkStatus();
  }

  // For a server that does not know ranges.
  absl::Status FetchAsOne(WantedFile& file) {
    for (auto place = running_.begin(); place != running_.end();) {
      const auto here = place++;
      if (&here->request->file() == &file) Remove(here);
    }
    std::erase_if(waiting_, [&file](const Waiting& waiting) { return waiting.file == &file; });
    DIPTYCH_RETURN_IF_ERROR(file.partial->RestartAsOneRange());
    waiting_.push_back({.file = &file, .range = 0});
    return absl::OkStatus();
  }

  bool IsBeingFetched(const WantedFile& file) const {
    return std::any_of(running_.begin(), running_.end(),
                       [&file](const Running& running) { return &running.request->file() == &file; });
  }

  absl::Status CheckFiles(bool& busy) {
    for (WantedFile& file : files_) {
      if (file.partial == nullptr) continue;
      DIPTYCH_ASSIGN_OR_RETURN(const bool some, file.partial->CheckSome(kCheckedAtOnce));
      busy |= some;
      if (!file.partial->IsChecked() || IsBeingFetched(file)) continue;
      const absl::Status finished = file.partial->Finish(file.path);
      if (absl::IsDataLoss(finished)) return WrongChecksum(file);
      DIPTYCH_RETURN_IF_ERROR(finished);
      finished_ += file.partial->size();
      file.partial = nullptr;
    }
    return absl::OkStatus();
  }

  static absl::Status WrongChecksum(const WantedFile& file) {
    return WithRemedy(
        MakeError(
            absl::StatusCode::kDataLoss, "HUB_WRONG_CHECKSUM",
            absl::StrCat(file.name, " arrived with another checksum than the hub names; nothing of ", "it is kept")),
        "Try again; if a proxy or mirror is between (https_proxy, HF_ENDPOINT), go without it.");
  }

  void Report() {
    int64_t done = finished_;
    for (const WantedFile& file : files_) {
      if (file.partial != nullptr) done += file.partial->Done();
    }
    options_.progress(done);
  }

  const Hub& hub_;
  std::vector<WantedFile>& files_;
  const DownloadOptions& options_;
  const Headers headers_;
  const std::unique_ptr<CURLM, decltype(&curl_multi_cleanup)> multi_;
  std::deque<Waiting> waiting_;
  std::list<Running> running_;
  int64_t finished_ = 0;  // bytes of files that are in their place
};

}  // namespace

absl::Status Download(const Hub& hub, std::vector<WantedFile>& files, const DownloadOptions& options) {
  return Downloader(hub, files, options).Run();
}

}  // namespace diptych::cli
