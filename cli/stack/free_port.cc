#include "cli/stack/free_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/network/listen_address.h"

namespace diptych::cli {
namespace {

// The port if it could be bound, for 0 the one that was; 0 if it is taken.
int Bind(sockaddr_in address, int port) {
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));  // as the servers do after an earlier run
  address.sin_port = htons(static_cast<uint16_t>(port));
  socklen_t size = sizeof(address);
  const bool bound = bind(socket_fd, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                     listen(socket_fd, 1) == 0 &&
                     getsockname(socket_fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(socket_fd);
  return bound ? ntohs(address.sin_port) : 0;
}

}  // namespace

absl::StatusOr<int> ChoosePort(const std::string& host, int asked, int preferred, const std::string& flag,
                               const std::function<void(const std::string&)>& say) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    return absl::InvalidArgumentError("--host takes an IPv4 address, for example 127.0.0.1 or 0.0.0.0");
  }
  if (asked != 0) {
    if (Bind(address, asked) == asked) return asked;
    return absl::FailedPreconditionError(
        absl::StrCat("port ", asked, " is in use by another process; choose another with ", flag));
  }
  if (const int port = Bind(address, preferred); port != 0) return port;
  const int other = Bind(address, 0);
  if (other == 0) return absl::FailedPreconditionError(absl::StrCat("no port can be had on ", host));
  if (say) say(absl::StrCat("port ", preferred, " is taken: ", other, " is used"));
  return other;
}

bool IsFree(const std::string& address) {
  const auto parsed = ParseHostPort(address);
  return parsed.ok() && ChoosePort(parsed->host, parsed->port, 0, "", nullptr).ok();
}

}  // namespace diptych::cli
