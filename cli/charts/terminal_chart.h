#pragma once

#include <string>

#include "cli/charts/chart.h"

namespace diptych::cli {

// The panels one below the other, each a title and horizontal bars with their values. Pure text, control characters of
// names replaced.
std::string TerminalChart(const Chart& chart);

}  // namespace diptych::cli
