// Charts as SVG or PNG files, drawn by gnuplot.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "cli/charts/chart.h"

namespace CLI {
class App;
}

namespace diptych::cli {

enum class PlotFormat { kSvg, kPng };

// By the file's ending: .svg or .png.
std::optional<PlotFormat> PlotFormatOf(const std::string& file);

// The chart for gnuplot's standard input; the image comes out at standard output. Names are only ever literals
// without escapes, whatever they hold: none can become a command.
std::string GnuplotScript(const Chart& chart, PlotFormat format);

// --plot FILE.
class PlotOption {
 public:
  void AddTo(CLI::App& app);
  // An error, before any work is done, if a plot is wanted that cannot be written, or there is no gnuplot to draw it.
  absl::Status Check() const;
  // Draws the chart if a plot is wanted.
  absl::Status Write(const Chart& chart) const;

 private:
  std::string file_;
};

}  // namespace diptych::cli
