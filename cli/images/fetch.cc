#include "cli/images/fetch.h"

#include <curl/curl.h>

#include <cstdlib>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cli/connection/proxy.h"
#include "cli/terminal/interrupt.h"

namespace diptych::cli {
namespace {

constexpr long kMaxRedirects = 5, kConnectSeconds = 10, kTotalSeconds = 60;

struct Body {
  std::string bytes = {};
  size_t max_bytes = 0;
  bool too_large = false;
};

size_t OnBody(char* piece, size_t, size_t size, void* to) {
  Body& body = *static_cast<Body*>(to);
  body.too_large |= body.bytes.size() + size > body.max_bytes;
  if (body.too_large) return 0;
  body.bytes.append(piece, size);
  return size;
}

int OnProgress(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return Interrupted() ? 1 : 0;
}

absl::Status FromCurl(CURL* curl, CURLcode code) {
  if (const std::string fault = ProxyFault(curl, code); !fault.empty()) return absl::UnavailableError(fault);
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return absl::UnavailableError("the name of the server is not known");
    case CURLE_COULDNT_CONNECT:
      return absl::UnavailableError("the server refuses the connection");
    case CURLE_OPERATION_TIMEDOUT:
      return absl::DeadlineExceededError("fetching it took too long");
    case CURLE_PEER_FAILED_VERIFICATION:
      return absl::UnavailableError("the server's certificate is not accepted");
    case CURLE_GOT_NOTHING:
      return absl::UnavailableError("the server sends nothing");
    case CURLE_URL_MALFORMAT:
      return absl::InvalidArgumentError("this is not an address");
    case CURLE_TOO_MANY_REDIRECTS:
      return absl::UnavailableError("the server redirects without end");
    case CURLE_UNSUPPORTED_PROTOCOL:
      return absl::UnavailableError("the server redirects to an address that is not https");
    default:
      return absl::UnavailableError(absl::StrCat("it could not be fetched: ", curl_easy_strerror(code)));
  }
}

void SetUp(CURL* curl, const std::string& address, Body& body) {
  curl_easy_setopt(curl, CURLOPT_URL, address.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kMaxRedirects);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, kTotalSeconds);
  curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(body.max_bytes));
  curl_easy_setopt(curl, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "diptych");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  if (const char* authorities = std::getenv("SSL_CERT_FILE")) curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
}

}  // namespace

absl::StatusOr<std::string> FetchImage(const std::string& address, int64_t max_bytes) {
  static const CURLcode kStarted = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  if (kStarted != CURLE_OK || curl == nullptr) return absl::InternalError("libcurl does not start");
  Body body{.max_bytes = static_cast<size_t>(max_bytes)};
  SetUp(curl.get(), address, body);
  const CURLcode code = curl_easy_perform(curl.get());
  if (const absl::Status interrupted = CheckInterrupt(); !interrupted.ok()) return interrupted;
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (body.too_large || code == CURLE_FILESIZE_EXCEEDED) {
    return absl::OutOfRangeError(absl::StrCat("this is more than ", max_bytes >> 20, " MiB"));
  }
  if (code != CURLE_OK) return FromCurl(curl.get(), code);
  if (status != 200) return absl::UnavailableError(absl::StrCat("the server answers with status ", status));
  if (body.bytes.empty()) return absl::UnavailableError("the server sends nothing");
  return std::move(body.bytes);
}

}  // namespace diptych::cli
