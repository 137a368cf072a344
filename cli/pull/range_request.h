// One range of one file, being fetched.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "cli/pull/download.h"
#include "cli/pull/hub_client.h"

namespace diptych::cli {

// Stays where it is while libcurl has it.
class RangeRequest {
 public:
  // Asks for what the range lacks. `headers` outlives it.
  RangeRequest(const Hub& hub, const curl_slist* headers, WantedFile& file, int range);
  RangeRequest(const RangeRequest&) = delete;
  RangeRequest& operator=(const RangeRequest&) = delete;

  CURL* curl() const { return curl_.get(); }
  WantedFile& file() const { return file_; }
  int range() const { return range_; }

  enum class End {
    kDone,      // the range is whole
    kAgain,     // it broke off, or the hub asks for a break
    kNoRanges,  // the server sends files only as a whole
    kFailed,
  };
  // Its outcome, after libcurl has ended it with `code`.
  End Judge(CURLcode code);
  // Whether it was worth its while.
  bool brought() const;
  // Of kAgain and kFailed; has a remedy.
  absl::Status Error(const HubName& model) const;
  absl::Duration retry_after() const { return reply_.retry_after; }

 private:
  static size_t OnBody(char* piece, size_t, size_t size, void* to);
  static size_t OnHeader(char* line, size_t, size_t size, void* to);
  // Whether the answer's headers announce the bytes that were asked for; sets `end_` and `fault_` if not.
  bool Announces();
  bool Refuse();  // the same for a status that is no success
  bool Fail(End end, absl::Status fault);

  const Hub& hub_;
  WantedFile& file_;
  const int range_;
  const int64_t begin_;
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl_;
  Reply reply_;
  CURLcode code_ = CURLE_OK;
  bool checked_ = false;
  End end_ = End::kDone;
  absl::Status fault_;
};

}  // namespace diptych::cli
