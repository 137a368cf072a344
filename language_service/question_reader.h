// From a GenerateRequest to what the service works with: everything about a question that can be refused is refused
// here, before any work.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/decoding/generation.h"
#include "blip2/prompt.h"
#include "common/stage_clock.h"
#include "diptych/v1/language.pb.h"
#include "language_service/images/image_pull.h"
#include "language_service/served_model.h"

namespace diptych::language {

struct GenerateInput {
  std::string request_id;
  std::string cache_salt;
  blip2::Prompt prompt;
  blip2::GenerationOptions options;
  std::vector<int64_t> begun = {};  // the answer's first tokens
  std::vector<ImageRequest> images;
  int best_of = 1;
  int dense_patch_tokens = 0;
  bool relevance = false;       // is wanted
  SteadyDuration tokenizing{};  // took so long
};

// Takes the images out of the question; those of dropped turns are freed. INVALID_ARGUMENT with reason and
// field, NOT_FOUND for another model's name, OUT_OF_RANGE if the window is too short.
absl::StatusOr<GenerateInput> ReadQuestion(v1::GenerateRequest request, const ServedLanguageModel& model,
                                           const QuestionLimits& limits);

// From an AnalyzeQueriesRequest to the image that is pulled for it. Takes the image out of `request`.
// INVALID_ARGUMENT with reason and field.
absl::StatusOr<ImageRequest> ReadAnalysis(v1::AnalyzeQueriesRequest request, const ServedLanguageModel& model,
                                          const QuestionLimits& limits);

// Counts what BuildPrompt would count for each part of the conversation.
absl::StatusOr<v1::CountTokensResponse> CountTokens(const v1::CountTokensRequest& request,
                                                    const ServedLanguageModel& model);

// The prompt as BuildPrompt makes it for a window without end. INVALID_ARGUMENT with reason and field.
absl::StatusOr<v1::EncodePromptResponse> EncodePrompt(const v1::EncodePromptRequest& request,
                                                      const ServedLanguageModel& model);

// INVALID_ARGUMENT with reason OPTION_RANGE for ids outside the vocabulary, and for too many.
absl::StatusOr<v1::DecodeTokensResponse> DecodeTokens(const v1::DecodeTokensRequest& request,
                                                      const ServedLanguageModel& model);

}  // namespace diptych::language
