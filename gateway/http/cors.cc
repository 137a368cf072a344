#include "gateway/http/cors.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace diptych::gateway {
namespace {

bool Contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool IsOrigin(const std::string& text) {
  const size_t scheme = text.find("://");
  if (scheme == 0 || scheme == text.npos || scheme + 3 == text.size()) return false;
  return std::all_of(text.begin() + static_cast<ptrdiff_t>(scheme) + 3, text.end(), [](char c) {
    return absl::ascii_isalnum(c) || absl::StrContains(".-:[]_", absl::string_view(&c, 1));
  });
}

// Names of headers with commas between.
bool IsHeaderList(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(c) || absl::StrContains("-_, ", absl::string_view(&c, 1));
  });
}

}  // namespace

absl::Status CheckOrigins(const std::vector<std::string>& origins) {
  for (const std::string& origin : origins) {
    if (origin == "*" || IsOrigin(origin)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--cors_origins takes origins as browsers send them, for example https://example.org, or *, with "
                     "commas between, not '",
                     absl::CHexEscape(origin), "'"));
  }
  return absl::OkStatus();
}

HttpHeaders CorsHeaders(const CrossOriginRequest& request, const std::vector<std::string>& allowed) {
  if (allowed.empty()) return {};
  HttpHeaders headers{{"vary", "origin"}};
  const bool known = Contains(allowed, request.origin) || (Contains(allowed, "*") && IsOrigin(request.origin));
  if (!known) return headers;
  headers.emplace_back("access-control-allow-origin", request.origin);
  headers.emplace_back("access-control-expose-headers", "x-request-id, retry-after");
  if (!request.asks_first || request.method.empty()) return headers;
  headers.emplace_back("access-control-allow-methods", "GET, HEAD, POST");
  if (IsHeaderList(request.headers)) headers.emplace_back("access-control-allow-headers", request.headers);
  headers.emplace_back("access-control-max-age", "600");
  return headers;
}

}  // namespace diptych::gateway
