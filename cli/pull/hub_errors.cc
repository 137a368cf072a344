#include "cli/pull/hub_errors.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "cli/connection/errors.h"
#include "cli/connection/proxy.h"
#include "cli/pull/hub_client.h"
#include "cli/pull/retry.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr char kPassingPayload[] = "diptych.cli/passing";
constexpr char kUnreachable[] = "HUB_UNREACHABLE";
constexpr char kNetworkRemedy[] =
    "Check the network, and the proxy if there is one (https_proxy); models in the cache are served without the hub.";
constexpr char kProxyRemedy[] =
    "Correct that variable or unset it; no_proxy names hosts to reach without it. Models in the cache are served "
    "without the hub.";
constexpr char kTokenRemedy[] = "Give a token that may read it with HF_TOKEN, or with `hf auth login`.";

absl::Status HubUnreachable(const Hub& hub, const std::string& why, const std::string& remedy) {
  return WithRemedy(MakeError(absl::StatusCode::kUnavailable, kUnreachable, absl::StrCat(hub.endpoint, " ", why)),
                    remedy);
}

absl::Status Forbidden(const Hub& hub, const std::string& what) {
  const std::string to_whom = hub.token.empty() ? "without a token" : "to this token";
  return WithRemedy(MakeError(absl::StatusCode::kPermissionDenied, "FORBIDDEN",
                              absl::StrCat("the hub does not give ", what, " ", to_whom, " (status 403)")),
                    kTokenRemedy);
}

absl::Status RefusedToken(const Hub& hub, const std::string& what) {
  if (hub.token.empty()) {
    return WithRemedy(MakeError(absl::StatusCode::kUnauthenticated, "TOKEN_MISSING",
                                absl::StrCat("the hub does not give ", what, " without a token (status 401)")),
                      kTokenRemedy);
  }
  return WithRemedy(MakeError(absl::StatusCode::kUnauthenticated, "TOKEN_REFUSED",
                              absl::StrCat("the hub does not accept the token that was given for ", what)),
                    "Give another with HF_TOKEN, or with `hf auth login`; for a public model leave it out.");
}

absl::Status UnexpectedStatus(int status, const std::string& what) {
  const bool later = IsPassing(status);
  return WithRemedy(MakeError(later ? absl::StatusCode::kUnavailable : absl::StatusCode::kNotFound, "HUB_FAILED",
                              absl::StrCat("the hub answers with status ", status, " for ", what)),
                    later ? "Try again later; the same command resumes where this one stopped." : kMirrorRemedy);
}

absl::Status MissingRevision(const Hub& hub, const HubName& name) {
  return WithRemedy(MakeError(absl::StatusCode::kNotFound, "REVISION_UNKNOWN",
                              absl::StrCat("the hub has no revision ", name.revision, " of ", name.repository)),
                    absl::StrCat("Its branches and tags are listed at ", hub.endpoint, "/", name.repository,
                                 "/tree/main; without @", name.revision, " main is taken."));
}

absl::Status Gated(const Hub& hub, const HubName& name) {
  return WithRemedy(MakeError(absl::StatusCode::kPermissionDenied, "MODEL_GATED",
                              absl::StrCat(name.repository, " is gated: its owners ask for an agreement first")),
                    absl::StrCat("Accept it at ", hub.endpoint, "/", name.repository,
                                 ", then give a token of that account with ", "HF_TOKEN, or with `hf auth login`."));
}

absl::Status MissingModel(const Hub& hub, const HubName& name) {
  const std::string to_whom = hub.token.empty() ? "without a token" : "to this token";
  return WithRemedy(MakeError(absl::StatusCode::kNotFound, "MODEL_UNKNOWN",
                              absl::StrCat("the hub shows no model ", name.repository, " ", to_whom)),
                    absl::StrCat("Check the name; if the model is private, give a token with HF_TOKEN, or with ",
                                 "`hf auth login`."));
}

