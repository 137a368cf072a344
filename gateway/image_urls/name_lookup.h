// Host names become addresses, in bounded time.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace diptych::gateway {

struct IpAddress {
  sockaddr_storage address = {};
  socklen_t size = 0;

  const sockaddr& get() const { return reinterpret_cast<const sockaddr&>(address); }
};

struct NameLookup {
  std::string host;  // a name as it is, without the system's search domains; or an address
  int port = 0;      // of the addresses that come back
  absl::Duration timeout;
  std::function<bool()> wanted;  // asked again and again; false ends the lookup
  std::string servers = "";      // "host:port" of name servers; empty: the system's
};

// Once per process, before the first lookup.
void StartNameLookups();

// From the hosts file and DNS; at least one address. Waits. Errors: NOT_FOUND, DEADLINE_EXCEEDED, CANCELLED if it is
// not wanted any more.
absl::StatusOr<std::vector<IpAddress>> LookUpName(const NameLookup& lookup);

}  // namespace diptych::gateway
