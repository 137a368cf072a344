#include "blip2/images/resample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <utility>

// Mirrors Pillow's src/libImaging/Resample.c for 8-bit images: weights in double precision, rounded to
// fixed point, sums in integers, an 8-bit image between the two passes.
//
// The sums are done in another order than Pillow's, which integers allow: a weight k is split into
// k = 256 * high + low, so that both parts and the samples fit 16 bits and the compiler can use the
// 16-bit multiply-add of the vector unit; sum(k * s) = 256 * sum(high * s) + sum(low * s).

namespace diptych::blip2 {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // of a weight's fraction
constexpr int kLanes = 8;                   // taps are padded to this with zero weights

double Cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double Sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double Lanczos(double x) {
  return x >= -3.0 && x < 3.0 ? Sinc(x) * Sinc(x / 3) : 0.0;
}

struct Kernel {
  double (*weight)(double);
  double support;  // source pixels on either side at scale 1
};

Kernel KernelOf(Filter filter) {
  return filter == Filter::kBicubic ? Kernel{Cubic, 2.0} : Kernel{Lanczos, 3.0};
}

// The samples that one axis reads for each output position, and their weights.
struct Taps {
  int stride = 0;             // entries a position has in the two arrays; a multiple of kLanes
  std::vector<int> first;     // index of the first sample
  std::vector<int> count;     // samples; the weights after them are zero
  std::vector<int16_t> high;  // weight >> 8
  std::vector<int16_t> low;   // weight & 255

  const int16_t* HighOf(int position) const { return high.data() + static_cast<size_t>(position) * stride; }
  const int16_t* LowOf(int position) const { return low.data() + static_cast<size_t>(position) * stride; }
};

int ToFixedPoint(double weight) {
  const double scaled = weight * (1 << kPrecisionBits);
  return static_cast<int>(weight < 0 ? scaled - 0.5 : scaled + 0.5);
}

Taps MakeTaps(int in_size, int out_size, const Kernel& kernel) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double filter_scale = std::max(scale, 1.0);
  const double support = kernel.support * filter_scale;
  const double inverse = 1.0 / filter_scale;

  Taps taps;
  const int widest = std::min(static_cast<int>(std::ceil(support)) * 2 + 1, in_size);
  taps.stride = (widest + kLanes - 1) / kLanes * kLanes;
  taps.first.resize(out_size);
  taps.count.resize(out_size);
  taps.high.resize(static_cast<size_t>(out_size) * taps.stride);
  taps.low.resize(static_cast<size_t>(out_size) * taps.stride);

  std::vector<double> weights(widest);
  for (int i = 0; i < out_size; ++i) {
    const double center = (i + 0.5) * scale;
    const int begin = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), in_size);
    double sum = 0.0;
    for (int j = begin; j < end; ++j) {
      weights[j - begin] = kernel.weight((j - center + 0.5) * inverse);
      sum += weights[j - begin];
    }
    taps.first[i] = begin;
    taps.count[i] = end - begin;
    for (int j = 0; j < end - begin; ++j) {
      const int fixed = ToFixedPoint(sum != 0.0 ? weights[j] / sum : weights[j]);
      const size_t at = static_cast<size_t>(i) * taps.stride + j;
      taps.high[at] = static_cast<int16_t>(fixed >> 8);
      taps.low[at] = static_cast<int16_t>(fixed & 255);
    }
  }
  return taps;
}

uint8_t ToByte(int high_sum, int low_sum) {
  const int rounded = ((1 << (kPrecisionBits - 1)) + high_sum * 256 + low_sum) >> kPrecisionBits;
  return static_cast<uint8_t>(std::clamp(rounded, 0, 255));
}

constexpr int kBlockPixels = 16;
constexpr int kBlockBytes = 3 * kBlockPixels;
constexpr int kStripBlocks = 16;  // shuffled together, so that a shuffle does not wait for the one before
constexpr int kStripPixels = kStripBlocks * kBlockPixels;
using Strip = std::array<uint8_t, kStripBlocks * kBlockBytes>;

// A perfect shuffle of each block: its two halves are interleaved, which moves byte p to 2p mod 47.
void InterleaveHalves(const uint8_t* from, uint8_t* to) {
  for (int block = 0; block < kStripBlocks; ++block, from += kBlockBytes, to += kBlockBytes) {
    for (int i = 0; i < kBlockBytes / 2; ++i) {
      to[2 * i] = from[i];
      to[2 * i + 1] = from[kBlockBytes / 2 + i];
    }
  }
}

// RGBRGB… of each 16 pixels to their 16 reds, 16 greens, 16 blues: four shuffles move byte 3x + c to
// 16 (3x + c) mod 47 = x + 16c. Processors have vector instructions for this, but few for steps of three.
void SeparateChannels(const uint8_t* pixels, Strip& planes) {
  Strip other;
  InterleaveHalves(pixels, other.data());
  InterleaveHalves(other.data(), planes.data());
  InterleaveHalves(planes.data(), other.data());
  InterleaveHalves(other.data(), planes.data());
}

