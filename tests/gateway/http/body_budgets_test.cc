#include "gateway/http/body_budgets.h"

#include <gtest/gtest.h>

namespace diptych::gateway {
namespace {

using boost::asio::ip::make_address;

TEST(BodyBudgetsTest, AnAddressHasItsShare) {
  BodyBudgets budgets(100, 60);
  auto first = budgets.Open(make_address("10.0.0.1"), "");
  auto second = budgets.Open(make_address("10.0.0.1"), "");
  EXPECT_TRUE(first.Grow(40).ok());
  EXPECT_FALSE(second.Grow(30).ok()) << "40 of 60 are taken";
  EXPECT_TRUE(second.Grow(20).ok());
  auto other = budgets.Open(make_address("10.0.0.2"), "");
  EXPECT_FALSE(other.Grow(50).ok()) << "60 of 100 are taken";
  EXPECT_TRUE(other.Grow(40).ok());
}

TEST(BodyBudgetsTest, ACallerHasItsShareFromWhereverItComes) {
  BodyBudgets budgets(100, 60);
  auto here = budgets.Open(make_address("10.0.0.1"), "alice");
  auto there = budgets.Open(make_address("10.0.0.2"), "alice");
  EXPECT_TRUE(here.Grow(50).ok());
  EXPECT_FALSE(there.Grow(20).ok());
  auto other = budgets.Open(make_address("10.0.0.2"), "bob");
  EXPECT_TRUE(other.Grow(50).ok());
}

TEST(BodyBudgetsTest, HalfAnIpv6AddressIsOneHost) {
  BodyBudgets budgets(100, 60);
  auto first = budgets.Open(make_address("2001:db8::1"), "");
  auto second = budgets.Open(make_address("2001:db8::ffff:1"), "");
  EXPECT_TRUE(first.Grow(60).ok());
  EXPECT_FALSE(second.Grow(1).ok());
}

TEST(BodyBudgetsTest, WhatDoesNotFitLeavesNothingTaken) {
  BodyBudgets budgets(100, 60);
  auto lease = budgets.Open(make_address("10.0.0.1"), "alice");
  EXPECT_FALSE(lease.Grow(61).ok());
  EXPECT_EQ(lease.bytes(), 0);
  EXPECT_TRUE(lease.Grow(60).ok());
  lease = budgets.Open(make_address("10.0.0.1"), "alice");
  EXPECT_TRUE(lease.Grow(60).ok()) << "the former one was given back";
}

}  // namespace
}  // namespace diptych::gateway
