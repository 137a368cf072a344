#include "cli/images/heat_map.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace diptych::cli {
namespace {

constexpr int kLeastSide = 256, kMostSide = 1024;  // pixels
constexpr std::array<const char*, 5> kShades = {"  ", "░░", "▒▒", "▓▓", "██"};
// From cold to hot at equal distances: black, violet, red, orange, pale yellow.
constexpr std::array<std::array<double, 3>, 5> kHeat = {
    {{0, 0, 4}, {87, 16, 110}, {188, 55, 84}, {249, 142, 9}, {252, 255, 164}}};

// Position of a pixel's middle among the middles of `cells` cells, and its share of the next cell.
struct Between {
  int low, high;
  double share;

  Between(int pixel, int pixels, int cells) {
    const double place = std::clamp((pixel + 0.5) * cells / pixels - 0.5, 0.0, cells - 1.0);
    low = static_cast<int>(place);
    high = std::min(low + 1, cells - 1);
    share = place - low;
  }

  double Mix(double a, double b) const { return a + share * (b - a); }
};

// Scales the grid's values to 0..1; all 0 if they are all the same.
class Scale {
 public:
  explicit Scale(const v1::FloatGrid& grid) {
    const auto [low, high] = std::minmax_element(grid.values().begin(), grid.values().end());
    low_ = *low;
    range_ = *high > *low ? *high - *low : 1;
  }
  double operator()(float value) const { return (value - low_) / range_; }

 private:
  double low_, range_;
};

double HeatChannel(double heat, int channel) {
  const double place = heat * (kHeat.size() - 1);
  const auto low = std::min<size_t>(static_cast<size_t>(place), kHeat.size() - 2);
  return kHeat[low][channel] + (place - static_cast<double>(low)) * (kHeat[low + 1][channel] - kHeat[low][channel]);
}

// Width and height with the proportions of `size` and the longer side within bounds.
std::pair<int, int> Shape(const v1::ImageSize& size) {
  const double width = std::max(size.width(), 1), height = std::max(size.height(), 1);
  const double longer = std::max(width, height), scale = std::clamp<double>(longer, kLeastSide, kMostSide) / longer;
  return {std::max(1, static_cast<int>(std::lround(width * scale))),
          std::max(1, static_cast<int>(std::lround(height * scale)))};
}

}  // namespace

absl::Status CheckGrid(const v1::FloatGrid& grid) {
  const bool fits =
      grid.rows() > 0 && grid.columns() > 0 && int64_t{grid.rows()} * grid.columns() == grid.values_size();
  const bool sane = std::all_of(grid.values().begin(), grid.values().end(),
                                [](float value) { return std::isfinite(value) && value >= 0; });
  return fits && sane ? absl::OkStatus() : absl::InternalError("the server's attention map is invalid");
}

Image HeatMap(const Image& image, const v1::FloatGrid& grid, const v1::ImageSize& size) {
  const auto [width, height] = Shape(size);
  const Scale scale(grid);
  const auto cell = [&](int row, int column) { return scale(grid.values(row * grid.columns() + column)); };
  Image out{.width = width, .height = height, .rgb = std::vector<uint8_t>(size_t{3} * width * height)};
  for (int y = 0; y < height; ++y) {
    const Between row(y, height, grid.rows()), from_y(y, height, image.height);
    for (int x = 0; x < width; ++x) {
      const Between column(x, width, grid.columns()), from_x(x, width, image.width);
      const double heat = row.Mix(column.Mix(cell(row.low, column.low), cell(row.low, column.high)),
                                  column.Mix(cell(row.high, column.low), cell(row.high, column.high)));
      for (int c = 0; c < 3; ++c) {
        const auto pixel = [&](int px, int py) { return static_cast<double>(image.At(px, py)[c]); };
        const double below = from_y.Mix(from_x.Mix(pixel(from_x.low, from_y.low), pixel(from_x.high, from_y.low)),
                                        from_x.Mix(pixel(from_x.low, from_y.high), pixel(from_x.high, from_y.high)));
        out.At(x, y)[c] = static_cast<uint8_t>(std::lround(0.5 * below + 0.5 * HeatChannel(heat, c)));
      }
    }
  }
  return out;
}

std::string BlockMap(const v1::FloatGrid& grid, const std::string& indent) {
  const Scale scale(grid);
  std::string text;
  for (int row = 0; row < grid.rows(); ++row) {
    text += indent;
    for (int column = 0; column < grid.columns(); ++column) {
      const double value = scale(grid.values(row * grid.columns() + column));
      text += kShades[std::min<size_t>(static_cast<size_t>(value * kShades.size()), kShades.size() - 1)];
    }
    text += "\n";
  }
  return text;
}

}  // namespace diptych::cli
