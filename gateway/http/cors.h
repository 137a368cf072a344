// Which web pages may use the HTTP surface: Cross-Origin Resource Sharing.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gateway/http/http_server.h"

namespace diptych::gateway {

// The headers by which a browser announces a request from another origin's page.
struct CrossOriginRequest {
  std::string origin = "";  // "https://example.org"
  bool asks_first = false;  // by OPTIONS, before it sends the request itself
  std::string method = "";  // that it will use then
  std::string headers = "";
};

// INVALID_ARGUMENT unless each is "*" or an origin: scheme://host or scheme://host:port.
absl::Status CheckOrigins(const std::vector<std::string>& origins);

// The headers of the reply. None if the origin is not in `allowed`, in which "*" means all: the browser
// then keeps the reply from the page.
HttpHeaders CorsHeaders(const CrossOriginRequest& request, const std::vector<std::string>& allowed);

}  // namespace diptych::gateway
