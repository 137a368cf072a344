#include "common/text/nearest_word.h"

#include <algorithm>

namespace diptych {
namespace {

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Edit distance with swapped neighbours as one edit, and another letter as two; capitals are no edit.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] =
          std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (Lower(a[i - 1]) == Lower(b[j - 1]) ? 0 : 2)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string NearestWord(std::string_view typed, const std::vector<std::string>& words) {
  constexpr size_t kLongestWord = 200, kShortestBeginning = 3;
  if (typed.empty() || typed.size() > kLongestWord) return "";
  std::string nearest;
  const size_t letters = typed.size() - std::min(typed.find_first_not_of('-'), typed.size());
  size_t least = letters <= 2 ? 1 : letters / 3 + 1;  // edits that still look like a slip
  for (const std::string& word : words) {
    const bool beginning = typed.size() >= kShortestBeginning && word != typed && word.starts_with(typed);
    const size_t distance = beginning ? 1 : Distance(typed, word);
    if (distance > least || (distance == least && !nearest.empty())) continue;
    nearest = word;
    least = distance;
  }
  return nearest;
}

}  // namespace diptych