// One row of an image, a plane of 16-bit samples for each channel, with zeros behind for padded taps.
struct PlanarRow {
  PlanarRow(int width, int padding) : stride(width + padding), samples(3 * static_cast<size_t>(stride)) {}

  void Load(const uint8_t* row, int width) {
    int x = 0;
    for (; x + kStripPixels <= width; x += kStripPixels) LoadStrip(row + 3 * x, x);
    for (; x < width; ++x) {
      for (int c = 0; c < 3; ++c) samples[c * stride + x] = row[3 * x + c];
    }
  }

  void LoadStrip(const uint8_t* pixels, int x) {
    Strip planes;
    SeparateChannels(pixels, planes);
    for (int block = 0; block < kStripBlocks; ++block, x += kBlockPixels) {
      const uint8_t* const from = planes.data() + block * kBlockBytes;
      for (int c = 0; c < 3; ++c) std::copy_n(from + c * kBlockPixels, kBlockPixels, samples.data() + c * stride + x);
    }
  }

  int stride;
  std::vector<int16_t> samples;
};

// The three channels of one output pixel, over `blocks` blocks of kLanes entries.
void WeightedPixel(const int16_t* red, int stride, const int16_t* high, const int16_t* low, int blocks, uint8_t* to) {
  const int16_t* const green = red + stride;
  const int16_t* const blue = green + stride;
  int high_sum[3] = {};
  int low_sum[3] = {};
  for (int j = 0; j < blocks * kLanes; ++j) {
    high_sum[0] += red[j] * high[j];
    low_sum[0] += red[j] * low[j];
    high_sum[1] += green[j] * high[j];
    low_sum[1] += green[j] * low[j];
    high_sum[2] += blue[j] * high[j];
    low_sum[2] += blue[j] * low[j];
  }
  for (int c = 0; c < 3; ++c) to[c] = ToByte(high_sum[c], low_sum[c]);
}

RgbImage ResizeWidth(const RgbImage& image, int width, const Kernel& kernel) {
  const Taps taps = MakeTaps(image.width, width, kernel);
  RgbImage out{.width = width, .height = image.height, .pixels = {}};
  out.pixels.resize(3 * static_cast<size_t>(width) * image.height);
  PlanarRow row(image.width, taps.stride);
  uint8_t* to = out.pixels.data();
  for (int y = 0; y < image.height; ++y) {
    row.Load(image.pixels.data() + 3 * static_cast<size_t>(y) * image.width, image.width);
    for (int x = 0; x < width; ++x, to += 3) {
      const int blocks = (taps.count[x] + kLanes - 1) / kLanes;
      const int16_t* const samples = row.samples.data() + taps.first[x];
      WeightedPixel(samples, row.stride, taps.HighOf(x), taps.LowOf(x), blocks, to);
    }
  }
  return out;
}

RgbImage ResizeHeight(const RgbImage& image, int height, const Kernel& kernel) {
  const Taps taps = MakeTaps(image.height, height, kernel);
  const int row_bytes = 3 * image.width;
  RgbImage out{.width = image.width, .height = height, .pixels = {}};
  out.pixels.resize(static_cast<size_t>(row_bytes) * height);
  std::vector<int> sums(row_bytes);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), 1 << (kPrecisionBits - 1));
    for (int j = 0; j < taps.count[y]; ++j) {
      const int weight = taps.HighOf(y)[j] * 256 + taps.LowOf(y)[j];
      const uint8_t* const from = image.pixels.data() + static_cast<size_t>(taps.first[y] + j) * row_bytes;
      for (int x = 0; x < row_bytes; ++x) sums[x] += from[x] * weight;
    }
    uint8_t* const to = out.pixels.data() + static_cast<size_t>(y) * row_bytes;
    for (int x = 0; x < row_bytes; ++x) to[x] = static_cast<uint8_t>(std::clamp(sums[x] >> kPrecisionBits, 0, 255));
  }
  return out;
}

}  // namespace

RgbImage Resize(const RgbImage& image, int width, int height, Filter filter) {
  const Kernel kernel = KernelOf(filter);
  const bool across = width != image.width;
  const bool down = height != image.height;
  if (!across && !down) return image;
  if (!down) return ResizeWidth(image, width, kernel);
  if (!across) return ResizeHeight(image, height, kernel);
  // Pillow 13's choice (Pillow 12 and before: always the width first); the two orders round differently.
  const bool height_first = height < image.height && image.height - height > 2 * (image.width - width);
  if (height_first) return ResizeWidth(ResizeHeight(image, height, kernel), width, kernel);
  return ResizeHeight(ResizeWidth(image, width, kernel), height, kernel);
}

RgbImage ShrinkToMaxSide(RgbImage image, int max_side) {
  const int longer = std::max(image.width, image.height);
  if (max_side == 0 || longer <= max_side) return image;
  const double ratio = static_cast<double>(max_side) / longer;
  const auto shrunk = [&](int side) { return side == longer ? max_side : std::max(static_cast<int>(side * ratio), 1); };
  return Resize(image, shrunk(image.width), shrunk(image.height), Filter::kLanczos);
}

}  // namespace diptych::blip2
