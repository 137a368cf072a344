#include "gateway/tiers/tier_claims.h"

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

// So that no sum of a few, nor the product of a few with the images of a request, leaves 32 bits.
constexpr int64_t kMostTokens = 1 << 24;
constexpr int64_t kLongestSide = 8192;
constexpr int64_t kLongestSeconds = 24 * 60 * 60;

absl::Status Nonsense(std::string_view what) {
  return MakeError(absl::StatusCode::kInternal, reason::kTierProtocol,
                   absl::StrCat("a tier's claim is impossible: ", std::string(what)));
}

bool IsCount(int64_t count) {
  return count >= 0 && count <= kMostTokens;
}

// Of the message's own fields of 32 bits.
bool HasCounts(const google::protobuf::Message& message) {
  const auto& reflection = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const auto& field = *message.GetDescriptor()->field(i);
    if (field.cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_INT32 || field.is_repeated()) continue;
    if (!IsCount(reflection.GetInt32(message, &field))) return false;
  }
  return true;
}

void Bound(google::protobuf::Duration& duration) {
  const int64_t seconds = std::clamp<int64_t>(duration.seconds(), 0, kLongestSeconds);
  duration.set_nanos(seconds == duration.seconds() ? std::clamp<int32_t>(duration.nanos(), 0, 999'999'999) : 0);
  duration.set_seconds(seconds);
}

void BoundTimes(v1::StageTimings& timings) {
  const auto& reflection = *timings.GetReflection();
  for (int i = 0; i < timings.GetDescriptor()->field_count(); ++i) {
    const auto& field = *timings.GetDescriptor()->field(i);
    if (field.message_type() != google::protobuf::Duration::descriptor() || !reflection.HasField(timings, &field))
      continue;
    Bound(static_cast<google::protobuf::Duration&>(*reflection.MutableMessage(&timings, &field)));
  }
}

}  // namespace

absl::Status CheckClaims(v1::GenerateResponse& message) {
  if (message.has_started()) {
    return HasCounts(message.started().context_budget()) ? absl::OkStatus() : Nonsense("a context budget");
  }
  if (!message.has_finished()) return absl::OkStatus();
  v1::Answer& answer = *message.mutable_finished();
  if (!HasCounts(answer.context_budget())) return Nonsense("a context budget");
  if (!HasCounts(answer.usage())) return Nonsense("an answer's usage");
  if (!HasCounts(answer.timings()) || !HasCounts(answer.timings().cache_hits())) return Nonsense("an answer's caches");
  if (answer.has_timings()) BoundTimes(*answer.mutable_timings());
  return absl::OkStatus();
}

absl::Status CheckClaims(const v1::ModelDescription& model) {
  const bool possible = HasCounts(model) && model.image_size() <= kLongestSide && model.patch_size() <= kLongestSide &&
                        model.query_tokens() <= kLongestSide && model.max_image_bytes() >= 0 &&
                        model.max_image_pixels() >= 0;
  return possible ? absl::OkStatus() : Nonsense("its model");
}

absl::Status CheckClaims(const v1::CountTokensResponse& counts) {
  const auto& pairs = counts.history_pair_tokens();
  const bool possible = HasCounts(counts) && std::all_of(pairs.begin(), pairs.end(), IsCount);
  return possible ? absl::OkStatus() : Nonsense("a prompt's tokens");
}

}  // namespace diptych::gateway
