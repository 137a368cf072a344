#include "common/grpc/connection_acceptor.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/network/listen_address.h"
#include "common/process/catch_exceptions.h"
#include "common/process/descriptors.h"
#include "common/status.h"

namespace diptych {
namespace {

constexpr int kPauseAfterFaultMs = 50;

void SetFlag(int socket, int level, int option, int value) {
  setsockopt(socket, level, option, &value, sizeof value);
}

void SetPort(sockaddr_storage& address, int port) {
  auto& place = address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                              : reinterpret_cast<sockaddr_in&>(address).sin_port;
  place = htons(static_cast<uint16_t>(port));
}

int PortOf(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

// -1 if it is not to be had.
int ListenOn(sockaddr_storage address, socklen_t size, int port) {
  SetPort(address, port);
  const int listener = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  if (listener < 0) return -1;
  SetFlag(listener, SOL_SOCKET, SO_REUSEADDR, 1);
  SetFlag(listener, IPPROTO_TCP, TCP_NODELAY, 1);  // accepted sockets have it from here
  if (address.ss_family == AF_INET6) SetFlag(listener, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), size) == 0 && listen(listener, SOMAXCONN) == 0) {
    return listener;
  }
  close(listener);
  return -1;
}

struct Address {
  sockaddr_storage address{};
  socklen_t size = 0;
};

std::vector<Address> LookUp(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  if (getaddrinfo(host.c_str(), "0", &hints, &list) != 0) return {};
  const absl::Cleanup free = [list] { freeaddrinfo(list); };
  std::vector<Address> found;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    Address address{.address = {}, .size = one->ai_addrlen};
    std::copy_n(reinterpret_cast<const char*>(one->ai_addr), one->ai_addrlen,
                reinterpret_cast<char*>(&address.address));
    found.push_back(address);
  }
  return found;
}

// The same for an IPv4 address and its form in IPv6, in which listeners of both families see it.
sockaddr_in6 InIpv6(const in_addr& address, in_port_t port) {
  sockaddr_in6 mapped{};
  mapped.sin6_family = AF_INET6;
  mapped.sin6_port = port;
  mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
  std::memcpy(&mapped.sin6_addr.s6_addr[12], &address, sizeof address);
  return mapped;
}

bool operator==(const sockaddr_in6& a, const sockaddr_in6& b) {
  return a.sin6_port == b.sin6_port && std::memcmp(&a.sin6_addr, &b.sin6_addr, sizeof a.sin6_addr) == 0;
}

std::optional<sockaddr_in6> ParsePeer(const std::string& peer) {
  if (!absl::StartsWith(peer, "ipv4:") && !absl::StartsWith(peer, "ipv6:")) return std::nullopt;
  const auto parsed = ParseHostPort(absl::StrReplaceAll(peer.substr(5), {{"%5B", "["}, {"%5D", "]"}}));
  if (!parsed.ok()) return std::nullopt;
  const in_port_t port = htons(static_cast<uint16_t>(parsed->port));
  in_addr ipv4{};
  if (inet_pton(AF_INET, parsed->host.c_str(), &ipv4) == 1) return InIpv6(ipv4, port);
  sockaddr_in6 ipv6{};
  ipv6.sin6_port = port;
  if (inet_pton(AF_INET6, parsed->host.c_str(), &ipv6.sin6_addr) == 1) return ipv6;
  return std::nullopt;
}

// Of a connection of IP.
std::optional<sockaddr_in6> PeerOf(int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return std::nullopt;
  if (address.ss_family == AF_INET6) return reinterpret_cast<const sockaddr_in6&>(address);
  if (address.ss_family != AF_INET) return std::nullopt;
  const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address);
  return InIpv6(ipv4.sin_addr, ipv4.sin_port);
}

std::vector<int> ListenOnAll(const std::string& host, int port) {
  std::vector<int> listeners;
  for (const Address& one : LookUp(host)) {
    const int listener = ListenOn(one.address, one.size, port);
    if (listener < 0) continue;
    if (port == 0) port = PortOf(listener);  // the others take the same
    listeners.push_back(listener);
  }
  return listeners;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ConnectionAcceptor>> ConnectionAcceptor::Listen(const std::string& address) {
  DIPTYCH_ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(address));
  auto self = std::unique_ptr<ConnectionAcceptor>(new ConnectionAcceptor);
  self->most_descriptors_ = DescriptorLimit() / 8 * 5;
  self->stop_ = eventfd(0, EFD_CLOEXEC);
  if (parsed.host == "0.0.0.0") self->listeners_ = ListenOnAll("::", parsed.port);  // takes IPv4, too
  if (self->listeners_.empty()) self->listeners_ = ListenOnAll(parsed.host, parsed.port);
  if (self->stop_ < 0 || self->listeners_.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot listen on ", address,
                                                   ": the host is unknown or the port is in use; choose another with "
                                                   "--listen"));
  }
  self->port_ = PortOf(self->listeners_.front());
  return self;
}

ConnectionAcceptor::~ConnectionAcceptor() {
  Stop();
  if (stop_ >= 0) close(stop_);
}

void ConnectionAcceptor::Start(Accepted accepted) {
  accepted_ = std::move(accepted);
  thread_ = std::thread([this] { Run(); });
}

void ConnectionAcceptor::Stop() {
  if (stop_ >= 0) eventfd_write(stop_, 1);
  if (thread_.joinable()) thread_.join();
  for (const int listener : std::exchange(listeners_, {})) close(listener);
}

void ConnectionAcceptor::Run() {
  std::vector<pollfd> watched = {{.fd = stop_, .events = POLLIN, .revents = 0}};
  for (const int listener : listeners_) watched.push_back({.fd = listener, .events = POLLIN, .revents = 0});
  while (true) {
    if (poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched.front().revents != 0) return;
    for (const pollfd& one : watched) {
      if (one.revents != 0) CatchInThread("accept", [&] { AcceptOn(one.fd); });
    }
  }
}

void ConnectionAcceptor::AcceptOn(int listener) {
  const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (connection < 0) {
    const bool gone = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
    if (!gone) usleep(kPauseAfterFaultMs * 1000);  // out of descriptors, for example: something has to end first
    return;
  }
  // The lowest number that is free: so many descriptors are open.
  if (connection >= most_descriptors_) {
    close(connection);
    return;
  }
  accepted_(connection);
}

// The owner of a descriptor reads that the other end has left, and closes it.
void ConnectionAcceptor::EndConnections() const {
  for (int descriptor = 0; descriptor < most_descriptors_; ++descriptor) {
    if (PeerOf(descriptor) && PortOf(descriptor) == port_) shutdown(descriptor, SHUT_RDWR);
  }
}

// The owner of the descriptor reads that the connection was reset, and closes it.
void ResetConnection(const std::string& peer) {
  const auto wanted = ParsePeer(peer);
  if (!wanted) return;
  const int most = DescriptorLimit();
  for (int descriptor = 0; descriptor < most; ++descriptor) {
    const auto found = PeerOf(descriptor);
    if (!found || !(*found == *wanted)) continue;
    const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
    if (connect(descriptor, &nobody, sizeof nobody) == 0)
      spdlog::warn("a connection from {} asked far too much at a time and was reset", peer);
    return;
  }
}

}  // namespace diptych
