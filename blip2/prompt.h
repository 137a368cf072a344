// From conversation to token ids: BLIP-2's prompt form and the context budget.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/checkpoint/config.h"
#include "blip2/tokenizer/tokenizer.h"

namespace diptych::blip2 {

struct Turn {
  bool from_user = true;
  std::string text;
  int64_t images = 0;  // of the input's images, those that came with this turn
};

// The tokens that a question takes. window >= image + text + history + reserved_output.
struct PromptBudget {
  int64_t window = 0;
  int64_t image_tokens = 0;
  int64_t text_tokens = 0;     // prompt or last turn, with the beginning-of-sequence token
  int64_t history_tokens = 0;  // earlier turns that were kept
  int64_t reserved_output = 0;
  int64_t turns_dropped = 0;  // earlier turns left out
};

struct Prompt {
  // image_token_id × (Q · images), the beginning-of-sequence id, then the text.
  std::vector<int64_t> ids;
  int64_t images_dropped = 0;  // the first ones, whose turns were left out
  PromptBudget budget;         // reserved_output: max_new_tokens, cut if that was asked for
};

struct PromptInput {
  int64_t images = 0;
  std::string_view text = {};     // literal; used if turns is empty. Empty asks for the caption.
  std::vector<Turn> turns = {};   // alternate, first and last from the user
  std::vector<int64_t> ids = {};  // literal, instead of text and turns, without a beginning-of-sequence id
  int64_t max_new_tokens = 20;
  bool cut_max_new_tokens = false;  // to what the window leaves
};

// "Question: q Answer: a. Question: q Answer: a. Question: q Answer:", the form of LAVIS' example of
// BLIP-2 in conversation (examples/blip2_instructed_generation.ipynb); for one turn, that of the model card.
// White space around each turn's text is left out: a line break would be the model's own end of text.
// A blank question is a caption, which asks nothing: its answer stands alone, "a.", and the last one is no text.
std::string FormatTurns(const std::vector<Turn>& turns);

// Builds the prompt. When the images of all turns do not fit, the oldest turns are left out with theirs; when
// the text does not fit, the oldest question/answer pairs, of which the images stay. Never the last question,
// and never images that belong to no turn. A caption at the end is asked without what came before it.
// The ids are those of the whole text, FormatTurns(kept turns).
// OUT_OF_RANGE with reason CONTEXT_LENGTH_EXCEEDED, giving the counts, if it does not fit even so.
// INVALID_ARGUMENT naming the field ("turns", "prompt", "prompt_token_ids"): QUESTION_FORM if turns do not
// alternate or do not begin and end with the user, if a question is blank and there is no image, if more than one
// of turns, text and ids is given, if the turns name some of the images but not all, or if there is neither image
// nor text; OPTION_RANGE if an id is no token of text; TEXT_ENCODING if a text is not UTF-8.
absl::StatusOr<Prompt> BuildPrompt(const PromptInput& input, const Config& config, const Tokenizer& tokenizer);

}  // namespace diptych::blip2
