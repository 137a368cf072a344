#include "cli/connection/proxy.h"

#include <cstdlib>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/network/url.h"

namespace diptych::cli {
namespace {

constexpr unsigned kAnyProxy = CURLU_GUESS_SCHEME | CURLU_NON_SUPPORT_SCHEME;

std::string FirstSet(const std::vector<const char*>& variables) {
  for (const char* variable : variables) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return variable;
  }
  return "";
}

// http_proxy counts in small letters alone, since a web server's environment may hold HTTP_PROXY from a request.
std::vector<const char*> VariablesOf(const std::string& scheme) {
  if (scheme == "https") return {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
  return {"http_proxy", "all_proxy", "ALL_PROXY"};
}

bool IsInDomain(const std::string& host, absl::string_view domain) {
  absl::ConsumePrefix(&domain, ".");
  if (!absl::EndsWithIgnoreCase(host, domain) || domain.empty()) return false;
  return host.size() == domain.size() || host[host.size() - domain.size() - 1] == '.';
}

bool GoesWithoutProxy(const std::string& host) {
  const std::string variable = FirstSet({"no_proxy", "NO_PROXY"});
  if (variable.empty()) return false;
  const std::string hosts = std::getenv(variable.c_str());
  if (absl::StripAsciiWhitespace(hosts) == "*") return true;
  for (const absl::string_view domain : absl::StrSplit(hosts, absl::ByAnyChar(", \t"))) {
    if (IsInDomain(host, domain)) return true;
  }
  return false;
}

std::string WithoutPassword(const std::string& proxy) {
  const Url url = ParsedUrl(proxy, kAnyProxy);
  if (PartOf(url, CURLUPART_HOST).empty()) return "";
  for (const CURLUPart part : {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_PATH}) {
    curl_url_set(url.get(), part, nullptr, 0);
  }
  return absl::StrCat(absl::StripSuffix(PartOf(url, CURLUPART_URL), "/"), " ");
}

std::string WhatItDid(CURLcode code, long status) {
  if (status >= 400) return absl::StrCat("answers with status ", status);
  if (code == CURLE_COULDNT_RESOLVE_PROXY) return "is not known here by that name";
  if (code == CURLE_COULDNT_CONNECT) return "refuses the connection";
  return code == CURLE_PROXY ? "does not connect to the server" : "";
}

// The variable that names the proxy for `url`, as libcurl reads it; empty: none. Networks in no_proxy (10.0.0.0/8) are
// not looked at.
std::string ProxyVariable(const std::string& url) {
  const Url parsed = ParsedUrl(url, kAnyProxy);
  if (GoesWithoutProxy(PartOf(parsed, CURLUPART_HOST))) return "";
  return FirstSet(VariablesOf(PartOf(parsed, CURLUPART_SCHEME)));
}

}  // namespace

std::string ProxyFault(CURL* curl, CURLcode code) {
  const char* url = nullptr;
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_EFFECTIVE_URL, &url);
  curl_easy_getinfo(curl, CURLINFO_HTTP_CONNECTCODE, &status);
  const std::string variable = url == nullptr ? "" : ProxyVariable(url);
  const std::string what = variable.empty() ? "" : WhatItDid(code, status);
  if (what.empty()) return "";
  return absl::StrCat("the proxy ", WithoutPassword(std::getenv(variable.c_str())), "(", variable, ") ", what);
}

}  // namespace diptych::cli
