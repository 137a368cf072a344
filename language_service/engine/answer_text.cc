#include "language_service/engine/answer_text.h"

#include "common/text/white_space.h"

namespace diptych::language {

std::string AnswerText::Push(int64_t token) {
  return Release(stop_.Push(decoder_.Push(token)));
}

std::string AnswerText::Finish() {
  std::string rest = stop_.Push(decoder_.Finish());
  rest += stop_.Finish();
  return Release(rest);
}

std::string AnswerText::Release(std::string_view piece) {
  if (text_.empty()) piece = StripLeft(piece);
  const std::string_view shown = StripRight(piece);
  if (shown.empty()) {
    held_ += piece;
    return "";
  }
  std::string released = held_;
  released += shown;
  held_ = piece.substr(shown.size());
  text_ += released;
  return released;
}

}  // namespace diptych::language
