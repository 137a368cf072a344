#include "cli/charts/chart.h"

#include <cmath>

#include "absl/strings/str_format.h"
#include "cli/terminal/text.h"

namespace diptych::cli {

std::string CountText(double value) {
  return FormatCount(std::llround(value));
}

std::string TimesText(double value) {
  return absl::StrFormat("%.1f×", value);
}

std::string MillisecondsText(double value) {
  return absl::StrFormat("%.*f", value < 10 ? 1 : 0, value);
}

}  // namespace diptych::cli
