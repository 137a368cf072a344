#include "blip2/prompt.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text/utf8.h"
#include "common/text/white_space.h"

namespace diptych::blip2 {
namespace {

absl::string_view Stripped(const Turn& turn) {
  const std::string_view text = StripLeft(StripRight(turn.text));
  return {text.data(), text.size()};
}

bool IsCaption(const Turn& question) {
  return Stripped(question).empty();
}

// One question with its answer; without an answer it asks for one.
std::string FormatExchange(const Turn& question, const Turn* answer) {
  if (answer == nullptr) return IsCaption(question) ? "" : absl::StrCat("Question: ", Stripped(question), " Answer:");
  if (!IsCaption(question)) return absl::StrCat("Question: ", Stripped(question), " Answer: ", Stripped(*answer), ".");
  return Stripped(*answer).empty() ? "" : absl::StrCat(Stripped(*answer), ".");
}

int64_t ImagesOf(std::span<const Turn> turns) {
  return std::accumulate(turns.begin(), turns.end(), int64_t{0},
                         [](int64_t sum, const Turn& turn) { return sum + turn.images; });
}

absl::Status CheckTurns(const PromptInput& input) {
  const std::vector<Turn>& turns = input.turns;
  const auto refuse = [](std::string_view why) { return InvalidField(reason::kQuestionForm, "turns", why); };
  if (turns.size() % 2 == 0) return refuse("the last turn must be the user's");
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].from_user != (i % 2 == 0)) {
      return refuse("turns must alternate between user and assistant, and the user begins");
    }
    if (turns[i].from_user && IsCaption(turns[i]) && input.images == 0) return refuse("the user's turn is empty");
    if (turns[i].images < 0 || (turns[i].images > 0 && !turns[i].from_user)) {
      return refuse("images come with the user's turns");
    }
    if (!IsValidUtf8(turns[i].text)) return InvalidField(reason::kTextEncoding, "turns", "a turn is not valid UTF-8");
  }
  const int64_t named = ImagesOf(turns);
  if (named != 0 && named != input.images) {
    return refuse("the turns name all images together, or none");
  }
  return absl::OkStatus();
}

absl::Status CheckIds(const std::vector<int64_t>& ids, const Config& config) {
  for (const int64_t id : ids) {
    if (id >= 0 && id < config.text.vocab_size && id != config.image_token_id) continue;
    return InvalidField(reason::kOptionRange, "prompt_token_ids",
                        absl::StrCat("prompt_token_ids takes ids of 0 to ", config.text.vocab_size - 1,
                                     ", without the image's placeholder; there is ", id));
  }
  return absl::OkStatus();
}

absl::Status CheckInput(const PromptInput& input, const Config& config) {
  const int given = (input.turns.empty() ? 0 : 1) + (input.text.empty() ? 0 : 1) + (input.ids.empty() ? 0 : 1);
  if (given > 1) {
    return InvalidField(reason::kQuestionForm, "prompt", "set one of turns, prompt and prompt_token_ids");
  }
  if (!input.turns.empty()) return CheckTurns(input);
  if (!input.ids.empty()) return CheckIds(input.ids, config);
  if (input.text.empty() && input.images == 0) {
    return InvalidField(reason::kQuestionForm, "prompt", "there is neither an image nor a text");
  }
  if (!IsValidUtf8(input.text)) return InvalidField(reason::kTextEncoding, "prompt", "the prompt is not valid UTF-8");
  return absl::OkStatus();
}

// Cuts what is reserved for the answer if it may.
absl::Status MakeFit(PromptBudget& budget, bool cut) {
  const int64_t prompt = budget.image_tokens + budget.text_tokens + budget.history_tokens;
  const int64_t least = cut ? std::min<int64_t>(budget.reserved_output, 1) : budget.reserved_output;
  if (prompt + least <= budget.window) {
    if (cut) budget.reserved_output = std::min(budget.reserved_output, budget.window - prompt);
    return absl::OkStatus();
  }
  // LangChain knows the error by "prompt is too long", LiteLLM by "this model's maximum context length is".
  const char* too_long = prompt + 1 > budget.window ? "the prompt is too long: " : "";
  return MakeError(absl::StatusCode::kOutOfRange, reason::kContextLengthExceeded,
                   absl::StrCat(too_long, "this model's maximum context length is ", budget.window, " tokens; ",
                                prompt + least, " are needed: ", budget.image_tokens, " image + ", budget.text_tokens,
                                " text + ", least, " for the answer (max_new_tokens)"));
}

// Ids of a conversation in exchanges, the newest first. Words never reach across the borders at which it
// is cut, since GPT-2's pattern ends a word after '.' before a space; so the pieces' ids, joined, are those of the
// whole text.
class Conversation {
 public:
  // `turns` outlive it.
  Conversation(std::span<const Turn> turns, const Tokenizer& tokenizer) : turns_(turns), tokenizer_(tokenizer) {
    Add(Encode(FormatExchange(turns.back(), nullptr)));
  }

  // Adds earlier exchanges, none of the first `gone` turns, for as long as they fit into `room` tokens together with
  // the last question.
  void AddHistory(int64_t room, size_t gone) {
    if (IsCaption(turns_.back())) return;
    for (size_t end = turns_.size() - 1; end >= gone + 2; end -= 2) {
      Exchange exchange = Encode(FormatExchange(turns_[end - 2], &turns_[end - 1]));
      if (Size(exchange.first) + later_tokens_ + Size(exchanges_.back().later) > room) return;
      Add(std::move(exchange));
    }
  }

