#include "cli/questions/answer_table.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

constexpr size_t kTokens = 6, kTime = 8, kBetween = 2;
constexpr size_t kFixed = kTokens + kTime + 4 * kBetween;
constexpr size_t kNarrowestAnswer = 16, kUsualAnswer = 24;

}  // namespace

AnswerTable::AnswerTable(size_t image, size_t question, size_t columns)
    : cut_(columns > 0),
      columns_(columns),
      image_(std::max<size_t>(image, 5)),
      question_(std::max<size_t>(question, 8)),
      answer_(kUsualAnswer) {
  if (!cut_) return;
  const size_t room = columns > kFixed ? columns - kFixed : 0;  // for the three texts
  image_ = std::min(image_, std::max<size_t>(room / 4, 8));
  question_ = std::min(question_, std::max<size_t>((room - std::min(room, image_)) / 2, 8));
  two_lines_ = room < image_ + question_ + kNarrowestAnswer;
  answer_ = two_lines_ ? 0 : room - image_ - question_;
}

std::string AnswerTable::Header() const {
  return Line({.image = "image", .question = "question", .answer = "answer", .tokens = "tokens", .time = "time"});
}

std::string AnswerTable::Row(const AnswerRow& row) const {
  return Line({.image = OneLine(row.image),
               .question = OneLine(row.question),
               .answer = OneLine(row.answer),
               .tokens = row.tokens,
               .time = row.time});
}

std::string AnswerTable::Line(const AnswerRow& row) const {
  if (two_lines_) {
    const std::string end = absl::StrCat("  ", row.tokens, "  ", row.time);
    const size_t answer = columns_ - std::min(columns_, Columns(end) + kBetween);
    return absl::StrCat(Shorten(absl::StrCat(row.image, "  ", row.question), columns_), "\n  ",
                        PadRight(Shorten(row.answer, answer), answer), end, "\n");
  }
  const auto cell = [this](const std::string& text, size_t columns) {
    return PadRight(cut_ ? Shorten(text, columns) : text, columns);
  };
  return absl::StrCat(cell(row.image, image_), "  ", cell(row.question, question_), "  ", cell(row.answer, answer_),
                      "  ", PadLeft(row.tokens, kTokens), "  ", PadLeft(row.time, kTime), "\n");
}

}  // namespace diptych::cli
