// Who is served, refused or given up where all connections of the HTTP server are taken.
#include <gtest/gtest.h>

#include <list>
#include <string>
#include <thread>

#include "gateway/http/waiting_callers.h"
#include "tests/gateway/http/http_server_fixture.h"
#include "tests/testing/succeeds_once.h"

namespace diptych::gateway {
namespace {

class HttpConnectionsTest : public HttpServerFixture {
 protected:
  // Asks for what is answered after Release.
  void BeBusy(RawCaller& caller) {
    released_ = false;
    const int waiting = waiting_;
    caller.Send("POST /waits HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nxy");
    while (waiting_ <= waiting) std::this_thread::yield();
  }

  void Release() {
    released_ = true;
    released_.notify_all();
  }
};

TEST_F(HttpConnectionsTest, WhenAllConnectionsAreTakenTheOldestIdleOneGoes) {
  Start({.threads = 1, .max_connections = 2});  // one thread has done with a reply before it sees the next caller
  RawCaller first(server_->port());
  first.Send("GET /first HTTP/1.1\r\nhost: localhost\r\n\r\n");
  first.Read("/first");
  RawCaller second(server_->port());
  second.Send("GET /second HTTP/1.1\r\nhost: localhost\r\n\r\n");
  second.Read("/second");
  RawCaller third(server_->port());
  third.Send("GET /third HTTP/1.1\r\nhost: localhost\r\n\r\n");
  EXPECT_TRUE(third.Read("/third").starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(first.Read(), "") << "closed";
  second.Send("GET /again HTTP/1.1\r\nhost: localhost\r\n\r\n");
  EXPECT_TRUE(second.Read("/again").starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpConnectionsTest, WhoHasSaidNothingYetTakesNoPlaceOfWhoAsks) {
  Start({.max_connections = 1, .idle_timeout = absl::Minutes(10)});
  std::list<RawCaller> silent;
  for (int i = 0; i < 10; ++i) silent.emplace_back(server_->port());
  EXPECT_TRUE(Ask("GET /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").starts_with("HTTP/1.1 200 "));
  silent.front().Send("GET /first HTTP/1.1\r\nhost: localhost\r\n\r\n");
  EXPECT_TRUE(silent.front().Read("/first").starts_with("HTTP/1.1 200 ")) << "nor is given up";
}

TEST_F(HttpConnectionsTest, HoweverManyStaySilentWhoAsksIsAnswered) {
  Start({.max_new_callers = 4, .idle_timeout = absl::Minutes(10)});
  std::list<RawCaller> silent;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 20; ++j) silent.emplace_back(server_->port());
    EXPECT_TRUE(Ask("GET /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").starts_with("HTTP/1.1 200 "));
  }
  EXPECT_TRUE(silent.front().Read().starts_with("HTTP/1.1 503 ")) << "the oldest went";
  silent.pop_front();
  silent.front().Send("GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n");
  const std::string told = silent.front().Read();
  EXPECT_TRUE(told.starts_with("HTTP/1.1 503 ")) << "one that asks just then is told, too";
  EXPECT_NE(told.find("\r\nretry-after: "), std::string::npos);
}

TEST_F(HttpConnectionsTest, HoweverManyComeAtOnceEachIsToldThatThereIsNoRoom) {
  Start({.max_connections = 1});
  RawCaller busy(server_->port());
  BeBusy(busy);
  std::list<RawCaller> crowd;
  for (int i = 0; i < 300; ++i) crowd.emplace_back(server_->port()).Send("GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n");
  for (; !crowd.empty(); crowd.pop_front()) EXPECT_TRUE(crowd.front().Read().starts_with("HTTP/1.1 503 "));
  Release();
  EXPECT_TRUE(busy.Read("/waits").starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpConnectionsTest, HeadersThatDripKeepNobodyOut) {
  Start({.threads = 1, .max_connections = 4, .byte_timeout = absl::ZeroDuration()});
  std::list<RawCaller> drips;
  for (int i = 0; i < 4; ++i) drips.emplace_back(server_->port()).Send("GET / HTTP/1.1\r\nhost: localhost\r\nx: ");
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Ask("GET /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").starts_with("HTTP/1.1 200 "));
    drips.emplace_back(server_->port()).Send("GET / HTTP/1.1\r\nhost: localhost\r\nx: ");
  }
  EXPECT_EQ(drips.front().Read(), "") << "the oldest went";
}

TEST_F(HttpConnectionsTest, WhatAnybodyMayAskKeepsNobodyOutThoughItDripsOrIsNotRead) {
  constexpr absl::Duration kLong = absl::Minutes(10);
  Start({.threads = 1, .max_connections = 2, .body_timeout = kLong, .byte_timeout = kLong, .write_timeout = kLong});
  RawCaller drips(server_->port());
  drips.Send("GET /open HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
  drips.Read("100 Continue\r\n\r\n");
  RawCaller reads_nothing(server_->port(), 64 << 10);
  reads_nothing.Send("GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n");
  reads_nothing.Count(1);
  reads_nothing.Send("GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n");
  std::list<RawCaller> others;
  for (RawCaller* const goes : {&drips, &reads_nothing}) {
    RawCaller& next = others.emplace_back(server_->port());
    next.Send("POST /busy HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
    ASSERT_TRUE(next.Read("100 Continue\r\n\r\n").starts_with("HTTP/1.1 100 "));
    EXPECT_LT(goes->Count(kLargeBytes), kLargeBytes - 1) << "closed";
    next.Send("xy");
    EXPECT_TRUE(next.Read("/busy").starts_with("HTTP/1.1 200 "));
  }
}

// The server's one thread finds the new caller first, gives up an idle connection for it, and then finds that this one
// asks.
TEST_F(HttpConnectionsTest, CallersWhoAskJustWhenTheyAreGivenUpKeepNobodyOut) {
  Start({.threads = 1, .max_connections = 2, .idle_timeout = absl::Minutes(10)});
  std::list<RawCaller> callers;
  const auto come = [&] { return &callers.emplace_back(server_->port()); };
  const auto asks = [](RawCaller& caller) { return caller.Send("GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n"); };
  const auto is_answered = [](RawCaller& caller) { return caller.Read("/a").starts_with("HTTP/1.1 200 "); };
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(asks(*come()) && is_answered(callers.back()));
  for (int i = 0; i < 80; ++i) {
    RawCaller& last = callers.back();
    released_ = false;
    last.Send("GET /waits HTTP/1.1\r\nhost: localhost\r\n\r\n");
    while (waiting_ <= i) std::this_thread::yield();
    RawCaller* const added = come();
    for (RawCaller& caller : callers) {
      if (&caller != &last) asks(caller);
    }
    Release();
    last.Read("/waits");
    ASSERT_TRUE(is_answered(*added)) << i;
    callers.remove_if([&](RawCaller& caller) { return &caller != &last && &caller != added && !is_answered(caller); });
  }
}

TEST_F(HttpConnectionsTest, AConnectionInUseIsNotGivenUpForAnother) {
  Start({.max_connections = 1});
  RawCaller busy(server_->port());
  BeBusy(busy);
  EXPECT_TRUE(Ask("GET /other HTTP/1.1\r\nhost: localhost\r\n\r\n").starts_with("HTTP/1.1 503 "));
  Release();
  EXPECT_TRUE(busy.Read("/waits").starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpConnectionsTest, BodiesThatDripKeepNobodyOut) {
  Start({.max_connections = 4, .byte_timeout = absl::Minutes(10)});
  std::list<RawCaller> drips;
  const auto drip = [&] {
    drips.emplace_back(server_->port()).Send("POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nx");
  };
  for (int i = 0; i < 4; ++i) drip();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(testing::SucceedsOnce([&] {  // the grace begins when the server has read what drips
      std::this_thread::sleep_for(WaitingCallers::kGrace);
      return Ask("POST /b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx")
          .starts_with("HTTP/1.1 200 ");
    }));
    drip();
  }
  const std::string told = drips.front().Read();
  EXPECT_TRUE(told.starts_with("HTTP/1.1 503 ")) << told;
  EXPECT_NE(told.find("\r\nretry-after: "), std::string::npos);
}

}  // namespace
}  // namespace diptych::gateway
