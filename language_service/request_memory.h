// The bytes that a request is charged for, before the memory is taken.
#pragma once

#include <cstdint>

#include "blip2/checkpoint/config.h"
#include "common/requests/question_limits.h"
#include "language_service/images/visual_tokens_receiver.h"

namespace diptych::language {

// A request message of this size: the bytes as they travel, the message, and the call around them.
int64_t BytesForMessage(int64_t message_bytes);

// The query tokens of so many images, which the request holds until it ends.
int64_t BytesForQueryTokens(int64_t images, const blip2::Config& config);

// The query attention of one image: kept as numbers, and once more as a message.
int64_t BytesForQueryAttention(const ExpectedTokens& expected, const blip2::Config& config);

// The relevance of an answer: the decoder's pass over prompt and answer, `tokens` in all, and `values` as numbers and
// as a message.
int64_t BytesForRelevance(int64_t tokens, int64_t values, const blip2::Config& config);

// The scores of a prompt of so many tokens, with `top` of the most likely ones at each place.
int64_t BytesForPromptScores(int64_t tokens, int64_t top);

// The least bound with which every question within `limits` can be taken.
int64_t LeastInflightBytes(const QuestionLimits& limits, const blip2::Config& config);

}  // namespace diptych::language
