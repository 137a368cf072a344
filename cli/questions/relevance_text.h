#pragma once

#include <string>

#include "diptych/v1/inference.pb.h"

namespace diptych::cli {

// For a terminal: for each token of the answer its text (where logprobs came with it, else its id), the share of the
// decoder's attention that went to the images, and the patch of each image that it looked at most; then, for each
// image, a map of all tokens together. Empty without relevance.
std::string RelevanceText(const v1::Answer& answer);

}  // namespace diptych::cli
