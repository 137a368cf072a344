#include "blip2/prompt.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/utf8.h"

namespace diptych::blip2 {
namespace {

// Every exchange begins with this word, with a space before it unless it is the first.
constexpr std::string_view kQuestion = "Question";

absl::string_view Stripped(const Turn& turn) {
  return absl::StripAsciiWhitespace(turn.text);
}

// An exchange without its first word; without an answer it asks for one.
std::string AfterQuestion(const Turn& question, const Turn* answer) {
  if (answer == nullptr) return absl::StrCat(": ", Stripped(question), " Answer:");
  return absl::StrCat(": ", Stripped(question), " Answer: ", Stripped(*answer), ".");
}

absl::Status CheckTurns(const std::vector<Turn>& turns) {
  const auto refuse = [](std::string_view why) { return InvalidField(reason::kQuestionForm, "turns", why); };
  if (turns.size() % 2 == 0) return refuse("the last turn must be the user's");
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].from_user != (i % 2 == 0)) {
      return refuse("turns must alternate between user and assistant, and the user begins");
    }
    if (turns[i].from_user && Stripped(turns[i]).empty()) return refuse("the user's turn is empty");
    if (!IsValidUtf8(turns[i].text)) return InvalidField(reason::kTextEncoding, "turns", "a turn is not valid UTF-8");
  }
  return absl::OkStatus();
}

absl::Status CheckInput(const PromptInput& input) {
  if (!input.turns.empty()) {
    if (!input.text.empty())
      return InvalidField(reason::kQuestionForm, "prompt", "set either turns or prompt, not both");
    return CheckTurns(input.turns);
  }
  if (input.text.empty() && input.images == 0) {
    return InvalidField(reason::kQuestionForm, "prompt", "there is neither an image nor a text");
  }
  if (!IsValidUtf8(input.text)) return InvalidField(reason::kTextEncoding, "prompt", "the prompt is not valid UTF-8");
  return absl::OkStatus();
}

absl::Status CheckFits(const PromptBudget& budget) {
  const int64_t needed = budget.image_tokens + budget.text_tokens + budget.history_tokens + budget.reserved_output;
  if (needed <= budget.window) return absl::OkStatus();
  return MakeError(absl::StatusCode::kOutOfRange, reason::kContextLengthExceeded,
                   absl::StrCat("the model's window has ", budget.window, " tokens; ", needed,
                                " are needed: ", budget.image_tokens, " image + ", budget.text_tokens, " text + ",
                                budget.reserved_output, " for the answer (max_new_tokens)"));
}

// Ids of a conversation in exchanges, the newest first. Words never reach across the borders at which it
// is cut, since GPT-2's pattern ends a word before ':' after letters, and after '.' before a space; so
// the pieces' ids, joined, are those of the whole text.
class Conversation {
 public:
  Conversation(const std::vector<Turn>& turns, const Tokenizer& tokenizer)
      : turns_(turns),
        tokenizer_(tokenizer),
        first_word_(tokenizer.Encode(kQuestion)),
        later_word_(tokenizer.Encode(absl::StrCat(" ", absl::string_view(kQuestion.data(), kQuestion.size())))) {
    exchanges_.push_back(tokenizer.Encode(AfterQuestion(turns.back(), nullptr)));
    text_tokens_ = Size(exchanges_.back());
  }

  // Adds earlier exchanges for as long as they fit into `room` tokens together with the last question.
  void AddHistory(int64_t room) {
    for (size_t end = turns_.size() - 1; end >= 2; end -= 2) {
      std::vector<int64_t> exchange = tokenizer_.Encode(AfterQuestion(turns_[end - 2], &turns_[end - 1]));
      const int64_t grown = text_tokens_ + Size(exchange) + Size(later_word_);
      if (Size(first_word_) + grown > room) return;
      text_tokens_ = grown;
      exchanges_.push_back(std::move(exchange));
    }
  }

  int64_t turns_dropped() const { return Size(turns_) - 2 * Size(exchanges_) + 1; }
  int64_t tokens() const { return Size(first_word_) + text_tokens_; }
  int64_t last_question_tokens() const {
    return Size(exchanges_.front()) + Size(exchanges_.size() == 1 ? first_word_ : later_word_);
  }

  void AppendTo(std::vector<int64_t>& ids) const {
    for (auto exchange = exchanges_.rbegin(); exchange != exchanges_.rend(); ++exchange) {
      const std::vector<int64_t>& word = exchange == exchanges_.rbegin() ? first_word_ : later_word_;
      ids.insert(ids.end(), word.begin(), word.end());
      ids.insert(ids.end(), exchange->begin(), exchange->end());
    }
  }

 private:
  template <typename T>
  static int64_t Size(const std::vector<T>& values) {
    return static_cast<int64_t>(values.size());
  }

  const std::vector<Turn>& turns_;
  const Tokenizer& tokenizer_;
  const std::vector<int64_t> first_word_;
  const std::vector<int64_t> later_word_;
  std::vector<std::vector<int64_t>> exchanges_;  // without the first word
  int64_t text_tokens_ = 0;                      // without the conversation's first word
};

}  // namespace

std::string FormatTurns(const std::vector<Turn>& turns) {
  std::string text;
  for (size_t i = 0; i < turns.size(); i += 2) {
    absl::StrAppend(&text, i == 0 ? "" : " ", absl::string_view(kQuestion.data(), kQuestion.size()),
                    AfterQuestion(turns[i], i + 1 < turns.size() ? &turns[i + 1] : nullptr));
  }
  return text;
}

absl::StatusOr<Prompt> BuildPrompt(const PromptInput& input, const Config& config, const Tokenizer& tokenizer) {
  DIPTYCH_RETURN_IF_ERROR(CheckInput(input));
  Prompt prompt;
  PromptBudget& budget = prompt.budget;
  budget.window = config.text.max_position_embeddings;
  budget.image_tokens = config.num_query_tokens * input.images;
  budget.reserved_output = input.max_new_tokens;
  prompt.ids.assign(static_cast<size_t>(std::clamp<int64_t>(budget.image_tokens, 0, budget.window)),
                    config.image_token_id);
  prompt.ids.push_back(tokenizer.bos_token_id());

  if (input.turns.empty()) {
    const std::vector<int64_t> text = tokenizer.Encode(input.text);
    budget.text_tokens = 1 + static_cast<int64_t>(text.size());
    DIPTYCH_RETURN_IF_ERROR(CheckFits(budget));
    prompt.ids.insert(prompt.ids.end(), text.begin(), text.end());
    return prompt;
  }
  Conversation conversation(input.turns, tokenizer);
  conversation.AddHistory(budget.window - budget.image_tokens - 1 - budget.reserved_output);
  budget.text_tokens = 1 + conversation.last_question_tokens();
  budget.history_tokens = conversation.tokens() - conversation.last_question_tokens();
  budget.turns_dropped = conversation.turns_dropped();
  DIPTYCH_RETURN_IF_ERROR(CheckFits(budget));
  conversation.AppendTo(prompt.ids);
  return prompt;
}

}  // namespace diptych::blip2
