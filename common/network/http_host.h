// Checks the host that an HTTP request is addressed to.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace diptych {

// Whether a server may answer a request with this Host header, "name", "name:port" or "[IPv6]:port". A page of a
// stranger can have its own name point to this machine (DNS rebinding), and its browser then takes the server for a
// part of that page; but the header still gives the stranger's name. So pass: IP addresses, localhost, and the names in
// `allowed`, in any case of letters. There "*.example.com" stands for all names with that ending, and "*" for all.
bool IsAllowedHost(std::string_view host, std::span<const std::string> allowed);

// Whether a request may come with so many Host headers, the first of which is `host`: with one that reads
// "name", "name:port" or "[address]:port", or, before HTTP/1.1, with none (RFC 9112, 3.2). `version` is 11 for
// HTTP/1.1.
bool IsHostHeader(unsigned version, size_t count, std::string_view host);

// Whether these are the characters of a host and perhaps a port (RFC 3986, 3.2.2): no white space, path or user.
bool IsHost(std::string_view host);

// INVALID_ARGUMENT, naming --http_hosts and the entry, for what IsAllowedHost could never meet: an entry that is no
// name, no address without port and brackets, no *.name and no *.
absl::Status CheckAllowedHosts(std::span<const std::string> allowed);

}  // namespace diptych
