#include "cli/connection/diagnosis.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/connection/errors.h"
#include "common/network/listen_address.h"

namespace diptych::cli {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(2);  // for a connection, and again for its first words
constexpr char kTheGrpcPort[] = "the READY table of diptych serve shows it, 7000 by default";
// Prefixes of a name that gRPC itself reads.
constexpr absl::string_view kGrpcSchemes[] = {"dns", "ipv4", "ipv6", "unix", "unix-abstract", "xds"};

absl::Status Unreachable(std::string_view message, std::string_view remedy) {
  return WithRemedy(absl::UnavailableError(absl::string_view(message.data(), message.size())), remedy);
}

// The first that gRPC would try; nullopt for what is no host and port, as unix:/a/socket.
std::optional<TargetAddress> FirstAddress(const std::string& server) {
  std::vector<TargetAddress> addresses = TargetAddresses(server);
  if (addresses.empty()) return std::nullopt;
  return std::move(addresses.front());
}

// With the default port; brackets around an IPv6 address.
std::string HostAndPort(const std::string& host) {
  const bool is_ipv6 = absl::StrContains(host, ':');
  return is_ipv6 ? absl::StrCat("[", host, "]:7000") : absl::StrCat(host, ":7000");
}

struct AddressesFree {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, AddressesFree>;

Addresses LookUp(const TargetAddress& address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(address.host.c_str(), address.port.value_or("").c_str(), &hints, &list) != 0) return nullptr;
  return Addresses(list);
}

class Connection {
 public:
  explicit Connection(const addrinfo& to)
      : socket_(socket(to.ai_family, to.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to.ai_protocol)) {
    if (socket_ < 0 || connect(socket_, to.ai_addr, to.ai_addrlen) == 0) return;
    error_ = errno;
    if (error_ != EINPROGRESS) return;
    error_ = ETIMEDOUT;
    socklen_t size = sizeof(error_);
    if (WaitFor(POLLOUT)) getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error_, &size);
  }
  ~Connection() {
    if (socket_ >= 0) close(socket_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // 0 once it is connected.
  int error() const { return socket_ < 0 ? EAFNOSUPPORT : error_; }

  // The first words that come back when HTTP/1 is spoken to it.
  std::string Answer(const std::string& host) {
    const std::string question = absl::StrCat("GET / HTTP/1.1\r\nHost: ", host, "\r\nConnection: close\r\n\r\n");
    if (send(socket_, question.data(), question.size(), MSG_NOSIGNAL) < 0 || !WaitFor(POLLIN)) return "";
    std::string words(64, '\0');
    const ssize_t got = recv(socket_, words.data(), words.size(), 0);
    words.resize(std::max<ssize_t>(got, 0));
    return words;
  }

 private:
  bool WaitFor(short events) const {
    pollfd waiting{.fd = socket_, .events = events, .revents = 0};
    return poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(kPatience))) > 0;
  }

  const int socket_;
  int error_ = 0;
};

enum class Speech { kHttp1, kHttp2, kTls, kOther };

Speech SpeechOf(const std::string& words) {
  constexpr char kTlsAlert = 0x15, kSettingsFrame = 0x04;
  constexpr size_t kFrameHead = 9;
  if (absl::StartsWith(words, "HTTP/1.")) return Speech::kHttp1;
  if (words.size() > 2 && words[0] == kTlsAlert && words[1] == 0x03) return Speech::kTls;
  if (words.size() >= kFrameHead && words[0] == 0 && words[3] == kSettingsFrame) return Speech::kHttp2;
  return Speech::kOther;
}

absl::Status FromSpeech(Speech speech, const std::string& server, bool tls) {
  switch (speech) {
    case Speech::kHttp1:
      return Unreachable(absl::StrCat(server, " speaks HTTP, not gRPC"),
                         absl::StrCat("Give --server the gateway's gRPC port: ", kTheGrpcPort, "."));
    case Speech::kTls:
      if (!tls) return Unreachable(absl::StrCat(server, " speaks TLS"), "Give the authority's PEM file with --tls_ca.");
      return Unreachable(
          absl::StrCat("the certificate of ", server, " is not accepted"),
          "Is it signed by the authority in --tls_ca, and is --server the name that it is for? A gateway may also "
          "ask callers for a certificate: --tls_cert, --tls_key.");
    case Speech::kHttp2:
      if (tls) return Unreachable(absl::StrCat(server, " speaks gRPC without TLS"), "Leave --tls_ca out.");
      break;
    case Speech::kOther:
      break;
  }
  return Unreachable(
      absl::StrCat(server, " takes the connection and ends it"),
      "Is it a gateway? One with TLS needs --tls_ca; one that is just starting or stopping needs a moment.");
}

