// Any bytes for the HTTP server, over a connection. Whatever comes back must be replies, and a body within its bound.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/http/http_server.h"
#include "gateway/http/openai_reply.h"
#include "tests/fuzz/checks.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::http {
namespace {

using namespace diptych::gateway;  // NOLINT

// Small limits, so that a fuzzer reaches them.
std::unique_ptr<HttpServer> StartServer() {
  auto server = HttpServer::Start(
      {.listen = "127.0.0.1:0",
       .threads = 1,
       .max_header_bytes = 2048,
       .max_body_bytes = 4096,
       .idle_timeout = absl::Milliseconds(200),
       .header_timeout = absl::Milliseconds(200),
       .body_timeout = absl::Milliseconds(200)},
      [](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
        Require(request.body.size() <= 4096);
        exchange->Reply({.body = "{}"});
      },
      PlainErrorReply);
  Require(server.ok());
  return *std::move(server);
}

sockaddr_in AddressOf(in_addr_t host, int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(host);
  return address;
}

// Each connection comes from another address of 127.0.0.0/8: a caller that ends its sending first keeps its port for a
// minute (TIME_WAIT), and one address would soon have none left.
int Connect(int port) {
  static uint32_t connections = 0;
  const sockaddr_in from = AddressOf(INADDR_LOOPBACK + ++connections % ((1u << 24) - 2), 0);
  const sockaddr_in to = AddressOf(INADDR_LOOPBACK, port);
  const int caller = socket(AF_INET, SOCK_STREAM, 0);
  Require(bind(caller, reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0);
  Require(connect(caller, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  return caller;
}

// All that comes back.
std::string Exchange(int port, std::string_view bytes) {
  const int caller = Connect(port);
  send(caller, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  shutdown(caller, SHUT_WR);
  std::string answer;
  char piece[4096];
  for (ssize_t size = 0; (size = recv(caller, piece, sizeof piece, 0)) > 0;)
    answer.append(piece, static_cast<size_t>(size));
  close(caller);
  return answer;
}

}  // namespace

DIPTYCH_FUZZ_TARGET(http) {
  const std::string_view input = diptych::fuzz::TextOf(data, size);
  static const std::unique_ptr<HttpServer> kServer = StartServer();
  const std::string answer = Exchange(kServer->port(), input.substr(0, 64 << 10));
  Require(answer.empty() || answer.starts_with("HTTP/1.1 "));
  return 0;
}

}  // namespace diptych::fuzz::http
