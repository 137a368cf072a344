#include "gateway/image_urls/https_get.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/grpc/call_context.h"
#include "common/network/url.h"
#include "common/status.h"
#include "gateway/image_urls/name_lookup.h"
#include "gateway/image_urls/public_address.h"

namespace diptych::gateway {
namespace {

constexpr size_t kMaxUrlBytes = 2048;
constexpr size_t kMaxReplyHeaderBytes = 32 << 10;

struct CurlFree {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};
struct CurlListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Addresses = std::vector<IpAddress>;

absl::Status Refused() {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageUrlRefused,
                   "images are fetched from https addresses on the public internet only, at port 443 and without user "
                   "name; send the image itself");
}

absl::Status Failed(std::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageUrlFailed,
                   absl::StrCat(absl::string_view(what.data(), what.size()), "; send the image itself"));
}

bool IsPlainText(std::string_view url) {
  return !url.empty() && url.size() <= kMaxUrlBytes &&
         std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c <= '~'; });
}

struct Target {
  Url url;
  std::string host;  // without brackets
  bool is_literal;   // an IPv6 address in brackets
};

// curl's own reading of the address, so that nothing is checked that is not also what is asked.
absl::StatusOr<Target> ReadUrl(const std::string& text, const FetchRules& rules) {
  if (!IsPlainText(text)) return Refused();
  Target target{.url = ParsedUrl(text, CURLU_DISALLOW_USER), .host = "", .is_literal = false};
  if (PartOf(target.url, CURLUPART_SCHEME) != "https") return Refused();
  int port = 0;
  if (!absl::SimpleAtoi(PartOf(target.url, CURLUPART_PORT, CURLU_DEFAULT_PORT), &port) || port != rules.port) {
    return Refused();
  }
  target.host = PartOf(target.url, CURLUPART_HOST);
  target.is_literal = !target.host.empty() && target.host.front() == '[' && target.host.back() == ']';
  if (target.is_literal) target.host = target.host.substr(1, target.host.size() - 2);
  if (target.host.empty() || target.host.back() == '.' || target.host.find('%') != target.host.npos) return Refused();
  return target;
}

// All of them may be dialled, or it is refused.
absl::StatusOr<Addresses> LookUp(const Target& target, const HttpsRequest& request, const FetchRules& rules) {
  absl::StatusOr<Addresses> addresses = LookUpName({.host = target.host,
                                                    .port = rules.port,
                                                    .timeout = std::min(rules.lookup_timeout, request.timeout),
                                                    .wanted = request.wanted,
                                                    .servers = rules.name_servers});
  if (absl::IsCancelled(addresses.status())) return CallerLeft();
  if (absl::IsDeadlineExceeded(addresses.status())) return Failed("looking up the image's host took too long");
  if (!addresses.ok()) return Refused();
  const bool may = std::all_of(addresses->begin(), addresses->end(), [&](const IpAddress& address) {
    return rules.may_dial ? rules.may_dial(address.get()) : IsPublicAddress(address.get());
  });
  if (!may) return Refused();
  return addresses;
}

