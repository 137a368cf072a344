// A chart as numbers and words. gnuplot.h draws it into a file, terminal_chart.h onto a terminal.
#pragma once

#include <string>
#include <vector>

namespace diptych::cli {

// One number for each category. NaN: nothing there.
struct Series {
  std::string name;
  std::vector<double> values = {};
};

// The value of each item.
template <typename Item, typename Value>
Series SeriesOf(const std::vector<Item>& items, const char* name, Value&& value) {
  Series series{.name = name};
  for (const Item& item : items) series.values.push_back(value(item));
  return series;
}

// A dashed horizontal line; named where there is room: in charts of lines.
struct Reference {
  std::string name;
  double value = 0;
};

std::string CountText(double value);         // "1,024"
std::string TimesText(double value);         // "1.8×"
std::string MillisecondsText(double value);  // of a value in milliseconds: "86", "3.2"

struct Panel {
  enum class Form {
    kBars,     // the series side by side
    kStacked,  // the series on top of each other
    kLine,     // each series a line over `x`
  };

  Form form = Form::kBars;
  std::string title;
  std::string x_label = {};
  std::string y_label = {};  // with its unit
  std::vector<std::string> categories = {};
  std::vector<double> x = {};  // kLine: where the categories lie, ascending
  std::vector<Series> series = {};
  std::vector<Reference> references = {};
  std::string (*value_text)(double) = CountText;  // the label of a value
};

struct Chart {
  std::string title;
  std::vector<Panel> panels;
};

}  // namespace diptych::cli
