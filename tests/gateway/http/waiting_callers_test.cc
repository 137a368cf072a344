#include "gateway/http/waiting_callers.h"

#include <gtest/gtest.h>

#include "gateway/http/caller_host.h"

namespace diptych::gateway {
namespace {

using boost::asio::ip::make_address;
using std::chrono::milliseconds;

class WaitingCallersTest : public ::testing::Test {
 protected:
  // Never looked into.
  HttpConnection* Caller(int i) { return reinterpret_cast<HttpConnection*>(&callers_[i]); }
  WaitingCallers::Time After(int ms) { return WaitingCallers::Time() + milliseconds(ms); }

  char callers_[8] = {};
  WaitingCallers room_;
};

TEST_F(WaitingCallersTest, OfTheHostThatHasMostTheFirstGoes) {
  room_.Add(Caller(0), "quiet", After(0));
  for (int i = 1; i < 4; ++i) room_.Add(Caller(i), "crowd", After(i));
  EXPECT_EQ(room_.ChooseToGo(After(1000)), Caller(1));
  EXPECT_EQ(room_.ChooseToGo(After(1000)), Caller(2)) << "the first has been told already";
}

TEST_F(WaitingCallersTest, OfHostsThatHaveAsManyTheFirstGoes) {
  room_.Add(Caller(0), "b", After(0));
  room_.Add(Caller(1), "a", After(1));
  EXPECT_EQ(room_.ChooseToGo(After(1000)), Caller(0));
}

TEST_F(WaitingCallersTest, NobodyGoesWhoHasOnlyJustCome) {
  EXPECT_EQ(room_.ChooseToGo(After(0)), nullptr) << "nobody is here";
  room_.Add(Caller(0), "a", After(0));
  EXPECT_EQ(room_.ChooseToGo(After(249)), nullptr);
  EXPECT_EQ(room_.ChooseToGo(After(250)), Caller(0));
  EXPECT_EQ(room_.ChooseToGo(After(251)), nullptr) << "it is told again only after a while";
}

TEST_F(WaitingCallersTest, WhoHasLeftIsNotChosen) {
  for (int i = 0; i < 3; ++i) room_.Add(Caller(i), "a", After(i));
  room_.Remove(Caller(0));
  room_.Remove(Caller(0));
  EXPECT_EQ(room_.size(), 2u);
  EXPECT_EQ(room_.ChooseToGo(After(1000)), Caller(1));
}

TEST(CallerHostTest, AddressesThatOneHostMayHaveAreOne) {
  EXPECT_EQ(CallerHost(make_address("2001:db8::1")), CallerHost(make_address("2001:db8::ffff:1")));
  EXPECT_NE(CallerHost(make_address("2001:db8::1")), CallerHost(make_address("2001:db8:0:1::1")));
  EXPECT_NE(CallerHost(make_address("10.0.0.1")), CallerHost(make_address("10.0.0.2")));
}

TEST(CallerHostTest, AnIpv4AddressIsTheSameOnAPortOfIpv6) {
  EXPECT_NE(CallerHost(make_address("::ffff:10.0.0.1")), CallerHost(make_address("::ffff:10.0.0.2")));
  EXPECT_EQ(CallerHost(make_address("::ffff:10.0.0.1")), CallerHost(make_address("10.0.0.1")));
}

}  // namespace
}  // namespace diptych::gateway