std::string TextOf(const IpAddress& address) {
  char text[NI_MAXHOST];
  if (getnameinfo(&address.get(), address.size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) return "";
  return address.get().sa_family == AF_INET6 ? absl::StrCat("[", text, "]") : std::string(text);
}

// One transfer: what curl's callbacks see.
class Transfer {
 public:
  Transfer(const HttpsRequest& request, const FetchRules& rules, Target target, Addresses addresses)
      : request_(request),
        rules_(rules),
        target_(std::move(target)),
        addresses_(std::move(addresses)),
        curl_(curl_easy_init()) {}

  absl::StatusOr<HttpsReply> Run() {
    if (curl_ == nullptr) return Failed("the image could not be fetched");
    SetUp();
    return Outcome(curl_easy_perform(curl_.get()));
  }

 private:
  template <typename Value>
  void Set(CURLoption option, Value value) {
    curl_easy_setopt(curl_.get(), option, value);
  }

  void SetUp() {
    SetTarget();
    SetBounds();
    Set(CURLOPT_HEADERFUNCTION, &Transfer::OnHeader);
    Set(CURLOPT_HEADERDATA, this);
    Set(CURLOPT_WRITEFUNCTION, &Transfer::OnBody);
    Set(CURLOPT_WRITEDATA, this);
    Set(CURLOPT_XFERINFOFUNCTION, &Transfer::OnProgress);
    Set(CURLOPT_XFERINFODATA, this);
    Set(CURLOPT_NOPROGRESS, 0L);
    Set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::OnSocket);
    Set(CURLOPT_OPENSOCKETDATA, this);
  }

  void SetTarget() {
    Set(CURLOPT_CURLU, target_.url.get());
    if (!target_.is_literal) {
      std::vector<std::string> texts;
      for (const IpAddress& address : addresses_) texts.push_back(TextOf(address));
      const std::string entry = absl::StrCat(target_.host, ":", rules_.port, ":", absl::StrJoin(texts, ","));
      resolved_.reset(curl_slist_append(nullptr, entry.c_str()));
      Set(CURLOPT_RESOLVE, resolved_.get());
    }
    Set(CURLOPT_PROXY, "");  // not that of the environment
    Set(CURLOPT_NOPROXY, "*");
    Set(CURLOPT_PROTOCOLS_STR, "https");
    Set(CURLOPT_FOLLOWLOCATION, 0L);
    Set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    Set(CURLOPT_USERAGENT, "diptych");
    Set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    Set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    Set(CURLOPT_SSL_VERIFYPEER, 1L);
    Set(CURLOPT_SSL_VERIFYHOST, 2L);
    if (!rules_.ca_file.empty()) Set(CURLOPT_CAINFO, rules_.ca_file.c_str());
  }

  void SetBounds() {
    const absl::Duration connect = std::min(rules_.connect_timeout, request_.timeout);
    Set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<int64_t>(1, absl::ToInt64Milliseconds(request_.timeout))));
    Set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::max<int64_t>(1, absl::ToInt64Milliseconds(connect))));
    Set(CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(rules_.max_bytes));
    Set(CURLOPT_NOSIGNAL, 1L);
    Set(CURLOPT_FRESH_CONNECT, 1L);
    Set(CURLOPT_FORBID_REUSE, 1L);
  }

  static size_t OnHeader(char* bytes, size_t, size_t size, void* self) {
    return static_cast<Transfer*>(self)->TakeHeader(absl::string_view(bytes, size)) ? size : 0;
  }
  static size_t OnBody(char* bytes, size_t, size_t size, void* self) {
    return static_cast<Transfer*>(self)->TakeBody(absl::string_view(bytes, size)) ? size : 0;
  }
  static int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Transfer*>(self)->request_.wanted() ? 0 : 1;
  }
  // The last check: what is dialled is what was looked up.
  static curl_socket_t OnSocket(void* self, curlsocktype purpose, curl_sockaddr* address) {
    if (purpose != CURLSOCKTYPE_IPCXN || !static_cast<Transfer*>(self)->WasChecked(*address)) return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }

  bool WasChecked(const curl_sockaddr& address) const {
    return std::any_of(addresses_.begin(), addresses_.end(), [&](const IpAddress& one) {
      return one.get().sa_family == address.family && one.size == address.addrlen &&
             std::memcmp(&one.address, &address.addr, one.size) == 0;
    });
  }

  bool TakeHeader(absl::string_view line) {
    header_bytes_ += line.size();
    if (header_bytes_ > kMaxReplyHeaderBytes) return false;
    constexpr absl::string_view kLocation = "location:";
    if (absl::StartsWithIgnoreCase(line, kLocation)) {
      reply_.location = std::string(absl::StripAsciiWhitespace(line.substr(kLocation.size())));
    }
    return true;
  }

  bool TakeBody(absl::string_view bytes) {
    if (Status() != 200) return false;  // not used
    const auto size = static_cast<int64_t>(bytes.size());
    if (size > rules_.max_bytes - static_cast<int64_t>(reply_.body.size())) too_large_ = true;
    if (!too_large_) memory_ = request_.take(size);
    if (too_large_ || !memory_.ok()) return false;
    reply_.body.append(bytes.data(), bytes.size());
    return true;
  }

  int Status() const {
    long status = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
    return static_cast<int>(status);
  }

  absl::StatusOr<HttpsReply> Outcome(CURLcode code) {
    if (!request_.wanted()) return CallerLeft();
    if (!memory_.ok()) return memory_;
    reply_.status = Status();
    const bool body_was_skipped =
        code == CURLE_WRITE_ERROR && reply_.status >= 300 && header_bytes_ <= kMaxReplyHeaderBytes;
    if (too_large_ || (code == CURLE_FILESIZE_EXCEEDED && reply_.status == 200)) {
      return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageTooLarge,
                       absl::StrCat("the image has more than ", rules_.max_bytes, " bytes"));
    }
    if (code == CURLE_OPERATION_TIMEDOUT) return Failed("fetching the image took too long");
    if (code != CURLE_OK && code != CURLE_FILESIZE_EXCEEDED && !body_was_skipped) {
      return Failed("the image could not be fetched");
    }
    if (reply_.location.empty()) return std::move(reply_);
    // Relative to where it came from; what cannot be read is refused by the next hop.
    if (curl_url_set(target_.url.get(), CURLUPART_URL, reply_.location.c_str(), 0) != CURLUE_OK) return Refused();
    reply_.location = PartOf(target_.url, CURLUPART_URL);
    return std::move(reply_);
  }

  const HttpsRequest& request_;
  const FetchRules& rules_;
  Target target_;
  const Addresses addresses_;
  std::unique_ptr<curl_slist, CurlListFree> resolved_;
  const std::unique_ptr<CURL, CurlFree> curl_;
  HttpsReply reply_;
  size_t header_bytes_ = 0;
  bool too_large_ = false;
  absl::Status memory_;
};

}  // namespace

void StartHttps() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  (void)started;
  StartNameLookups();
}

absl::StatusOr<HttpsReply> HttpsGet(const HttpsRequest& request, const FetchRules& rules) {
  DIPTYCH_ASSIGN_OR_RETURN(Target target, ReadUrl(request.url, rules));
  DIPTYCH_ASSIGN_OR_RETURN(Addresses addresses, LookUp(target, request, rules));
  return Transfer(request, rules, std::move(target), std::move(addresses)).Run();
}

}  // namespace diptych::gateway
