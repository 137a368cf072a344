// From token ids to the text of an answer, piece by piece.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "blip2/decoding/generation.h"
#include "blip2/tokenizer/tokenizer.h"

namespace diptych::language {

// Completes characters, watches for stop strings and strips white space at both ends, as the reference does with
// decode(...).strip(). Joined together, the pieces are text(). Thread-compatible.
class AnswerText {
 public:
  // `tokenizer` must outlive this.
  AnswerText(const blip2::Tokenizer& tokenizer, std::vector<std::string> stop)
      : decoder_(tokenizer), stop_(std::move(stop)) {}

  // The text that may be shown after this token.
  std::string Push(int64_t token);
  // The text that was held back and belongs to the answer.
  std::string Finish();

  bool stop_string_found() const { return stop_.found(); }
  const std::string& text() const { return text_; }

 private:
  std::string Release(std::string_view piece);

  blip2::StreamDecoder decoder_;
  blip2::StopStringFilter stop_;
  std::string held_;  // white space that is shown only if more follows
  std::string text_;
};

}  // namespace diptych::language
