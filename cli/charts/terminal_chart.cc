#include "cli/charts/terminal_chart.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

constexpr int kBarColumns = 44;
constexpr std::array<const char*, 5> kFills = {"█", "▒", "▓", "░", "·"};  // of stacked series, in turn
constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};

std::string Repeat(const char* text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

std::string Pad(const std::string& text, size_t columns) {
  return text + std::string(columns - std::min(columns, Columns(text)), ' ');
}

// A name on one line.
std::string Flat(std::string name) {
  std::replace(name.begin(), name.end(), '\n', ' ');
  return Printable(name);
}

size_t Widest(const std::vector<std::string>& names) {
  size_t widest = 0;
  for (const std::string& name : names) widest = std::max(widest, Columns(name));
  return widest;
}

// Sum of a category's values over all series.
double Total(const Panel& panel, size_t category) {
  double total = 0;
  for (const Series& series : panel.series) total += std::isnan(series.values[category]) ? 0 : series.values[category];
  return total;
}

double Largest(const Panel& panel) {
  double largest = 0;
  for (size_t i = 0; i < panel.categories.size(); ++i) {
    if (panel.form == Panel::Form::kStacked) largest = std::max(largest, Total(panel, i));
    for (const Series& series : panel.series) largest = std::fmax(largest, series.values[i]);
  }
  return largest > 0 ? largest : 1;
}

std::string Bar(double value, double largest) {
  const int eighths = static_cast<int>(std::lround(8 * kBarColumns * std::max(value, 0.0) / largest));
  return Repeat("█", eighths / 8) + kEighths[eighths % 8];
}

// The series' bars behind one another, then the total and what it is made of.
std::string StackedLine(const Panel& panel, size_t category, double largest) {
  std::string bar, parts;
  double sum = 0;
  int drawn = 0;
  for (size_t s = 0; s < panel.series.size(); ++s) {
    const double value = panel.series[s].values[category];
    if (std::isnan(value)) continue;
    sum += value;
    const int until = static_cast<int>(std::lround(kBarColumns * sum / largest));
    bar += Repeat(kFills[s % kFills.size()], until - drawn);
    drawn = until;
    absl::StrAppend(&parts, parts.empty() ? "" : " + ", panel.value_text(value));
  }
  return absl::StrCat(bar, " ", panel.value_text(sum), panel.series.size() > 1 ? absl::StrCat(" = ", parts) : "");
}

std::string Legend(const Panel& panel) {
  std::string legend;
  for (size_t s = 0; s < panel.series.size(); ++s) {
    absl::StrAppend(&legend, "  ", kFills[s % kFills.size()], " ", Flat(panel.series[s].name));
  }
  return legend + "\n";
}

std::string PanelText(const Panel& panel) {
  std::vector<std::string> categories, names;
  for (const std::string& category : panel.categories) categories.push_back(Flat(category));
  for (const Series& series : panel.series) names.push_back(panel.series.size() > 1 ? Flat(series.name) : "");
  const size_t category_columns = Widest(categories), name_columns = Widest(names);
  const double largest = Largest(panel);
  const bool stacked = panel.form == Panel::Form::kStacked;
  std::string text = absl::StrCat(Flat(panel.title), panel.y_label.empty() ? "" : " — ", Flat(panel.y_label), "\n");
  if (stacked && panel.series.size() > 1) text += Legend(panel);
  for (size_t i = 0; i < categories.size(); ++i) {
    if (stacked) {
      absl::StrAppend(&text, "  ", Pad(categories[i], category_columns), "  ", StackedLine(panel, i, largest), "\n");
      continue;
    }
    for (size_t s = 0; s < names.size(); ++s) {
      const double value = panel.series[s].values[i];
      const std::string bar = std::isnan(value) ? "-" : absl::StrCat(Bar(value, largest), " ", panel.value_text(value));
      absl::StrAppend(&text, "  ", Pad(s == 0 ? categories[i] : "", category_columns), "  ",
                      Pad(names[s], name_columns), name_columns > 0 ? "  " : "", bar, "\n");
    }
  }
  return text;
}

}  // namespace

std::string TerminalChart(const Chart& chart) {
  std::string text;
  for (const Panel& panel : chart.panels) absl::StrAppend(&text, text.empty() ? "" : "\n", PanelText(panel));
  return text;
}

}  // namespace diptych::cli
