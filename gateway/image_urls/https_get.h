// One GET over https, to a public address and nowhere else.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace diptych::gateway {

// Limits of a request. Everything but max_bytes stays as it is outside of tests.
struct FetchRules {
  int64_t max_bytes = 32ll << 20;                     // of one body
  absl::Duration lookup_timeout = absl::Seconds(5);   // for a host name
  absl::Duration connect_timeout = absl::Seconds(3);  // of one hop, TLS included
  absl::Duration total_timeout = absl::Seconds(10);   // for all that one caller asks for at a time
  int max_redirects = 3;
  int port = 443;                                         // the only one
  std::function<bool(const sockaddr& address)> may_dial;  // empty: IsPublicAddress
  std::string ca_file;                                    // PEM; empty: the system's authorities
  std::string name_servers;                               // "host:port", with commas between; empty: the system's
};

struct HttpsReply {
  int status = 0;
  std::string body;      // of a 200 only
  std::string location;  // of a redirect: the whole address; may be empty
};

struct HttpsRequest {
  std::string url;
  absl::Duration timeout;
  std::function<bool()> wanted;                     // asked again and again; false ends the transfer
  std::function<absl::Status(int64_t bytes)> take;  // memory for so many more bytes of the body, before they are kept
};

// Once per process, before the first Get.
void StartHttps();

// Looks the name up once, checks every address that comes back, and connects to one of these. Sends no cookie, no
// credential, no referrer; uses no proxy, whatever the environment says. Redirects are handed back, not followed.
// Waits. Errors: INVALID_ARGUMENT with IMAGE_URL_REFUSED (not a plain https address; any of its IP addresses is not
// public; or the name is unknown, which has the same error), IMAGE_URL_FAILED (no connection, no valid certificate, too
// slow, cut off), IMAGE_TOO_LARGE; CANCELLED if it is not wanted any more; what `take` says. No message tells of
// address or peer.
absl::StatusOr<HttpsReply> HttpsGet(const HttpsRequest& request, const FetchRules& rules);

}  // namespace diptych::gateway
