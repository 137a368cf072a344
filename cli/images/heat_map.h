// An attention map over its image.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/images/image.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::cli {

// OK if the grid holds rows x columns finite values that are not negative, and at least one.
absl::Status CheckGrid(const v1::FloatGrid& grid);

// The image in the proportions of `size`, its longer side 256 to 1024 pixels, with the grid over it: the cells are
// interpolated, the smallest value leaves the image dark, the largest glows.
Image HeatMap(const Image& image, const v1::FloatGrid& grid, const v1::ImageSize& size);

// The grid for a terminal: a line for each row, two characters for each cell, from blank (smallest) to full (largest).
std::string BlockMap(const v1::FloatGrid& grid, const std::string& indent = "  ");

}  // namespace diptych::cli
