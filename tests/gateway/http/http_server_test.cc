// The HTTP server against callers with bad manners, with limits small enough to be reached.
#include "gateway/http/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <list>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "gateway/http/openai_reply.h"
#include "tests/gateway/http/http_server_fixture.h"

namespace diptych::gateway {
namespace {

class HttpServerTest : public HttpServerFixture {};

// Sends a byte again and again until the server has had enough; what it said.
std::string Drip(RawCaller& caller) {
  std::string answer;
  std::thread reader([&] { answer = caller.Read("\r\n\r\n"); });
  while (caller.Send("y")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  reader.join();
  return answer;
}

TEST_F(HttpServerTest, AHeaderThatDripsIsCutOff) {
  Start({.header_timeout = absl::Milliseconds(200)});
  RawCaller caller(server_->port());
  caller.Send("GET / HTTP/1.1\r\nhost: localhost\r\nx: ");
  const std::string answer = caller.Read();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 408 ")) << answer;
  RawCaller dripping(server_->port());
  dripping.Send("GET / HTTP/1.1\r\nhost: localhost\r\nx: ");
  EXPECT_TRUE(Drip(dripping).starts_with("HTTP/1.1 408 "));
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpServerTest, ABodyThatDripsIsCutOff) {
  Start({.body_timeout = absl::Milliseconds(200)});
  RawCaller caller(server_->port());
  caller.Send(Post("content-length: 100000", "x"));
  EXPECT_TRUE(Drip(caller).starts_with("HTTP/1.1 408 "));
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpServerTest, ALargeBodyThatDripsInTheEndIsNotHeldForTheTimeThatItCouldHaveTaken) {
  Start({.max_body_bytes = 64 << 20, .max_bodies_bytes = 64 << 20, .body_timeout = absl::Seconds(1)});
  RawCaller caller(server_->port());
  caller.Send(Post("content-length: 50000000", std::string(32 << 20, 'x')));
  EXPECT_TRUE(Drip(caller).starts_with("HTTP/1.1 408 "));  // and not after nine minutes
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpServerTest, AnOldConnectionEndsWithTheNextReply) {
  Start({.connection_age = absl::ZeroDuration()});
  EXPECT_TRUE(Ask("GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n").ends_with("\r\nconnection: close\r\n\r\n/a"));
}

TEST_F(HttpServerTest, AConnectionThatAsksNothingIsClosed) {
  Start({.idle_timeout = absl::Milliseconds(100)});
  RawCaller silent(server_->port());
  EXPECT_EQ(silent.Read(), "");
  RawCaller once(server_->port());
  once.Send("GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n");
  EXPECT_TRUE(once.Read().ends_with("\r\n\r\n/a")) << "and then closed";
}

TEST_F(HttpServerTest, EmptyLinesDoNotKeepAConnectionOpen) {
  Start({.idle_timeout = absl::Milliseconds(100)});
  RawCaller before_any(server_->port());
  while (before_any.Send("\r\n")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  RawCaller between(server_->port());
  between.Send("GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n");
  between.Read("/a");
  while (between.Send("\r\n")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(handled_, 1);
}

TEST_F(HttpServerTest, WhoSendsNoMoreIsAnsweredAllTheSame) {
  Start({});
  const std::string get = "GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n",
                    late = "GET /late HTTP/1.1\r\nhost: localhost\r\n\r\n";
  const std::vector<std::pair<std::string, int>> cases = {
      {get, 1},
      {"GET /a HTTP/1.0\r\n\r\n", 1},
      {"GET /late HTTP/1.0\r\n\r\n", 1},
      {late, 1},
      {late + get + late, 3},
      {Post("content-length: 3", "abc"), 1},
      {Post("transfer-encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"), 1},
      {"GET /late HTTP/1.1\r\nhost: localhost\r\n\r\n" + std::string(40'000, '\n') + get, 2},
      {"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n", 1}};
  for (const auto& [requests, answers] : cases) {
    RawCaller caller(server_->port());
    caller.Send(requests);
    caller.SendNoMore();
    const std::string all = caller.Read();
    int seen = 0;
    for (size_t at = all.find(" 200 OK"); at != all.npos; at = all.find(" 200 OK", at + 1)) ++seen;
    EXPECT_EQ(seen, answers) << requests.substr(0, 100) << "\n" << all;
  }
  EXPECT_EQ(gone_, 0);
}

TEST_F(HttpServerTest, WhoSendsNoMoreAndThenLeavesIsNoticed) {
  Start({});
  auto caller = std::make_unique<RawCaller>(server_->port());
  caller->Send("GET /held HTTP/1.1\r\nhost: localhost\r\n\r\n");
  caller->SendNoMore();
  EXPECT_NE(caller->Read("Continue\r\n\r\n").find(" 100 "), std::string::npos);
  EXPECT_EQ(gone_, 0);
  caller.reset();
  while (gone_ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

TEST_F(HttpServerTest, OversizedPartsHaveTheirStatus) {
  Start({.max_header_bytes = 4096, .max_body_bytes = 10'000, .max_bodies_bytes = 15'000});
  EXPECT_TRUE(Ask("GET /a HTTP/1.1\r\nhost: localhost\r\nx: " + std::string(5000, 'y') + "\r\n\r\n")
                  .starts_with("HTTP/1.1 431 "));
  EXPECT_TRUE(Ask("GET /" + std::string(5000, 'y')).starts_with("HTTP/1.1 431 "));
  EXPECT_TRUE(Ask(Post("content-length: 10001", "")).starts_with("HTTP/1.1 413 "));
  EXPECT_NE(Ask(Post("content-length: 10001", "")).find("10000 bytes at most"), std::string::npos);
  EXPECT_TRUE(Ask(Post("content-length: 18446744073709551616", "")).starts_with("HTTP/1.1 400 "));
  std::string chunks;
  for (int i = 0; i < 3; ++i) chunks += "fa0\r\n" + std::string(4000, 'x') + "\r\n";
  EXPECT_NE(Ask(Post("transfer-encoding: chunked", chunks)).find("10000 bytes at most"), std::string::npos);
  EXPECT_TRUE(Ask(Post("transfer-encoding: chunked", "ffffffffffffffff\r\n")).starts_with("HTTP/1.1 4"));
  std::string answer;
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!answer.starts_with("HTTP/1.1 429 ") &&
         std::chrono::steady_clock::now() < patience) {  // until the server has read the other's before ours
    RawCaller holder(server_->port());
    holder.Send("POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000\r\nexpect: 100-continue\r\n\r\n");
    holder.Read("100 Continue");
    holder.Send(std::string(8000, 'x'));
    handled_ = 0;
    answer = Ask(Post("content-length: 9000", std::string(9000, 'x')));
  }
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 429 ")) << "both do not fit";
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
  const std::string hidden = "GET /hidden HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
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

TEST_F(HttpServerTest, ATrailerIsNoHeader) {
  Start({});
  const std::string answer =
      Ask("POST /field HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
          "1\r\nx\r\n0\r\nx-request-id: of-the-trailer\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("/field")) << answer;
  EXPECT_EQ(answer.find("of-the-trailer"), answer.npos) << answer;
}

TEST_F(HttpServerTest, AThousandRequestsAtOnceAreAnsweredInTurn) {
  Start({});
  std::string requests;
  for (int i = 0; i < 1000; ++i) requests += "GET /" + std::to_string(i) + " HTTP/1.1\r\nhost: localhost\r\n\r\n";
  RawCaller caller(server_->port());
  std::thread sender(
      [&] { caller.Send(requests + "GET /last HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"); });
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
  const std::string answer =
      Ask("POST /closed HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 401 ")) << answer;
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpServerTest, AnnouncedBodiesTakeNoMemory) {
  Start({.max_body_bytes = 10'000, .max_bodies_bytes = 20'000});
  std::vector<std::unique_ptr<RawCaller>> announcers;
  for (int i = 0; i < 20; ++i) {
    announcers.push_back(std::make_unique<RawCaller>(server_->port()));
    announcers.back()->Send(i % 2 == 0
                                ? "POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000\r\n\r\n"
                                : "POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n2328\r\n");
    announcers.back()->Send("some of it");
  }
  EXPECT_TRUE(Ask(Post("content-length: 9000", std::string(9000, 'x'))).starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, ItEndsWhileRequestsCome) {
  const std::string header =
      "POST /a HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 100000\r\n\r\n";
  for (int round = 0; round < 30; ++round) {
    Start({});
    std::list<std::jthread> senders;
    for (int i = 0; i < 4; ++i) {
      senders.emplace_back([caller = std::make_unique<RawCaller>(server_->port()), &header] {
        while (caller->Send(header)) {
          for (int piece = 0; piece < 1000 && caller->Send(std::string(100, 'x')); ++piece) {
          }
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(round % 5));  // in the midst of what, chance decides
    server_.reset();
    EXPECT_EQ(Held(), 0) << "replies that came at the end keep the server";
  }
}

TEST_F(HttpServerTest, WhatARequestKeepsForItsReplyCountsUntilThatHasLeft) {
  Start({.max_body_bytes = 10'000, .max_bodies_bytes = 20'000});
  const auto keep = [this](const std::string& bytes) {
    const std::string answer = Ask("POST /keeps HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: " +
                                   std::to_string(bytes.size()) + "\r\n\r\n" + bytes);
    return answer.substr(answer.find("\r\n\r\n") + 4);
  };
  EXPECT_EQ(keep("9000"), "OK");
  EXPECT_EQ(keep("20000"), "OUT_OF_RANGE");
  while (keep("9000") != "OK") std::this_thread::sleep_for(std::chrono::milliseconds(5));  // once the first has left
  auto holder = std::make_unique<RawCaller>(server_->port());
  holder->Send("POST /keeps_on HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n9000");
  while (kept_ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(keep("5000"), "RESOURCE_EXHAUSTED");
  holder.reset();
  while (keep("5000") != "OK") std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

TEST_F(HttpServerTest, ABodyThatDoesNotComeIsWaitedForSecondsOnly) {
  Start({.byte_timeout = absl::Milliseconds(100)});
  EXPECT_TRUE(Ask(Post("content-length: 5", "")).starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(Ask(Post("content-length: 5", "1")).starts_with("HTTP/1.1 408 ")) << "or stops coming";
  EXPECT_TRUE(Ask(Post("transfer-encoding: chunked", "")).starts_with("HTTP/1.1 408 "));
}

TEST_F(HttpServerTest, BodiesOfAllSizesComeWhole) {
  Start({.max_body_bytes = 1 << 20});
  for (const size_t size : {size_t{1}, size_t{65535}, size_t{65536}, size_t{65537}, size_t{131072}, size_t{1} << 20}) {
    const std::string body(size, 'x');
    EXPECT_TRUE(Ask(Post("content-length: " + std::to_string(size), body)).starts_with("HTTP/1.1 200 ")) << size;
    std::ostringstream chunk;
    chunk << std::hex << size << "\r\n" << body << "\r\n0\r\n\r\n";
    EXPECT_TRUE(Ask(Post("transfer-encoding: chunked", chunk.str())).starts_with("HTTP/1.1 200 ")) << size;
  }
}

TEST_F(HttpServerTest, ARefusalAfterAHeadHasItsBody) {
  Start({});
  for (const char* refused :
       {"nonsense\r\n\r\n", "GET /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n"}) {
    const std::string answer = Ask(std::string("HEAD /a HTTP/1.1\r\nhost: localhost\r\n\r\n") + refused);
    EXPECT_NE(answer.find("HTTP/1.1 400 "), answer.npos) << answer;
    EXPECT_TRUE(answer.ends_with("}}")) << answer;
  }
}

TEST_F(HttpServerTest, OtherHostsAreForbidden) {
  Start({.hosts = {"diptych.example"}});
  const auto get = [this](const std::string& host) {
    return Ask("GET /a HTTP/1.1\r\nconnection: close\r\nhost: " + host + "\r\n\r\n");
  };
  EXPECT_TRUE(get("evil.example:8080").starts_with("HTTP/1.1 403 "));
  EXPECT_TRUE(get("127.0.0.1\r\nhost: evil.example").starts_with("HTTP/1.1 400 "));
  const auto as_a_proxy = [this](const std::string& url) {
    return Ask("GET " + url + " HTTP/1.1\r\nconnection: close\r\nhost: localhost\r\n\r\n");
  };
  EXPECT_TRUE(as_a_proxy("http://evil.example/a").starts_with("HTTP/1.1 403 "));
  EXPECT_EQ(handled_, 0);
  EXPECT_TRUE(get("127.0.0.1:8080").starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(get("diptych.example").starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(as_a_proxy("http://diptych.example:80/a?b").ends_with("\r\n\r\n/a"));
}

TEST_F(HttpServerTest, ARequestSaysOnceForWhichHostItIs) {
  Start({.hosts = {"*"}});
  const auto status = [this](const std::string& head) { return Ask(head + "connection: close\r\n\r\n").substr(0, 13); };
  const std::string get = "GET /a HTTP/1.1\r\n", of_old = "GET /a HTTP/1.0\r\n";
  for (const std::string headers : {"",
                                    "host:\r\n",
                                    "host: \t\r\n",
                                    "host: a\r\nhost: a\r\n",
                                    "host: a\r\nHost:\r\n",
                                    "host: a b\r\n",
                                    "host: a\r\n b\r\n",
                                    "host : a\r\n",
                                    " host: a\r\n",
                                    "host: a,b c\r\n",
                                    "host: a/b\r\n",
                                    "host: user@a\r\n",
                                    "host: http://a\r\n",
                                    "host: a?b\r\n",
                                    "host: a#b\r\n",
                                    "host: :80\r\n",
                                    "host: a:b\r\n",
                                    "host: a:80:80\r\n",
                                    "host: [::1\r\n",
                                    "host: []\r\n",
                                    "host: [::1]a\r\n",
                                    "host: [a]\r\n",
                                    "host: ::1\r\n",
                                    "host: \xc3\xa4\r\n",
                                    "host: a\\b\r\n",
                                    "xhost: a\r\n"}) {
    EXPECT_EQ(status(get + headers), "HTTP/1.1 400 ") << headers;
    if (!headers.empty() && headers[0] == 'h') {
      EXPECT_EQ(status(of_old + headers), "HTTP/1.1 400 ") << headers;
    }
  }
  EXPECT_EQ(status("GET http://a/b HTTP/1.1\r\n"), "HTTP/1.1 400 ") << "a target that has one does not stand for it";
  EXPECT_EQ(status("GET http://user@a/b HTTP/1.1\r\nhost: a\r\n"), "HTTP/1.1 400 ");
  EXPECT_EQ(handled_, 0);
  for (const std::string headers : {"host: a\r\n", "HOST:a:80\r\n", "host: \t a \r\n", "host: a:\r\n",
                                    "host: [::1]:80\r\n", "host: a_b.c-d.\r\n"}) {
    EXPECT_EQ(status(get + headers), "HTTP/1.1 200 ") << headers;
  }
  EXPECT_EQ(status(of_old), "HTTP/1.1 200 ");
}

TEST_F(HttpServerTest, AHandlerThatThrowsCostsItsRequestOnly) {
  Start({});
  EXPECT_TRUE(Ask("GET /throws HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").starts_with("HTTP/1.1 500 "));
  EXPECT_TRUE(Ask("POST /throws HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx")
                  .starts_with("HTTP/1.1 500 "));
  EXPECT_TRUE(Ask(Post("content-length: 1", "x")).starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, ACallerThatLeavesIsNoticedWhateverItSentBefore) {
  Start({});
  int left = 0;
  for (const size_t more : {0, 1, 2, 20'000, 60'000}) {
    {
      RawCaller caller(server_->port());
      caller.Send("POST /held HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx" + std::string(more, '\n'));
    }
    ++left;
    for (int i = 0; i < 1000 && gone_ < left; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(gone_, left) << more;
  }
}

TEST_F(HttpServerTest, ARequestThatCameDuringAnotherIsAnswered) {
  Start({});
  RawCaller caller(server_->port());
  for (int i = 0; i < 50; ++i) {
    caller.Send(
        "POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nxGET /b HTTP/1.1\r\nhost: localhost\r\n\r\n");
    EXPECT_TRUE(caller.Read("/b").ends_with("/b")) << i;
  }
}

TEST_F(HttpServerTest, AnEmptyLineBeforeARequestIsNothing) {
  Start({});
  EXPECT_TRUE(Ask("POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx\r\nGET /b HTTP/1.1\r\nhost: "
                  "localhost\r\nconnection: close\r\n\r\n")
                  .ends_with("/b"));
}

TEST_F(HttpServerTest, WhoSendsALargeBodySteadilyMaySendAllOfIt) {
  Start({.max_body_bytes = 2 << 20, .body_timeout = absl::Seconds(1)});
  RawCaller caller(server_->port());
  caller.Send("POST /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 1048576\r\n\r\n");
  for (int i = 0; i < 16; ++i) {
    caller.Send(std::string(64 << 10, 'x'));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_TRUE(caller.Read().starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, WhoReadsALargeReplySlowlyGetsAllOfIt) {
  Start({.write_timeout = absl::Seconds(2)});
  RawCaller caller(server_->port(), 64 << 10);
  caller.Send("GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
  size_t count = 0, more = 1;
  for (; more > 0; count += more) {  // for about twice the time that one piece of it has
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    more = caller.Count(1 << 20);
  }
  EXPECT_GT(count, kLargeBytes);
}

TEST_F(HttpServerTest, WhoReadsNothingOfALargeReplyIsCutOff) {
  Start({.write_timeout = absl::Milliseconds(100)});
  RawCaller caller(server_->port(), 64 << 10);
  caller.Send("GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
  while (handled_ == 0 || Held() > 0) std::this_thread::yield();
  EXPECT_LT(caller.Count(2 * kLargeBytes), kLargeBytes);
}

}  // namespace
}  // namespace diptych::gateway
