// Small requests to the hub, one after the other.
#pragma once

#include <curl/curl.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/pull/hub.h"

namespace diptych::cli {

inline constexpr int kHttpOk = 200;

// An answer of the hub, or of where it redirects to.
struct Reply {
  int status = 0;
  std::map<std::string, std::string> headers = {};  // names in small letters
  std::string body = {};
  std::string redirect = {};                          // the address that a redirect names, whole; empty if it is none
  absl::Duration retry_after = absl::ZeroDuration();  // how long the hub asks to wait; 0: it does not say

  std::string Header(const std::string& name) const;
};

// Settings of all requests to the hub. Redirects never lead from https to http, and the token never goes to
// another host, port or scheme than the hub's. `headers` is what AuthorizationOf gave and outlives the request.
void SetUpRequest(CURL* curl, const Hub& hub, const std::string& url, const curl_slist* headers);
// What `curl` and the answer's headers say about waiting: Retry-After, or t of RateLimit, which the hub sends in its
// place.
absl::Duration BreakAskedFor(CURL* curl, const Reply& reply);
struct FreeHeaders {
  void operator()(curl_slist* headers) const { curl_slist_free_all(headers); }
};
using Headers = std::unique_ptr<curl_slist, FreeHeaders>;
Headers HeadersFor(const Hub& hub);

// Thread-compatible.
class HubClient {
 public:
  // `stopped` is asked often: true ends what goes on with CANCELLED.
  HubClient(const Hub& hub, std::function<bool()> stopped);

  // The answer, whatever its status; tried again where a connection breaks off or the hub asks for a short break.
  // OUT_OF_RANGE for a body of more than `max_bytes`; UNAVAILABLE with a reason and a remedy if there is no answer.
  absl::StatusOr<Reply> Get(const std::string& url, size_t max_bytes);
  // The same without the body. Follows redirects only on the hub itself, for what lies elsewhere is not the hub's word.
  absl::StatusOr<Reply> Head(const std::string& url);

  const Hub& hub() const { return hub_; }

 private:
  absl::StatusOr<Reply> Try(const std::string& url, size_t max_bytes, bool head);
  absl::StatusOr<Reply> Insist(const std::string& url, size_t max_bytes, bool head);

  const Hub hub_;
  const std::function<bool()> stopped_;
  const Headers headers_;
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl_;
};

}  // namespace diptych::cli