  int64_t turns_dropped() const { return Size(turns_) - 2 * kept_ + 1; }
  int64_t tokens() const { return Size(exchanges_.back().first) + later_tokens_; }
  int64_t last_question_tokens() const { return exchanges_.size() == 1 ? tokens() : Size(exchanges_.front().later); }

  void AppendTo(std::vector<int64_t>& ids) const {
    for (auto exchange = exchanges_.rbegin(); exchange != exchanges_.rend(); ++exchange) {
      const std::vector<int64_t>& own = exchange == exchanges_.rbegin() ? exchange->first : exchange->later;
      ids.insert(ids.end(), own.begin(), own.end());
    }
  }

 private:
  // Its ids at the beginning of the text, and behind another exchange, with a space before them.
  struct Exchange {
    std::vector<int64_t> first;
    std::vector<int64_t> later;
  };

  // A caption that was answered with nothing leaves nothing, but is there.
  void Add(Exchange exchange) {
    ++kept_;
    if (!exchanges_.empty() && exchange.first.empty()) return;
    if (!exchanges_.empty()) later_tokens_ += Size(exchanges_.back().later);
    exchanges_.push_back(std::move(exchange));
  }

  Exchange Encode(const std::string& text) const {
    if (text.empty()) return {};
    return {.first = tokenizer_.Encode(text), .later = tokenizer_.Encode(absl::StrCat(" ", text))};
  }

  template <typename T>
  static int64_t Size(const T& values) {
    return static_cast<int64_t>(values.size());
  }

  const std::span<const Turn> turns_;
  const Tokenizer& tokenizer_;
  std::vector<Exchange> exchanges_;
  int64_t kept_ = 0;          // those without text included
  int64_t later_tokens_ = 0;  // of all exchanges but the one at the beginning
};

// The number of oldest turns to drop, whole exchanges, so that the images of the rest fit into `room` tokens
// with the last question. Those of the last turn stay in any case, and are all that a caption at its end is about.
size_t TurnsWithoutRoom(const PromptInput& input, int64_t query_tokens, int64_t room) {
  const std::span<const Turn> turns = input.turns;
  if (ImagesOf(turns) == 0) return 0;
  if (IsCaption(turns.back()) && turns.back().images > 0) return turns.size() - 1;
  size_t gone = 0;
  while (gone + 1 < turns.size() && ImagesOf(turns.subspan(gone)) * query_tokens > room) gone += 2;
  return gone;
}

// Puts the conversation's ids into `text`, as many of its turns as fit, and what that costs into `prompt`.
void AddTurns(const PromptInput& input, const Config& config, const Tokenizer& tokenizer, Prompt& prompt,
              std::vector<int64_t>& text) {
  PromptBudget& budget = prompt.budget;
  const int64_t reserved =
      input.cut_max_new_tokens ? std::min(budget.reserved_output, budget.window / 4) : budget.reserved_output;
  Conversation conversation(input.turns, tokenizer);
  const int64_t last = 1 + conversation.last_question_tokens();
  const size_t gone = TurnsWithoutRoom(input, config.num_query_tokens, budget.window - last - reserved);
  prompt.images_dropped = ImagesOf(std::span<const Turn>(input.turns).first(gone));
  const int64_t images = config.num_query_tokens * (input.images - prompt.images_dropped);
  conversation.AddHistory(budget.window - images - 1 - reserved, gone);
  budget.text_tokens = 1 + conversation.last_question_tokens();
  budget.history_tokens = conversation.tokens() - conversation.last_question_tokens();
  budget.turns_dropped = conversation.turns_dropped();
  text.push_back(tokenizer.bos_token_id());
  conversation.AppendTo(text);
}

}  // namespace

std::string FormatTurns(const std::vector<Turn>& turns) {
  std::string text;
  for (size_t i = 0; i < turns.size(); i += 2) {
    const std::string exchange = FormatExchange(turns[i], i + 1 < turns.size() ? &turns[i + 1] : nullptr);
    absl::StrAppend(&text, text.empty() || exchange.empty() ? "" : " ", exchange);
  }
  return text;
}

absl::StatusOr<Prompt> BuildPrompt(const PromptInput& input, const Config& config, const Tokenizer& tokenizer) {
  DIPTYCH_RETURN_IF_ERROR(CheckInput(input, config));
  Prompt prompt;
  PromptBudget& budget = prompt.budget;
  budget.window = config.text.max_position_embeddings;
  budget.reserved_output = input.max_new_tokens;
  std::vector<int64_t> text = input.ids;
  if (input.turns.empty() && input.ids.empty()) {
    text.push_back(tokenizer.bos_token_id());
    // White space alone is a caption, too, where there is something to describe.
    const std::string_view words = input.images > 0 && IsBlank(input.text) ? std::string_view() : input.text;
    for (const int64_t id : tokenizer.Encode(words)) text.push_back(id);
  }
  budget.text_tokens = static_cast<int64_t>(text.size());
  if (!input.turns.empty()) AddTurns(input, config, tokenizer, prompt, text);
  budget.image_tokens = config.num_query_tokens * (input.images - prompt.images_dropped);
  DIPTYCH_RETURN_IF_ERROR(MakeFit(budget, input.cut_max_new_tokens));
  prompt.ids.assign(static_cast<size_t>(budget.image_tokens), config.image_token_id);
  prompt.ids.insert(prompt.ids.end(), text.begin(), text.end());
  return prompt;
}

}  // namespace diptych::blip2
