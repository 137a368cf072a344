#include "cli/charts/gnuplot.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/charts/filter_program.h"
#include "cli/charts/write_file.h"
#include "cli/connection/errors.h"
#include "cli/terminal/text.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr int kPanelWidth = 620, kPanelHeight = 420, kTitleHeight = 40;  // pixels
constexpr double kHeadroom = 0.14;    // of the axis over the largest value, relative to it: for the value
constexpr double kLegendRow = 0.06;   // the same for each row of the legend
constexpr double kTicRoom = 0.055;    // of the axis that a name below it takes
constexpr double kGroupWidth = 0.78;  // of the distance between two categories
constexpr size_t kLongestName = 100;
constexpr size_t kMostUpright = 12;      // bars whose values fit side by side; of more they are turned
constexpr double kLeastLabelled = 0.06;  // of the axis: a stacked part that has room for its value
// Okabe and Ito's colours, which color-blind readers can tell apart.
constexpr std::array<const char*, 6> kColours = {"#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"};
constexpr std::array<const char*, 6> kOnColours = {"white", "black", "white", "black", "black", "white"};

// A literal of gnuplot: between single quotes are neither escapes nor commands. A quote becomes an apostrophe, because
// gnuplot does not read a doubled quote the same everywhere. Lines are joined by an expression.
std::string Quote(std::string_view text) {
  std::string out = "'";
  for (const char c : Printable(Shorten(std::string(text), kLongestName))) {
    if (c == '\n') {
      out += "'.\"\\n\".'";
    } else if (c == '\'') {
      out += "’";
    } else {
      out.push_back(c == '\t' ? ' ' : c);
    }
  }
  return out + "'";
}

// gnuplot formats what stands at an axis as printf does.
std::string TicName(const std::string& name) {
  return absl::StrReplaceAll(name, {{"%", "%%"}});
}

std::string Colour(size_t series) {
  return absl::StrCat("rgb '", kColours[series % kColours.size()], "'");
}

// The script of one panel.
class PanelScript {
 public:
  PanelScript(const Panel& panel, int number) : panel_(panel), data_(absl::StrCat("$d", number, "_")) {}

  std::string Text() {
    absl::StrAppend(&script_, "reset\n", "set title ", Quote(panel_.title), " font ',14'\n", "set xlabel ",
                    Quote(panel_.x_label), "\n", "set ylabel ", Quote(panel_.y_label), "\n",
                    "set border 3 lc rgb '#444444'\n", "set tics nomirror out textcolor rgb '#222222' font ',11'\n",
                    "set grid ytics lt 1 lc rgb '#E4E4E4'\n", "set key top left Left reverse samplen 1.2 font ',11'\n",
                    "set style fill solid 1.0 noborder\n");
    Axes();
    References();
    if (panel_.form == Panel::Form::kLine) {
      Lines();
    } else {
      Bars();
    }
    absl::StrAppend(&script_, "plot ", plots_, "\n");
    return script_;
  }

 private:
  double Value(size_t series, size_t category) const { return panel_.series[series].values[category]; }

  double AxisTop() const {
    const bool legend = panel_.series.size() > 1;
    return Top() * (1 + kHeadroom + (legend ? kLegendRow * panel_.series.size() : 0));
  }

  double Top() const {
    double top = 0;
    for (size_t i = 0; i < panel_.categories.size(); ++i) {
      double sum = 0;
      for (size_t s = 0; s < panel_.series.size(); ++s) {
        const double value = std::isnan(Value(s, i)) ? 0 : Value(s, i);
        sum = panel_.form == Panel::Form::kStacked ? sum + value : std::max(sum, value);
      }
      top = std::max(top, sum);
    }
    for (const Reference& reference : panel_.references) top = std::max(top, reference.value);
    return top > 0 ? top : 1;
  }

  double Place(size_t category) const { return panel_.form == Panel::Form::kLine ? panel_.x[category] : category; }

  void Axes() {
    std::string tics;
    const double first = panel_.categories.empty() ? 0 : Place(0);
    const double last = panel_.categories.empty() ? 0 : Place(panel_.categories.size() - 1);
    for (size_t i = 0, named = 0; i < panel_.categories.size(); ++i) {
      const bool room = i == 0 || Place(i) - Place(named) > kTicRoom * (last - first);
      absl::StrAppend(&tics, i > 0 ? ", " : "", Quote(room ? TicName(panel_.categories[i]) : ""), " ", Place(i));
      if (room) named = i;
    }
    absl::StrAppend(&script_, "set xtics (", tics, ")\n");
    const double margin = panel_.form == Panel::Form::kLine ? std::max(0.06 * (last - first), 1.0) : 0.6;
    absl::StrAppendFormat(&script_, "set xrange [%g:%g]\nset yrange [0:%g]\n", first - margin, last + margin,
                          AxisTop());
  }

  void References() {
    for (const Reference& reference : panel_.references) {
      absl::StrAppendFormat(&script_,
                            "set arrow from graph 0, first %g to graph 1, first %g nohead dt 2 lc rgb '#888888'\n",
                            reference.value, reference.value);
      if (panel_.form != Panel::Form::kLine) continue;  // bars would stand in the name's way
      absl::StrAppendFormat(&script_,
                            "set label %s at graph 0.01, first %g left offset 0,0.5 font ',10' tc rgb '#666666'\n",
                            Quote(reference.name), reference.value);
    }
  }

  // `text` at a point of the axes.
  void Label(const std::string& text, double x, double y, const char* where, const char* colour = "#222222") {
    absl::StrAppendFormat(&script_, "set label %s at first %g, first %g %s font ',10' tc rgb '%s' front\n", Quote(text),
                          x, y, where, colour);
  }

