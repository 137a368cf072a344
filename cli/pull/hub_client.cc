#include "cli/pull/hub_client.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "cli/connection/errors.h"
#include "cli/pull/hub_errors.h"
#include "cli/pull/retry.h"
#include "common/status.h"
#include "common/steady_clock.h"

namespace diptych::cli {
namespace {

constexpr long kMostRedirects = 5;
constexpr size_t kMostHeaders = 200;

struct ReplyReceiver {
  Reply reply = {};
  size_t max_bytes = 0;
  bool too_large = false;
};

size_t ReceiveBody(char* piece, size_t, size_t size, void* to) {
  ReplyReceiver& receiver = *static_cast<ReplyReceiver*>(to);
  receiver.too_large |= receiver.reply.body.size() + size > receiver.max_bytes;
  if (receiver.too_large) return 0;
  receiver.reply.body.append(piece, size);
  return size;
}

// Keeps the headers of the last answer; each begins with a line of its own.
size_t ReceiveHeader(char* line, size_t, size_t size, void* to) {
  auto& headers = static_cast<ReplyReceiver*>(to)->reply.headers;
  const std::string text(line, size);
  if (absl::StartsWith(text, "HTTP/")) headers.clear();
  const size_t colon = text.find(':');
  if (colon != std::string::npos && headers.size() < kMostHeaders) {
    headers[absl::AsciiStrToLower(text.substr(0, colon))] =
        std::string(absl::StripAsciiWhitespace(text.substr(colon + 1)));
  }
  return size;
}

int AskWhetherStopped(void* stopped, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return (*static_cast<const std::function<bool()>*>(stopped))() ? 1 : 0;
}

}  // namespace

std::string Reply::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

Headers HeadersFor(const Hub& hub) {
  curl_slist* headers = curl_slist_append(nullptr, "Accept-Encoding: identity");
  if (!hub.token.empty()) headers = curl_slist_append(headers, ("Authorization: Bearer " + hub.token).c_str());
  return Headers(headers);
}

void SetUpRequest(CURL* curl, const Hub& hub, const std::string& url, const curl_slist* headers) {
  const char* protocols = hub.secure() ? "https" : "http,https";
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, protocols);
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kMostRedirects);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION,
                   static_cast<long>(CURL_HTTP_VERSION_1_1));  // a connection for each range
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, absl::ToInt64Milliseconds(hub.patience));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(absl::ToInt64Seconds(hub.patience)));
  curl_easy_setopt(curl, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "diptych");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  if (const char* authorities = std::getenv("SSL_CERT_FILE")) curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
}

absl::Duration BreakAskedFor(CURL* curl, const Reply& reply) {
  curl_off_t seconds = 0;
  curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &seconds);
  if (seconds > 0 || reply.status != 429) return absl::Seconds(seconds);
  int64_t reset = 0;
  for (const absl::string_view part : absl::StrSplit(reply.Header("ratelimit"), ';')) {
    const absl::string_view word = absl::StripAsciiWhitespace(part);
    if (absl::StartsWith(word, "t=") && absl::SimpleAtoi(word.substr(2), &reset)) break;
  }
  return absl::Seconds(std::clamp<int64_t>(reset, 0, 86'400));
}

HubClient::HubClient(const Hub& hub, std::function<bool()> stopped)
    : hub_(hub), stopped_(std::move(stopped)), headers_(HeadersFor(hub)), curl_(curl_easy_init(), curl_easy_cleanup) {}

absl::StatusOr<Reply> HubClient::Try(const std::string& url, size_t max_bytes, bool head) {
  CURL* curl = curl_.get();
  if (curl == nullptr) return absl::InternalError("libcurl does not start");
  ReplyReceiver receiver{.max_bytes = max_bytes};
  curl_easy_reset(curl);
  SetUpRequest(curl, hub_, url, headers_.get());
  curl_easy_setopt(curl, CURLOPT_NOBODY, head ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, head ? 0L : 1L);
  curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");  // some proxies compress unasked
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ReceiveBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &receiver);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, ReceiveHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &receiver);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, AskWhetherStopped);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &stopped_);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  const CURLcode code = curl_easy_perform(curl);
  if (stopped_()) return absl::CancelledError("stopped");
  if (receiver.too_large) {
    return WithRemedy(
        MakeError(absl::StatusCode::kOutOfRange, "HUB_FAILED", "the hub's answer is larger than any of its kind"),
        kMirrorRemedy);
  }
  if (code != CURLE_OK) return ErrorOfTransfer(curl, code, hub_);
  long status = 0;
  char* redirect = nullptr;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &redirect);
  receiver.reply.status = static_cast<int>(status);
  receiver.reply.retry_after = BreakAskedFor(curl, receiver.reply);
  if (redirect != nullptr) receiver.reply.redirect = redirect;
  return std::move(receiver.reply);
}

absl::StatusOr<Reply> HubClient::Insist(const std::string& url, size_t max_bytes, bool head) {
  for (int next = 2;; ++next) {
    auto reply = Try(url, max_bytes, head);
    const bool again = reply.ok() ? IsPassing(reply->status) : IsPassingError(reply.status());
    if (!again) return reply;
    const auto pause = BreakBefore(next, reply.ok() ? reply->retry_after : absl::ZeroDuration());
    if (!pause) return reply;
    for (const SteadyTime end = FromNow(*pause); SteadyClock::now() < end; absl::SleepFor(absl::Milliseconds(20))) {
      if (stopped_()) return absl::CancelledError("stopped");
    }
  }
}

absl::StatusOr<Reply> HubClient::Get(const std::string& url, size_t max_bytes) {
  return Insist(url, max_bytes, false);
}

absl::StatusOr<Reply> HubClient::Head(const std::string& url) {
  std::string next = url;
  for (int i = 0; i <= kMostRedirects; ++i) {
    DIPTYCH_ASSIGN_OR_RETURN(Reply reply, Insist(next, 0, true));
    if (reply.redirect.empty()) return reply;
    if (hub_.secure() && !absl::StartsWith(reply.redirect, "https://")) {
      return ErrorOfCurl(CURLE_UNSUPPORTED_PROTOCOL, hub_);
    }
    if (!IsOnHub(hub_, reply.redirect)) return reply;
    next = reply.redirect;
  }
  return ErrorOfCurl(CURLE_TOO_MANY_REDIRECTS, hub_);
}

}  // namespace diptych::cli
