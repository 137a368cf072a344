// The table of `diptych ask`, row by row.
#pragma once

#include <cstddef>
#include <string>

namespace diptych::cli {

struct AnswerRow {
  std::string image, question, answer, tokens, time;
};

// The widths are known before the first answer, so that each row can be shown as it comes. On a terminal names and
// answers are cut to its width; below about 60 columns a row takes two lines. Elsewhere everything is whole.
class AnswerTable {
 public:
  // Columns of the longest image name and question; `columns` of the terminal, 0 for none.
  AnswerTable(size_t image, size_t question, size_t columns);

  // With a newline. No control characters are in it.
  std::string Header() const;
  std::string Row(const AnswerRow& row) const;

 private:
  std::string Line(const AnswerRow& row) const;

  bool cut_ = false, two_lines_ = false;
  size_t columns_ = 0, image_ = 0, question_ = 0, answer_ = 0;
};

}  // namespace diptych::cli