  void AddPlot(size_t series, const std::string& rows, const char* how) {
    const std::string block = absl::StrCat(data_, series);
    absl::StrAppend(&script_, block, " << EOD\n", rows, "EOD\n");
    const std::string title =
        panel_.series.size() > 1 ? absl::StrCat("title ", Quote(panel_.series[series].name)) : "notitle";
    absl::StrAppend(&plots_, plots_.empty() ? "" : ", ", block, " ", how, " lc ", Colour(series), " ", title);
  }

  void Lines() {
    for (size_t s = 0; s < panel_.series.size(); ++s) {
      std::string rows;
      for (size_t i = 0; i < panel_.categories.size(); ++i) {
        if (std::isnan(Value(s, i))) continue;
        absl::StrAppendFormat(&rows, "%g %g\n", Place(i), Value(s, i));
        if (s == 0) Label(panel_.value_text(Value(s, i)), Place(i), Value(s, i), "center offset 0,0.9");
      }
      AddPlot(s, rows, "using 1:2 with linespoints lw 2.5 pt 7 ps 0.9");
    }
  }

  void Bars() {
    std::vector<double> base(panel_.categories.size(), 0);  // of the next part of a stack
    const double top = AxisTop();
    const bool stacked = panel_.form == Panel::Form::kStacked;
    const bool turned = panel_.series.size() * base.size() > kMostUpright;
    const double width = stacked ? 0.62 : kGroupWidth / std::max<size_t>(panel_.series.size(), 1);
    for (size_t s = 0; s < panel_.series.size(); ++s) {
      std::string rows;
      for (size_t i = 0; i < panel_.categories.size(); ++i) {
        const double value = Value(s, i);
        if (std::isnan(value)) continue;
        const double x = stacked ? Place(i) : Place(i) - kGroupWidth / 2 + (s + 0.5) * width;
        absl::StrAppendFormat(&rows, "%g %g %g %g %g %g\n", x, value, x - 0.48 * width, x + 0.48 * width, base[i],
                              base[i] + value);
        if (!stacked) {
          Label(panel_.value_text(value), x, value, turned ? "left rotate by 90 offset 0,0.4" : "center offset 0,0.6");
        } else if (panel_.series.size() > 1 && value > kLeastLabelled * top) {
          Label(panel_.value_text(value), x, base[i] + value / 2, "center", kOnColours[s % kOnColours.size()]);
        }
        if (stacked) base[i] += value;
      }
      AddPlot(s, rows, "using 1:2:3:4:5:6 with boxxyerror");
    }
    if (!stacked) return;
    for (size_t i = 0; i < base.size(); ++i)
      Label(panel_.value_text(base[i]), Place(i), base[i], "center offset 0,0.6");
  }

  const Panel& panel_;
  const std::string data_;
  std::string script_, plots_;
};

absl::Status MissingGnuplot() {
  return MakeError(absl::StatusCode::kFailedPrecondition, kGnuplotMissing,
                   "charts are drawn by gnuplot, which is not installed");
}

}  // namespace

std::optional<PlotFormat> PlotFormatOf(const std::string& file) {
  if (absl::EndsWithIgnoreCase(file, ".svg")) return PlotFormat::kSvg;
  if (absl::EndsWithIgnoreCase(file, ".png")) return PlotFormat::kPng;
  return std::nullopt;
}

std::string GnuplotScript(const Chart& chart, PlotFormat format) {
  const int panels = static_cast<int>(chart.panels.size());
  const int columns = panels <= 3 ? panels : 2, rows = (panels + columns - 1) / columns;
  const char* terminal = format == PlotFormat::kSvg ? "svg font 'Helvetica,Arial,sans-serif,12' background '#FFFFFF'"
                                                    : "pngcairo font 'sans,11' background '#FFFFFF'";
  std::string script = absl::StrCat("set encoding utf8\nset terminal ", terminal, " noenhanced size ",
                                    columns * kPanelWidth, ",", rows * kPanelHeight + kTitleHeight, "\n");
  absl::StrAppend(&script, "set multiplot layout ", rows, ",", columns, " title ", Quote(chart.title), " font ',17'\n");
  for (int i = 0; i < panels; ++i) script += PanelScript(chart.panels[i], i).Text();
  return script + "unset multiplot\n";
}

void PlotOption::AddTo(CLI::App& app) {
  app.add_option("-o,--plot", file_, "Also draw the chart into this file, .svg or .png")
      ->check([](const std::string& file) {
        return PlotFormatOf(file) ? std::string()
                                  : absl::StrCat("takes a file whose name ends with .svg or .png, not \"", file, "\"");
      });
}

absl::Status PlotOption::Check() const {
  if (file_.empty()) return absl::OkStatus();
  DIPTYCH_RETURN_IF_ERROR(CheckOutputFile("--plot", file_));
  const absl::Status status = RunFilter({"gnuplot", "--version"}, "").status();
  return absl::IsNotFound(status) ? MissingGnuplot() : status;
}

absl::Status PlotOption::Write(const Chart& chart) const {
  if (file_.empty()) return absl::OkStatus();
  const auto image = RunFilter({"gnuplot", "--default-settings"}, GnuplotScript(chart, *PlotFormatOf(file_)));
  if (!image.ok()) return absl::IsNotFound(image.status()) ? MissingGnuplot() : image.status();
  return WriteFile(file_, *image);
}

}  // namespace diptych::cli