absl::Status NoConnection(int error, const std::string& server) {
  if (error == ECONNREFUSED) {
    return Unreachable(absl::StrCat("nothing listens at ", server),
                       "Is the gateway running there (diptych serve)? Choose another with --server.");
  }
  return Unreachable(
      absl::StrCat("no gateway answers at ", server),
      "Is the machine up, and does the network or a firewall let you through? Choose another with --server.");
}

// The fault of an address without a scheme, or with one that gRPC has.
absl::Status AddressFault(const std::string& server) {
  const std::optional<TargetAddress> address = FirstAddress(server);
  if (address && address->port && !IsTargetPort(*address->port)) {
    return Unreachable(absl::StrCat("--server ", server, ": \"", *address->port, "\" is not a port"),
                       "Give --server host:port, a port up to 65535.");
  }
  const bool open_bracket = absl::StrContains(server, '[') && !absl::StrContains(server, ']');
  const bool is_host = address && !open_bracket && CheckTargetPorts(HostAndPort(address->host)).ok();
  if (!is_host || address->port) {
    return Unreachable(absl::StrCat("--server \"", server, "\" names no gateway"),
                       "Give --server host:port, for example 127.0.0.1:7000 or [::1]:7000.");
  }
  if (IsTargetPort(server)) {
    return Unreachable(absl::StrCat("--server ", server, " is a port without a host"),
                       absl::StrCat("Give --server 127.0.0.1:", server, "."));
  }
  return Unreachable(absl::StrCat("no gateway answers at ", server, "; the address has no port"),
                     absl::StrCat("Give --server ", HostAndPort(address->host), ", or the port that the gateway has."));
}

}  // namespace

absl::Status CheckServerAddress(const std::string& server) {
  const size_t end = server.find("://");
  const absl::string_view scheme = absl::string_view(server).substr(0, end == std::string::npos ? 0 : end);
  const bool known = std::find(std::begin(kGrpcSchemes), std::end(kGrpcSchemes), scheme) != std::end(kGrpcSchemes);
  if (end == std::string::npos || known) return CheckTargetPorts(server).ok() ? absl::OkStatus() : AddressFault(server);
  const std::string rest = server.substr(end + 3), bare = rest.substr(0, rest.find('/'));
  const bool http = absl::StartsWith(scheme, "http");
  return Unreachable(
      absl::StrCat("--server takes host:port, without \"", scheme, "://\""),
      absl::StrCat("Give --server ", http ? absl::StrCat("the host and its gRPC port: ", kTheGrpcPort) : bare,
                   scheme == "https" || scheme == "grpcs" ? "; TLS is turned on with --tls_ca." : "."));
}

absl::Status WhyUnreachable(const std::string& server, bool tls) {
  const std::optional<TargetAddress> address = FirstAddress(server);
  if (!address) return NoConnection(0, server);
  const Addresses found = LookUp(*address);
  if (found == nullptr) {
    return Unreachable(absl::StrCat("the name ", address->host, " is not known"),
                       "Check how it is spelled in --server, and that this machine reaches its name server.");
  }
  int error = 0;
  for (const addrinfo* one = found.get(); one != nullptr; one = one->ai_next) {
    Connection connection(*one);
    if (connection.error() == 0) return FromSpeech(SpeechOf(connection.Answer(address->host)), server, tls);
    if (error != ECONNREFUSED) error = connection.error();
  }
  return NoConnection(error, server);
}

absl::Status NoGateway(const std::string& server) {
  return Unreachable(absl::StrCat("what answers at ", server, " is not a gateway, or is one of another version"),
                     absl::StrCat("Give --server the gateway's gRPC port, not a tier's: ", kTheGrpcPort, "."));
}

}  // namespace diptych::cli
