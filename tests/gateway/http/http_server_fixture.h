// A server with handlers for tests, and callers that write bytes.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <list>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "gateway/http/http_server.h"
#include "gateway/http/openai_reply.h"

namespace diptych::gateway {

// A caller that writes bytes.
class RawCaller {
 public:
  // `receive_bytes`: of what has come and is not read, where that is not the system's choice.
  explicit RawCaller(int port, int receive_bytes = 0) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_bytes > 0) setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~RawCaller() { close(socket_); }
  RawCaller(const RawCaller&) = delete;
  RawCaller& operator=(const RawCaller&) = delete;

  // False once the server has closed.
  bool Send(std::string_view bytes) {
    return send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }

  void SendNoMore() { shutdown(socket_, SHUT_WR); }

  // How many bytes came, of at most so many; fewer if the server closed.
  size_t Count(size_t most) {
    std::vector<char> bytes(64 << 10);
    size_t count = 0;
    while (count < most) {
      const ssize_t size = recv(socket_, bytes.data(), std::min(bytes.size(), most - count), 0);
      if (size <= 0) break;
      count += static_cast<size_t>(size);
    }
    return count;
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

class HttpServerFixture : public ::testing::Test {
 protected:
  static constexpr size_t kLargeBytes = 16 << 20;  // of the reply to /large: more than sockets take

  void Start(HttpOptions options) {
    options.listen = "127.0.0.1:0";
    auto server = HttpServer::Start(
        options,
        [this](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
          Remember(exchange);  // so that whoever is handled is held
          ++handled_;
          if (request.path == "/throws") throw std::bad_alloc();
          if (request.path == "/keeps") {
            const absl::Status kept = exchange->Keep(std::stoi(request.body));
            return exchange->Reply({.content_type = "text/plain", .body = absl::StatusCodeToString(kept.code())});
          }
          if (request.path == "/keeps_on") {
            while (!exchange->Keep(std::stoi(request.body)).ok()) std::this_thread::yield();
            ++kept_;
            return;
          }
          if (request.path == "/waits") {
            ++waiting_;
            released_.wait(false);
          }
          if (request.path == "/held") {
            exchange->OnGone([this] { ++gone_; });
            return;
          }
          if (request.path == "/large") {
            return exchange->Reply({.content_type = "text/plain", .body = std::string(kLargeBytes, 'x')});
          }
          if (request.path == "/late" || request.path == "/events") {
            late_.emplace_back([exchange, path = request.path] { AnswerLate(*exchange, path); });
            return;
          }
          exchange->Reply({.content_type = "text/plain",
                           .body = (request.path == "/field" ? request.request_id : "") + request.path});
        },
        PlainErrorReply,
        [](const HttpRequest& head) -> HttpVerdict {
          if (head.path == "/closed") return {.refusal = PlainErrorReply(401, "no")};
          return {.caller = head.authorization, .is_open = head.path == "/open" || head.path == "/large"};
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  void Remember(const std::shared_ptr<HttpExchange>& exchange) {
    MutexLock lock(mutex_);
    exchanges_.push_back(exchange);
  }

  // Exchanges that somebody still holds.
  int Held() {
    MutexLock lock(mutex_);
    return static_cast<int>(
        std::count_if(exchanges_.begin(), exchanges_.end(), [](const auto& each) { return !each.expired(); }));
  }

  static void AnswerLate(HttpExchange& exchange, const std::string& path) {
    if (path == "/events") exchange.StartEvents();
    std::this_thread::sleep_for(std::chrono::milliseconds(400));  // the server looks a few times meanwhile
    if (path == "/late") return exchange.Reply({.content_type = "text/plain", .body = path});
    exchange.SendEvent({.name = {}, .data = "late"}, [](bool) {});
    exchange.EndEvents();
  }

  // The whole answer to `request`, after which the server closes.
  std::string Ask(std::string_view request) {
    RawCaller caller(server_->port());
    caller.Send(request);
    return caller.Read();
  }

  static std::string Post(std::string_view headers, std::string_view body) {
    return "POST /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n" + std::string(headers) + "\r\n\r\n" +
           std::string(body);
  }

  Mutex mutex_;
  std::vector<std::weak_ptr<HttpExchange>> exchanges_ ABSL_GUARDED_BY(mutex_);  // of all requests
  std::unique_ptr<HttpServer> server_;  // after what its handler uses until its end
  std::atomic<int> handled_ = 0;
  std::atomic<int> gone_ = 0;
  std::atomic<int> kept_ = 0;
  std::atomic<int> waiting_ = 0;
  std::atomic<bool> released_ = false;  // until then /waits keeps its thread
  std::list<std::jthread> late_;        // added to by one connection at a time
};

}  // namespace diptych::gateway
