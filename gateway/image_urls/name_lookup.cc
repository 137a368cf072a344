#include "gateway/image_urls/name_lookup.h"

#include <ares.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "common/steady_clock.h"

namespace diptych::gateway {
namespace {

constexpr absl::Duration kGlance = absl::Milliseconds(100);  // how often `wanted` is asked
constexpr int kFirstTryMs = 1000;                            // of one server; later ones take longer
constexpr int kTries = 3;
constexpr size_t kMaxAddresses = 16;

struct Found {
  bool ended = false;
  int code = ARES_SUCCESS;
  std::vector<IpAddress> addresses;

  void Take(const ares_addrinfo& list) {
    for (const ares_addrinfo_node* node = list.nodes; node != nullptr; node = node->ai_next) {
      if (addresses.size() == kMaxAddresses || node->ai_addrlen > sizeof(sockaddr_storage)) continue;
      IpAddress& one = addresses.emplace_back();
      one.size = node->ai_addrlen;
      std::memcpy(&one.address, node->ai_addr, node->ai_addrlen);
    }
  }
};

void OnFound(void* into, int code, int /*timeouts*/, ares_addrinfo* list) {
  auto& found = *static_cast<Found*>(into);
  found.ended = true;
  found.code = code;
  if (list == nullptr) return;
  found.Take(*list);
  ares_freeaddrinfo(list);
}

// Waits for what the name servers send, no longer than `longest`, and takes it.
void Round(ares_channel channel, absl::Duration longest) {
  std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets;
  const int wants = ares_getsock(channel, sockets.data(), static_cast<int>(sockets.size()));
  std::array<pollfd, ARES_GETSOCK_MAXNUM> polled;
  nfds_t count = 0;
  for (unsigned i = 0; i < sockets.size(); ++i) {
    const int events = (ARES_GETSOCK_READABLE(wants, i) ? POLLIN : 0) | (ARES_GETSOCK_WRITABLE(wants, i) ? POLLOUT : 0);
    if (events != 0) polled[count++] = {.fd = sockets[i], .events = static_cast<short>(events), .revents = 0};
  }
  poll(polled.data(), count, static_cast<int>(std::max<int64_t>(1, absl::ToInt64Milliseconds(longest))));
  for (nfds_t i = 0; i < count; ++i) {
    const bool reads = (polled[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0;
    const bool writes = (polled[i].revents & POLLOUT) != 0;
    ares_process_fd(channel, reads ? polled[i].fd : ARES_SOCKET_BAD, writes ? polled[i].fd : ARES_SOCKET_BAD);
  }
  ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // its own time limits
}

}  // namespace

void StartNameLookups() {
  static const int started = ares_library_init(ARES_LIB_INIT_ALL);
  (void)started;
}

absl::StatusOr<std::vector<IpAddress>> LookUpName(const NameLookup& lookup) {
  ares_options options = {};
  options.flags = ARES_FLAG_NOSEARCH;
  options.timeout = kFirstTryMs;
  options.tries = kTries;
  ares_channel channel = nullptr;
  if (ares_init_options(&channel, &options, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES) != ARES_SUCCESS) {
    return absl::NotFoundError("there is no resolver");
  }
  Found found;  // outlives the channel, whose end calls OnFound
  const absl::Cleanup destroy = [channel] { ares_destroy(channel); };
  if (!lookup.servers.empty()) ares_set_servers_ports_csv(channel, lookup.servers.c_str());
  ares_addrinfo_hints hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_NUMERICSERV;
  ares_getaddrinfo(channel, lookup.host.c_str(), std::to_string(lookup.port).c_str(), &hints, &OnFound, &found);
  const SteadyTime until = FromNow(lookup.timeout);
  while (!found.ended) {
    if (!lookup.wanted()) return absl::CancelledError("nobody wants it any more");
    const absl::Duration left = TimeUntil(until);
    if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("the name servers take too long");
    Round(channel, std::min(left, kGlance));
  }
  if (found.code == ARES_ETIMEOUT) return absl::DeadlineExceededError("the name servers take too long");
  if (found.addresses.empty()) return absl::NotFoundError("there is no such host");
  return std::move(found.addresses);
}

}  // namespace diptych::gateway
