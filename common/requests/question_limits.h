// The bounds on a question from outside, in one place: the gateway refuses early with them, and the
// language tier checks what only it can know (window, patch size) on top.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "common/images/image_header.h"
#include "diptych/v1/inference.pb.h"

namespace diptych {

inline constexpr int kMaxImages = 8;
inline constexpr int kMaxTextBytes = 64 << 10;  // prompt, or all turns together
inline constexpr int kMaxTurns = 512;
inline constexpr int kMaxStopStrings = 8;
inline constexpr int kMaxStopStringBytes = 256;
inline constexpr int kMaxLogprobs = 20;
inline constexpr int kMaxBeams = 8;
inline constexpr int kMaxBestOf = 8;
inline constexpr int kMaxLogitBiases = 1024;
inline constexpr int kMaxStopTokens = 64;
inline constexpr int kMaxPromptTokenIds = 64 << 10;
inline constexpr int kMaxImageSize = 1024;               // pixels; attention's cost grows with its fourth power
inline constexpr int64_t kMaxRelevanceValues = 1 << 19;  // tokens times patches of all images
inline constexpr int kMaxRequestIdBytes = 128;
inline constexpr int kMaxModelNameBytes = 256;
// Of PlanContext; chosen so that no sum leaves 32 bits.
inline constexpr int kMaxPlannedWindow = 1 << 24;  // tokens
inline constexpr int kMaxPlannedImageSide = 8192;  // pixels
inline constexpr int kMaxPlannedPatchSize = 1024;  // pixels
inline constexpr int kMaxPlannedWindows = 64;      // of one request

struct QuestionLimits {
  ImageLimits image;
  // All images of one question together, in bytes.
  int64_t MaxTotalImageBytes() const { return 2 * image.max_bytes; }
  // Largest message that a server must accept so that every question within the bounds, and one image that is
  // somewhat over them, reaches the checks.
  int64_t MaxMessageBytes() const { return MaxTotalImageBytes() + (1 << 20); }
};

// All checks below that need no model, over the whole question. The first fault found is returned:
// INVALID_ARGUMENT with a reason of common/status.h and a field path that starts with "question".
absl::Status CheckQuestion(const v1::Question& question, const QuestionLimits& limits);

// The parts of it. `path` is the field's own path, for example "question.generation"; "" for a request's outermost
// level.
absl::Status CheckGenerationOptions(const v1::GenerationOptions& options, std::string_view path);
absl::Status CheckImageOptions(const v1::ImageOptions& options, std::string_view path);
// One of turns, prompt and token ids; turns alternate, begin and end with the user, and name all images or none;
// bounded in count and bytes.
absl::Status CheckText(const v1::Question& question, std::string_view path = "question");
// Whether a request may have this id: kMaxRequestIdBytes of printable ASCII, or none.
bool IsRequestId(std::string_view id);
// Count, source, bytes, format and dimensions; no pixel is decoded.
absl::Status CheckImages(const v1::Question& question, const QuestionLimits& limits);

}  // namespace diptych
