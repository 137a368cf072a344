#include "cli/questions/relevance_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/images/heat_map.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

std::string TokenText(const v1::Answer& answer, int step) {
  if (step < answer.logprobs_size()) {
    std::string text = Printable(answer.logprobs(step).chosen().text());
    std::replace(text.begin(), text.end(), '\n', ' ');
    if (!text.empty()) return absl::StrCat("\"", text, "\"");
  }
  return step < answer.token_ids_size() ? absl::StrCat("token ", answer.token_ids(step)) : "?";
}

// "row 3, column 5: 12 %", counted from 1.
std::string StrongestPatch(const v1::FloatGrid& grid) {
  if (!CheckGrid(grid).ok()) return "-";
  const auto strongest = std::max_element(grid.values().begin(), grid.values().end());
  const int place = static_cast<int>(strongest - grid.values().begin());
  return absl::StrFormat("row %d, column %d: %.0f %%", place / grid.columns() + 1, place % grid.columns() + 1,
                         100 * *strongest);
}

// The sum of one image's maps over all tokens; empty if they do not fit together.
v1::FloatGrid SumOver(const v1::Answer& answer, int image) {
  v1::FloatGrid sum;
  for (const v1::TokenRelevance& token : answer.relevance()) {
    if (image >= token.images_size() || !CheckGrid(token.images(image)).ok()) return {};
    const v1::FloatGrid& grid = token.images(image);
    if (sum.values_size() == 0) {
      sum = grid;
      continue;
    }
    if (grid.rows() != sum.rows() || grid.columns() != sum.columns()) return {};
    for (int i = 0; i < grid.values_size(); ++i) sum.set_values(i, sum.values(i) + grid.values(i));
  }
  return sum;
}

}  // namespace

std::string RelevanceText(const v1::Answer& answer) {
  if (answer.relevance_size() == 0) return "";
  const int images = answer.relevance(0).images_size();
  std::vector<std::string> header{"token", "on images"};
  for (int i = 0; i < images; ++i) header.push_back(absl::StrCat("image ", i + 1, ", most at"));
  std::vector<std::vector<std::string>> rows;
  for (int step = 0; step < answer.relevance_size(); ++step) {
    const v1::TokenRelevance& token = answer.relevance(step);
    rows.push_back({TokenText(answer, step), absl::StrFormat("%.0f %%", 100 * token.image_share())});
    for (int i = 0; i < images; ++i)
      rows.back().push_back(i < token.images_size() ? StrongestPatch(token.images(i)) : "-");
  }
  std::string text = FormatTable(header, rows, {1});
  for (int i = 0; i < images; ++i) {
    const v1::FloatGrid sum = SumOver(answer, i);
    if (sum.values_size() > 0) absl::StrAppend(&text, "image ", i + 1, ", all tokens together\n", BlockMap(sum));
  }
  return text;
}

}  // namespace diptych::cli
