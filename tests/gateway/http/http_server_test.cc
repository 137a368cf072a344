// The HTTP server against callers with bad manners, with limits small enough to be reached.
#include "gateway/http/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "gateway/http/openai_reply.h"

namespace diptych::gateway {
namespace {

// A caller that writes bytes.
class Caller {
 public:
  explicit Caller(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Caller() { close(socket_); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  // False once the server has closed.
  bool Send(std::string_view bytes) {
    return send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }

  // Reads until the server closes, or until `wanted` has come.
  std::string Read(std::string_view wanted = "no such text") {
    std::string answer;
    char bytes[4096];
    while (answer.find(wanted) == answer.npos) {
      const ssize_t size = recv(socket_, bytes, sizeof bytes, 0);
      if (size <= 0) break;
      answer.append(bytes, static_cast<size_t>(size));
    }
    return answer;
  }

 private:
  const int socket_;
};

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(HttpOptions options) {
    options.listen = "127.0.0.1:0";
    auto server = HttpServer::Start(
        options,
        [this](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
          ++handled_;
          exchange->Reply({.content_type = "text/plain", .body = request.path});
        },
        PlainErrorReply,
        [](const HttpRequest& head) -> std::optional<HttpReply> {
          if (head.path == "/closed") return PlainErrorReply(401, "no");
          return std::nullopt;
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // The whole answer to `request`, after which the server closes.
  std::string Ask(std::string_view request) {
    Caller caller(server_->port());
    caller.Send(request);
    return caller.Read();
  }

  static std::string Post(std::string_view headers, std::string_view body) {
    return "POST /a HTTP/1.1\r\nconnection: close\r\n" + std::string(headers) + "\r\n\r\n" + std::string(body);
  }

  std::unique_ptr<HttpServer> server_;
  std::atomic<int> handled_ = 0;
};

// Sends a byte again and again until the server has had enough; what it said.
std::string Drip(Caller& caller) {
  std::string answer;
  std::thread reader([&] { answer = caller.Read("\r\n\r\n"); });
  while (caller.Send("y")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  reader.join();
  return answer;
}

TEST_F(HttpServerTest, AHeaderThatDripsIsCutOff) {
  Start({.header_timeout = absl::Milliseconds(200)});
  Caller caller(server_->port());
  caller.Send("GET / HTTP/1.1\r\nx: ");
  const std::string answer = caller.Read();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 408 ")) << answer;
  Caller dripping(server_->port());
  dripping.Send("GET / HTTP/1.1\r\nx: ");
  EXPECT_TRUE(Drip(dripping).starts_with("HTTP/1.1 408 "));
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpServerTest, ABodyThatDripsIsCutOff) {
  Start({.body_timeout = absl::Milliseconds(200)});
  Caller caller(server_->port());
  caller.Send(Post("content-length: 100000", "x"));
  EXPECT_TRUE(Drip(caller).starts_with("HTTP/1.1 408 "));
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpServerTest, AConnectionThatAsksNothingIsClosed) {
  Start({.idle_timeout = absl::Milliseconds(100)});
  Caller silent(server_->port());
  EXPECT_EQ(silent.Read(), "");
  Caller once(server_->port());
  once.Send("GET /a HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(once.Read().ends_with("\r\n\r\n/a")) << "and then closed";
}

TEST_F(HttpServerTest, WhenAllConnectionsAreTakenTheOldestIdleOneGoes) {
  Start({.max_connections = 2});
  Caller first(server_->port());
  first.Send("GET /first HTTP/1.1\r\n\r\n");
  first.Read("/first");
  Caller second(server_->port());
  second.Send("GET /second HTTP/1.1\r\n\r\n");
  second.Read("/second");
  Caller third(server_->port());
  third.Send("GET /third HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(third.Read("/third").starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(first.Read(), "") << "closed";
  second.Send("GET /again HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(second.Read("/again").starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, AConnectionInUseIsNotGivenUpForAnother) {
  Start({.max_connections = 1});
  Caller busy(server_->port());
  busy.Send("POST /busy HTTP/1.1\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
  busy.Read("100 Continue\r\n\r\n");
  Caller other(server_->port());
  EXPECT_EQ(other.Read(), "") << "closed at once";
  busy.Send("xy");
  EXPECT_TRUE(busy.Read("/busy").starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, OversizedPartsHaveTheirStatus) {
  Start({.max_header_bytes = 4096, .max_body_bytes = 10'000, .max_bodies_bytes = 15'000});
  EXPECT_TRUE(Ask("GET /a HTTP/1.1\r\nx: " + std::string(5000, 'y') + "\r\n\r\n").starts_with("HTTP/1.1 431 "));
  EXPECT_TRUE(Ask("GET /" + std::string(5000, 'y')).starts_with("HTTP/1.1 431 "));
  EXPECT_TRUE(Ask(Post("content-length: 10001", "")).starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(Ask(Post("content-length: 18446744073709551616", "")).starts_with("HTTP/1.1 400 "));
  std::string chunks;
  for (int i = 0; i < 3; ++i) chunks += "fa0\r\n" + std::string(4000, 'x') + "\r\n";
  EXPECT_TRUE(Ask(Post("transfer-encoding: chunked", chunks)).starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(Ask(Post("transfer-encoding: chunked", "ffffffffffffffff\r\n")).starts_with("HTTP/1.1 4"));
  Caller holder(server_->port());
  holder.Send("POST /a HTTP/1.1\r\ncontent-length: 9000\r\nexpect: 100-continue\r\n\r\n");
  holder.Read("100 Continue");
  EXPECT_TRUE(Ask(Post("content-length: 9000", "")).starts_with("HTTP/1.1 429 ")) << "both do not fit";
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpServerTest, ChunksCannotCarryMoreThanTheirData) {
  Start({.max_header_bytes = 4096, .max_body_bytes = 10'000});
  const std::string extension(1 << 20, 'e');
  EXPECT_TRUE(Ask(Post("transfer-encoding: chunked", "1;" + extension)).starts_with("HTTP/1.1 4"));
  EXPECT_TRUE(Ask(Post("transfer-encoding: chunked", "1\r\nx\r\n0\r\nx: " + extension)).starts_with("HTTP/1.1 4"));
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpServerTest, NoRequestHidesInAnother) {
  Start({});
  const std::string hidden = "GET /hidden HTTP/1.1\r\nconnection: close\r\n\r\n";
  const std::string chunked = "5\r\nhello\r\n0\r\n\r\n";
  for (const char* headers :
       {"content-length: 5\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 6", "content-length: 5, 6", "content-length: +5", "content-length: 0x5",
        "content-length: 5 5", "content-length : 5", "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity", "transfer-encoding: gzip", "transfer-encoding: identity",
        "transfer-encoding : chunked", "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "content-length: 5\x01", " content-length: 5"}) {
    const std::string answer = Ask(Post(headers, chunked + hidden));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5")) << headers << ": " << answer;
    EXPECT_EQ(answer.find("/hidden"), answer.npos) << headers;
  }
  for (const char* body : {"zz\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n",
                           "5\r\nhelloX\r\n0\r\n\r\n", "\r\n0\r\n\r\n"}) {
    const std::string answer = Ask(Post("transfer-encoding: chunked", body + hidden));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 4")) << body << ": " << answer;
    EXPECT_EQ(answer.find("/hidden"), answer.npos) << body;
  }
  EXPECT_TRUE(
      Ask("POST /a HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n" + chunked + hidden).starts_with("HTTP/1.1 4"));
  EXPECT_EQ(handled_, 0);
  EXPECT_TRUE(Ask(Post("transfer-encoding: chunked", chunked)).ends_with("/a"));
}

TEST_F(HttpServerTest, AThousandRequestsAtOnceAreAnsweredInTurn) {
  Start({});
  std::string requests;
  for (int i = 0; i < 1000; ++i) requests += "GET /" + std::to_string(i) + " HTTP/1.1\r\n\r\n";
  Caller caller(server_->port());
  std::thread sender([&] { caller.Send(requests + "GET /last HTTP/1.1\r\nconnection: close\r\n\r\n"); });
  const std::string answers = caller.Read();
  sender.join();
  EXPECT_TRUE(answers.ends_with("/last"));
  size_t position = 0;
  for (int i = 0; i < 1000; ++i) {
    position = answers.find("\r\n\r\n/" + std::to_string(i), position);
    ASSERT_NE(position, answers.npos) << i;
  }
  EXPECT_EQ(handled_, 1001);
}

TEST_F(HttpServerTest, WhatTheHeaderForbidsIsNotRead) {
  Start({});
  const std::string answer = Ask("POST /closed HTTP/1.1\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 401 ")) << answer;
  EXPECT_EQ(handled_, 0);
}

}  // namespace
}  // namespace diptych::gateway
