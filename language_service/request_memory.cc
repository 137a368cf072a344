#include "language_service/request_memory.h"

#include "blip2/decoding/generation.h"

namespace diptych::language {
namespace {

// Received or sent data exists as a message and as bytes on the wire; never three times.
constexpr int64_t kCopies = 2;
// Buffers of the call, the prompt's ids and the answer.
constexpr int64_t kCallBytes = 256 << 10;

}  // namespace

int64_t BytesForMessage(int64_t message_bytes) {
  return kCopies * message_bytes + kCallBytes;
}

int64_t BytesForQueryTokens(int64_t images, const blip2::Config& config) {
  return int64_t{4} * images * config.num_query_tokens * config.text.word_embed_proj_dim;
}

int64_t BytesForQueryAttention(const ExpectedTokens& expected, const blip2::Config& config) {
  return kCopies * int64_t{4} * config.num_query_tokens * expected.tokens;
}

int64_t BytesForRelevance(int64_t tokens, int64_t values, const blip2::Config& config) {
  // Of each token what a layer holds at a time, in float32: the hidden units of its MLP, or query, key, value and what
  // goes in and comes out.
  const int64_t pass = tokens * (config.text.ffn_dim + 6 * config.text.hidden_size);
  return int64_t{4} * (pass + (1 + kCopies) * values);
}

int64_t BytesForPromptScores(int64_t tokens, int64_t top) {
  // As numbers and as a message, of the first delta and of the answer each.
  constexpr int64_t kNumbers = sizeof(blip2::ChosenToken), kMessage = 96;
  return 2 * tokens * (1 + top) * (kNumbers + kCopies * kMessage);
}

int64_t LeastInflightBytes(const QuestionLimits& limits, const blip2::Config& config) {
  const auto side = static_cast<int>(kMaxImageSize / config.vision.patch_size);
  ExpectedTokens largest;
  largest.tokens = side * side + 1;
  largest.width = static_cast<int>(config.vision.hidden_size);
  return BytesForMessage(limits.MaxMessageBytes()) +
         kMaxImages * (BytesForVisualTokens(largest) + BytesForQueryAttention(largest, config)) +
         BytesForQueryTokens(kMaxImages, config) +
         BytesForRelevance(config.text.max_position_embeddings, kMaxRelevanceValues, config) +
         BytesForPromptScores(config.text.max_position_embeddings, kMaxLogprobs);
}

}  // namespace diptych::language
