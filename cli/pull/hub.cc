#include "cli/pull/hub.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/models/hub_cache.h"
#include "common/network/url.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr int64_t kLongestToken = 4096;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The address as libcurl writes it: the scheme in small letters.
absl::StatusOr<std::string> EndpointOf(const std::string& text) {
  const Url url = ParsedUrl(text);
  const std::string scheme = PartOf(url, CURLUPART_SCHEME);
  const bool plain = PartOf(url, CURLUPART_USER).empty() && PartOf(url, CURLUPART_QUERY).empty() &&
                     PartOf(url, CURLUPART_FRAGMENT).empty();
  if ((scheme != "https" && scheme != "http") || !plain || PartOf(url, CURLUPART_HOST).empty()) {
    return absl::InvalidArgumentError("HF_ENDPOINT takes the address of a hub, for example https://huggingface.co");
  }
  std::string endpoint = PartOf(url, CURLUPART_URL);
  endpoint.erase(endpoint.find_last_not_of('/') + 1);
  return endpoint;
}

// A header's value must not end the header.
absl::Status CheckToken(const std::string& token) {
  const bool printable =
      std::all_of(token.begin(), token.end(), [](unsigned char c) { return absl::ascii_isgraph(c) != 0; });
  if (printable && token.size() <= kLongestToken) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the token has characters that no token has; check HF_TOKEN, or the file that `hf auth login` writes");
}

std::string Token() {
  for (const char* variable : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (const std::string token(absl::StripAsciiWhitespace(Variable(variable))); !token.empty()) return token;
  }
  const std::string switched_off = absl::AsciiStrToUpper(Variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"));
  if (switched_off == "1" || switched_off == "ON" || switched_off == "YES" || switched_off == "TRUE") return "";
  const auto file = ReadFile(HubPath("HF_TOKEN_PATH").value_or(HubHome() / "token").string(), kLongestToken);
  return file.ok() ? std::string(absl::StripAsciiWhitespace(*file)) : "";
}

std::string Escaped(const std::string& text) {
  char* escaped = curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size()));
  const std::string copy = escaped == nullptr ? "" : escaped;
  curl_free(escaped);
  return copy;
}

}  // namespace

absl::StatusOr<Hub> HubFromEnvironment() {
  Hub hub;
  if (const std::string endpoint = Variable("HF_ENDPOINT"); !endpoint.empty()) {
    DIPTYCH_ASSIGN_OR_RETURN(hub.endpoint, EndpointOf(endpoint));
  }
  hub.token = Token();
  DIPTYCH_RETURN_IF_ERROR(CheckToken(hub.token));
  int seconds = 0;
  if (absl::SimpleAtoi(Variable("HF_HUB_DOWNLOAD_TIMEOUT"), &seconds) && seconds > 0 && seconds <= 3600) {
    hub.patience = absl::Seconds(seconds);
  }
  return hub;
}

std::string OriginOf(const std::string& address) {
  const Url url = ParsedUrl(address);
  return absl::AsciiStrToLower(absl::StrCat(PartOf(url, CURLUPART_SCHEME), "://", PartOf(url, CURLUPART_HOST), ":",
                                            PartOf(url, CURLUPART_PORT, CURLU_DEFAULT_PORT)));
}

bool IsOnHub(const Hub& hub, const std::string& address) {
  return OriginOf(address) == OriginOf(hub.endpoint);
}

std::string RevisionUrl(const Hub& hub, const HubName& name) {
  return absl::StrCat(hub.endpoint, "/api/models/", name.repository, "/revision/", Escaped(name.revision));
}

std::string FileUrl(const Hub& hub, const std::string& repository, const std::string& commit, const std::string& file) {
  return absl::StrCat(hub.endpoint, "/", repository, "/resolve/", commit, "/", Escaped(file));
}

}  // namespace diptych::cli
