#include "gateway/admission/pending_messages.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "common/grpc/raw_service.h"

namespace diptych::gateway {
namespace {

Caller Key(const std::string& name) {
  auto key = std::make_shared<ApiKey>();
  key->name = name;
  return key;
}

TEST(PendingMessagesTest, AKeyHasPatienceForAFewMessagesAtATime) {
  PendingMessages messages(2);
  const auto first = messages.Begin(Key("ada")), second = messages.Begin(Key("ada"));
  EXPECT_EQ(first.patience, kLongPatience);
  EXPECT_EQ(second.patience, kLongPatience);
  EXPECT_EQ(messages.Begin(Key("ada")).patience, kShortPatience);
  EXPECT_EQ(messages.Begin(Key("bob")).patience, kLongPatience) << "of another key";
}

TEST(PendingMessagesTest, MessagesThatHaveComeCountNoMore) {
  PendingMessages messages(1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(messages.Begin(Key("ada")).patience, kLongPatience) << i;
}

TEST(PendingMessagesTest, WithoutKeysNobodyIsCounted) {
  PendingMessages messages(1);
  const auto first = messages.Begin(nullptr);
  EXPECT_EQ(messages.Begin(nullptr).patience, kLongPatience);
}

TEST(PendingMessagesTest, AMessageMayOutliveIt) {
  std::optional<PendingMessages> messages(1);
  const auto message = messages->Begin(Key("ada"));
  messages.reset();
}

}  // namespace
}  // namespace diptych::gateway
