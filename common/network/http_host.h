// Which host an HTTP request is for, and whether a server goes by that name.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace diptych {

struct RequestTarget {
  std::string_view host;  // empty where the target names none
  std::string_view path;  // without the query
};

// The target between method and version: "/path?query", or "http://host/path?query", as proxies are asked. Points into
// `target`.
RequestTarget ReadTarget(std::string_view target);

// The parts of a request's header that name its host.
struct HostNames {
  unsigned version = 11;         // of HTTP: 11 is HTTP/1.1
  std::string_view target;       // as ReadTarget takes it
  size_t headers = 0;            // how many Host headers there are
  std::string_view header = "";  // the first of them
};

// The host that the request is for: the target's goes before the header's; empty where neither names one, as HTTP/1.0
// allows. Nullopt for a request that RFC 9112, 3.2, has refused: with several Host headers, with none in HTTP/1.1, or
// with a host that is not "name", "name:port" or "[address]:port".
std::optional<std::string_view> HostOf(const HostNames& names);

// Whether a server may answer a request for this host, "name", "name:port" or "[IPv6]:port". A page of a
// stranger can have its own name point to this machine (DNS rebinding), and its browser then takes the server for a
// part of that page; but the header still gives the stranger's name. So pass: IP addresses, localhost, and the names in
// `allowed`, in any case of letters. There "*.example.com" stands for all names with that ending, and "*" for all.
bool IsAllowedHost(std::string_view host, std::span<const std::string> allowed);

// INVALID_ARGUMENT, naming --http_hosts and the entry, for what IsAllowedHost could never meet: an entry that is no
// name, no address without port and brackets, no *.name and no *.
absl::Status CheckAllowedHosts(std::span<const std::string> allowed);

}  // namespace diptych
