// From conversation to token ids: BLIP-2's prompt form and the context budget.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/config.h"
#include "blip2/tokenizer.h"

namespace diptych::blip2 {

struct Turn {
  bool from_user = true;
  std::string text;
};

// What a question spends, in tokens. window >= image + text + history + reserved_output.
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
  PromptBudget budget;
};

struct PromptInput {
  int64_t images = 0;
  std::string_view text = {};    // literal; used if turns is empty. Empty asks for the caption.
  std::vector<Turn> turns = {};  // alternate, first and last from the user
  int64_t max_new_tokens = 20;
};

// "Question: q Answer: a. Question: q Answer: a. Question: q Answer:", the form of LAVIS' example of
// BLIP-2 in conversation (examples/blip2_instructed_generation.ipynb); for one turn, that of the model card.
// ASCII white space around each turn's text is left out: a line break would be the model's own end of text.
std::string FormatTurns(const std::vector<Turn>& turns);

// Builds the prompt. When the window is short the oldest question/answer pairs are left out, never the
// image and never the last question. The ids are those of the whole text, FormatTurns(kept turns).
// OUT_OF_RANGE with reason CONTEXT_LENGTH_EXCEEDED, giving the counts, if it does not fit even so.
// INVALID_ARGUMENT naming the field ("turns", "prompt"): QUESTION_FORM if turns do not alternate or do not
// begin and end with the user, if a question is empty, if turns and text are both given, or if there is
// neither image nor text; TEXT_ENCODING if a text is not UTF-8.
absl::StatusOr<Prompt> BuildPrompt(const PromptInput& input, const Config& config, const Tokenizer& tokenizer);

}  // namespace diptych::blip2