absl::Status TooMany(const Hub& hub, absl::Duration after) {
  const std::string when =
      after > absl::ZeroDuration() ? absl::StrCat("in ", absl::ToInt64Seconds(after), " s") : "in a few minutes";
  return WithRemedy(RetryLater(absl::StatusCode::kResourceExhausted, "HUB_RATE_LIMITED",
                               "the hub takes no more requests from here for now (status 429)", after),
                    absl::StrCat("Try again ", when, "; what was fetched is kept.",
                                 hub.token.empty() ? " With a token (HF_TOKEN) the limits are higher." : ""));
}

}  // namespace

absl::Status ErrorOfCurl(CURLcode code, const Hub& hub) {
  absl::Status status;
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      status = HubUnreachable(hub, "cannot be reached: its name is not known here", kNetworkRemedy);
      break;
    case CURLE_COULDNT_RESOLVE_PROXY:
      status = HubUnreachable(hub, "cannot be reached: the name of the proxy is not known here", kNetworkRemedy);
      break;
    case CURLE_COULDNT_CONNECT:
      status = HubUnreachable(hub, "cannot be reached: the connection is refused", kNetworkRemedy);
      break;
    case CURLE_PEER_FAILED_VERIFICATION:
      status = HubUnreachable(hub, "is not trusted: its certificate is not accepted",
                              "If the authority is your own, name its file with SSL_CERT_FILE.");
      break;
    case CURLE_SSL_CACERT_BADFILE:
      status = HubUnreachable(hub, "cannot be checked: this system has no CA certificates",
                              "Install ca-certificates, or name a file of them with SSL_CERT_FILE.");
      break;
    case CURLE_UNSUPPORTED_PROTOCOL:
      status = HubUnreachable(hub, "redirects to an address without TLS, which is refused",
                              "Something between here and the hub changes its answers: use another network or proxy.");
      break;
    case CURLE_TOO_MANY_REDIRECTS:
      status = HubUnreachable(hub, "redirects without end", kNetworkRemedy);
      break;
    case CURLE_OPERATION_TIMEDOUT:
      status =
          HubUnreachable(hub, absl::StrCat("sends nothing for ", absl::FormatDuration(hub.patience)),
                         "The same command resumes where this one stopped; HF_HUB_DOWNLOAD_TIMEOUT=60 waits longer.");
      break;
    default:
      status = HubUnreachable(hub, absl::StrCat("drops the connection again and again: ", curl_easy_strerror(code)),
                              "The same command resumes where this one stopped.");
  }
  if (IsPassing(code)) status.SetPayload(kPassingPayload, absl::Cord());
  return status;
}

absl::Status ErrorOfTransfer(CURL* curl, CURLcode code, const Hub& hub) {
  const std::string fault = ProxyFault(curl, code);
  if (fault.empty()) return ErrorOfCurl(code, hub);
  absl::Status status = HubUnreachable(hub, absl::StrCat("cannot be reached: ", fault), kProxyRemedy);
  long answer = 0;
  curl_easy_getinfo(curl, CURLINFO_HTTP_CONNECTCODE, &answer);
  if (answer >= 500) status.SetPayload(kPassingPayload, absl::Cord());
  return status;
}

bool IsPassingError(const absl::Status& status) {
  return status.GetPayload(kPassingPayload).has_value();
}

absl::Status ErrorOfReply(const Reply& reply, const Hub& hub, const HubName& name, const std::string& what) {
  const std::string code = reply.Header("x-error-code");
  if (code == "RevisionNotFound") return MissingRevision(hub, name);
  if (code == "GatedRepo") return Gated(hub, name);
  if (reply.status == 429) return TooMany(hub, reply.retry_after);
  if (reply.status == 403) return Forbidden(hub, what);
  const bool of_model = what == name.Text() && (code.empty() || code == "RepoNotFound");
  if (reply.status == 404 && of_model) return MissingModel(hub, name);
  if (reply.status == 401 && of_model && (hub.token.empty() || !code.empty())) return MissingModel(hub, name);
  if (reply.status == 401) return RefusedToken(hub, what);
  return UnexpectedStatus(reply.status, what);
}

}  // namespace diptych::cli
