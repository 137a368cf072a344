#include "cli/pull/range_request.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/connection/errors.h"
#include "cli/pull/hub_errors.h"
#include "cli/pull/retry.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr long kBufferBytes = 256 << 10;
constexpr int kPartOnly = 206, kForbidden = 403, kNoSuchRange = 416;

absl::Status WrongSize(const std::string& file) {
  return WithRemedy(MakeError(absl::StatusCode::kDataLoss, "HUB_WRONG_SIZE",
                              absl::StrCat("the hub sends other bytes of ", file, " than it announced")),
                    "Try again; if a proxy or mirror is between (https_proxy, HF_ENDPOINT), go without it.");
}

// The storage that a redirect names: it knows no token, but its addresses are valid for a while only.
absl::Status StorageRefuses(const std::string& file) {
  return WithRemedy(MakeError(absl::StatusCode::kPermissionDenied, "FORBIDDEN",
                              absl::StrCat("the storage that the hub names does not give ", file, " (status 403)")),
                    kMirrorRemedy);
}

absl::Status NoRanges(const std::string& file) {
  return WithRemedy(
      MakeError(absl::StatusCode::kUnavailable, "HUB_UNREACHABLE",
                absl::StrCat("the connection breaks off again and again, and the server does not send the "
                             "rest of ",
                             file, " alone")),
      "Try again on a better connection, or another HF_ENDPOINT.");
}

}  // namespace

RangeRequest::RangeRequest(const Hub& hub, const curl_slist* headers, WantedFile& file, int range)
    : hub_(hub),
      file_(file),
      range_(range),
      begin_(file.partial->Next(range)),
      curl_(curl_easy_init(), curl_easy_cleanup) {
  CURL* curl = curl_.get();
  if (curl == nullptr) return;
  SetUpRequest(curl, hub, file.url, headers);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(curl, CURLOPT_PRIVATE, this);
  const PartialFile& partial = *file.partial;
  if (begin_ == 0 && partial.ranges() == 1) return;
  curl_easy_setopt(curl, CURLOPT_RANGE, absl::StrCat(begin_, "-", partial.End(range) - 1).c_str());
}

size_t RangeRequest::OnHeader(char* line, size_t, size_t size, void* to) {
  Reply& reply = static_cast<RangeRequest*>(to)->reply_;
  const std::string text(line, size);
  if (absl::StartsWith(text, "HTTP/")) reply.headers.clear();
  const size_t colon = text.find(':');
  const std::string name = absl::AsciiStrToLower(text.substr(0, colon));
  if (colon != std::string::npos && (name == "content-range" || name == "x-error-code" || name == "ratelimit")) {
    reply.headers[name] = std::string(absl::StripAsciiWhitespace(text.substr(colon + 1)));
  }
  return size;
}

bool RangeRequest::Fail(End end, absl::Status fault) {
  end_ = end;
  fault_ = std::move(fault);
  return false;
}

bool RangeRequest::Refuse() {
  char* address = nullptr;
  curl_easy_getinfo(curl(), CURLINFO_EFFECTIVE_URL, &address);
  const bool by_storage = address != nullptr && !IsOnHub(hub_, address);
  if (reply_.status == kNoSuchRange) return Fail(End::kAgain, WrongSize(file_.name));
  if (reply_.status == kForbidden && by_storage) return Fail(End::kAgain, StorageRefuses(file_.name));
  return Fail(IsPassing(reply_.status) ? End::kAgain : End::kFailed, absl::OkStatus());
}

bool RangeRequest::Announces() {
  long status = 0;
  curl_off_t length = -1;
  curl_easy_getinfo(curl(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(curl(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  reply_.status = static_cast<int>(status);
  PartialFile& partial = *file_.partial;
  if (status == kPartOnly) {
    const std::string range = absl::AsciiStrToLower(reply_.Header("content-range"));
    const std::string expected = absl::StrCat("bytes ", begin_, "-", partial.End(range_) - 1, "/");
    if (range == absl::StrCat(expected, partial.size()) || range == expected + "*") return true;
    return Fail(End::kAgain, WrongSize(file_.name));
  }
  if (status != kHttpOk) return Refuse();
  if (length >= 0 && length != partial.size()) return Fail(End::kAgain, WrongSize(file_.name));
  return begin_ == 0 && partial.ranges() == 1 ? true : Fail(End::kNoRanges, NoRanges(file_.name));
}

size_t RangeRequest::OnBody(char* piece, size_t, size_t size, void* to) {
  RangeRequest& self = *static_cast<RangeRequest*>(to);
  if (!std::exchange(self.checked_, true) && !self.Announces()) return 0;
  const absl::Status status = self.file_.partial->Append(self.range_, {piece, size});
  if (status.ok()) return size;
  const bool too_many = absl::IsOutOfRange(status);
  self.Fail(too_many ? End::kAgain : End::kFailed, too_many ? WrongSize(self.file_.name) : status);
  return 0;
}

bool RangeRequest::brought() const {
  constexpr int64_t kWorthwhile = 64 << 10;
  return file_.partial->Next(range_) - begin_ >= kWorthwhile;
}

RangeRequest::End RangeRequest::Judge(CURLcode code) {
  code_ = code;
  if (code == CURLE_OK && !checked_) Announces();  // an answer without a body
  reply_.retry_after = BreakAskedFor(curl(), reply_);
  const bool refused = reply_.status != 0 && reply_.status != kHttpOk && reply_.status != kPartOnly;
  if (refused) return end_;
  if (file_.partial->Next(range_) == file_.partial->End(range_)) return End::kDone;
  if (end_ != End::kDone) return end_;
  if (code == CURLE_OK) code_ = CURLE_PARTIAL_FILE;
  return IsPassingOnceReached(code_) ? End::kAgain : End::kFailed;
}

absl::Status RangeRequest::Error(const HubName& model) const {
  if (!fault_.ok()) return fault_;
  const bool refused = reply_.status != 0 && reply_.status != kHttpOk && reply_.status != kPartOnly;
  if (refused) return ErrorOfReply(reply_, hub_, model, file_.name);
  return Annotate(ErrorOfTransfer(curl(), code_, hub_), file_.name);
}

}  // namespace diptych::cli
