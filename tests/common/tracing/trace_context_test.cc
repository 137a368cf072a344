#include "common/tracing/trace_context.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace diptych {
namespace {

constexpr char kParent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TraceContext Parsed(const std::string& parent, const std::string& state = "") {
  return ParseTraceContext(parent, state);
}

TEST(TraceContextTest, AParentComesBackAsItCame) {
  EXPECT_EQ(ToTraceparent(Parsed(kParent)), kParent);
  EXPECT_EQ(TraceIdOf(Parsed(kParent)), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_TRUE(Parsed(kParent).sampled());
  EXPECT_FALSE(Parsed("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").sampled());
}

TEST(TraceContextTest, FlagsThatAreNotKnownAreNotSentOn) {
  const TraceContext context = Parsed("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff");
  EXPECT_TRUE(context.sampled());
  EXPECT_EQ(ToTraceparent(context), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03");
}

TEST(TraceContextTest, ALaterVersionIsReadAsFarAsItIsKnown) {
  for (const std::string parent : {"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                   "fe-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-follows"}) {
    EXPECT_EQ(ToTraceparent(Parsed(parent)), kParent) << parent;
  }
}

TEST(TraceContextTest, NothingElseIsAParent) {
  for (const std::string parent : {
           "",
           "00",
           "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "00-00000000000000000000000000000000-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
           "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0A",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
           "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
           "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
           "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
           " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
       }) {
    EXPECT_FALSE(Parsed(parent).exists()) << parent;
  }
  EXPECT_FALSE(Parsed(std::string(1 << 20, '0')).exists());
  EXPECT_FALSE(Parsed(std::string(kParent) + '\0').exists());
}

TEST(TraceContextTest, StateIsHandedOnAsItCame) {
  for (const std::string state :
       {"a=1", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "1a-2@b_c*d/e=x y", "a=1, b=2,,c=3"}) {
    EXPECT_EQ(Parsed(kParent, state).state, state);
  }
}

TEST(TraceContextTest, TabsBetweenMembersAreHandedOnAsSpaces) {
  EXPECT_EQ(Parsed(kParent, "a=1,\tb=2 ,\t c=3\t").state, "a=1, b=2 ,  c=3 ");
  EXPECT_EQ(Parsed(kParent, "a=1\t2").state, "");
}

TEST(TraceContextTest, StateOfAnotherFormIsLeftOutAndTheParentStays) {
  std::string many = "k0=v";
  for (int i = 1; i <= 32; ++i) many += ",k" + std::to_string(i) + "=v";
  for (const std::string& state :
       {std::string("a"), std::string("=1"), std::string("A=1"), std::string("a=1=2"), std::string("a=1,a=2"),
        std::string("a b=1"), std::string("a=1,\nb=2"), std::string("a=1\r"), std::string("\va=1"),
        std::string("a@b@c=1"), std::string("a=\x01"), std::string("a=\xc3\xa4"),
        std::string("a=") + std::string(257, 'x'), std::string(257, 'a') + "=1", std::string(","), many}) {
    EXPECT_TRUE(Parsed(kParent, state).exists());
    EXPECT_EQ(Parsed(kParent, state).state, "") << state;
  }
  EXPECT_EQ(Parsed("00", "a=1").state, "") << "state without a parent";
}

TEST(TraceContextTest, NewIdsDifferAndAreNeverZero) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    const TraceContext trace = NewTrace();
    EXPECT_TRUE(trace.exists());
    EXPECT_FALSE(trace.sampled());
    EXPECT_TRUE(Parsed(ToTraceparent(trace)).exists());
    ids.insert(ToTraceparent(trace));
  }
  EXPECT_EQ(ids.size(), 1000U);
}

}  // namespace
}  // namespace diptych
