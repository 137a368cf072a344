// The cost of an image in the vision tier: seconds of the vision transformer by image size, merging and batch, and
// of the preparation by pre-shrink, as the rows of Markdown tables. The rows take turns and the best of each counts,
// so that a machine's moods meet all of them; on a shared machine compare processor time.
//
//   vision_times --model DIR [--dtype float32] [--image_sizes 224,448] [--mergings 0,20,50] [--batches 1,4] [--rounds
//   3]
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "bench/card_rates.h"
#include "bench/seconds.h"
#include "blip2/checkpoint/memory_plan.h"
#include "blip2/cuda/step_recorder.h"
#include "blip2/device/device.h"
#include "blip2/images/pixels.h"
#include "blip2/images/resample.h"
#include "blip2/vision_graphs.h"
#include "blip2/vision_model.h"

ABSL_FLAG(std::string, model, "models/demo", "checkpoint folder in Hugging Face layout");
ABSL_FLAG(std::string, device, "cpu", "cpu, cuda or cuda:N");
ABSL_FLAG(std::string, dtype, "float32", "auto, float32, bfloat16, float16, int8, int4 or fp8");
ABSL_FLAG(int, threads, 0, "threads of one operator; 0: one for each core");
ABSL_FLAG(std::vector<std::string>, image_sizes, {}, "sides in pixels; default: the model's own");
ABSL_FLAG(std::vector<std::string>, mergings, {"0"}, "thousandths of the patch tokens that a layer merges");
ABSL_FLAG(std::vector<std::string>, batches, {"1"}, "images in a pass");
ABSL_FLAG(std::vector<std::string>, max_sides, {}, "pre-shrinks of a 4000 x 3000 image, in pixels; 0: none");
ABSL_FLAG(bool, cuda_graphs, false, "also the same passes recorded");
ABSL_FLAG(int, rounds, 3, "times that each row is measured");

namespace diptych {
namespace {

constexpr Seconds kForever = {.clock = 1e9, .processor = 1e9};

struct Row {
  int image_size, merging, batch;
  int64_t tokens = 0;
  Seconds best = kForever;  // of the whole pass
};

// Lowers `best` to what `work` takes.
template <typename Work>
void Measure(Seconds& best, Work work) {
  const Seconds taken = TimeOf(work);
  best = {.clock = std::min(best.clock, taken.clock), .processor = std::min(best.processor, taken.processor)};
}

std::vector<int> Integers(const std::vector<std::string>& texts) {
  std::vector<int> values;
  for (const std::string& text : texts) {
    int value = 0;
    if (absl::SimpleAtoi(text, &value)) values.push_back(value);
  }
  return values;
}

std::vector<Row> Rows(const blip2::VisionModel& model) {
  std::vector<int> sizes = Integers(absl::GetFlag(FLAGS_image_sizes));
  if (sizes.empty()) sizes.push_back(static_cast<int>(model.config().image_size));
  std::vector<Row> rows;
  for (const int size : sizes) {
    for (const int batch : Integers(absl::GetFlag(FLAGS_batches))) {
      for (const int merging : Integers(absl::GetFlag(FLAGS_mergings))) rows.push_back({size, merging, batch});
    }
  }
  return rows;
}

// Operations of a pass over one image, two for each product of two numbers: of the linear maps and of attention.
double OperationsOfAnImage(const blip2::VisionConfig& config, int64_t tokens) {
  const auto p = static_cast<double>(tokens), width = static_cast<double>(config.hidden_size);
  const double patch = 3.0 * static_cast<double>(config.patch_size * config.patch_size);
  const double linear = 2 * p * width * (4 * width + 2 * static_cast<double>(config.intermediate_size));
  return static_cast<double>(config.num_hidden_layers) * (linear + 4 * p * p * width) + 2 * (p - 1) * width * patch;
}

// How much of a card's rate of products the passes reach, copies included. Products are of the dtype beside which the
// model computes: bfloat16 for fp8.
void CompareWithProducts(const std::vector<Row>& rows, const blip2::VisionModel& model) {
  const blip2::Placement& placement = model.placement();
  const double rate = ProductRate(placement.device, placement.dtype);
  std::printf("\n| image_size | batch | 10^12 operations/s | of plain products |\n|---|---|---|---|\n");
  for (const Row& row : rows) {
    if (row.merging != 0) continue;
    const double own = OperationsOfAnImage(model.config(), row.tokens) * row.batch / row.best.clock;
    std::printf("| %d | %d | %.1f | %.2f |\n", row.image_size, row.batch, own / 1e12, own / rate);
  }
  std::printf("\nPlain products in %s: %.1f * 10^12 operations/s\n", blip2::DTypeName(placement.dtype).c_str(),
              rate / 1e12);
}

using Forward = std::function<at::Tensor(const at::Tensor& pixels, int merging)>;

// The rows with their times.
std::vector<Row> MeasurePasses(std::vector<Row> rows, const Forward& forward) {
  for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
    for (Row& row : rows) {
      const at::Tensor pixels = at::randn({row.batch, 3, row.image_size, row.image_size});
      // On a GPU the copy waits for the result.
      Measure(row.best, [&] { row.tokens = forward(pixels, row.merging).cpu().size(1); });
    }
  }
  std::printf("| image_size | batch | merged a layer | visual tokens | seconds an image | of processor time |\n");
  std::printf("|---|---|---|---|---|---|\n");
  for (const Row& row : rows) {
    std::printf("| %d | %d | %.1f %% | %ld | %.3g | %.3g |\n", row.image_size, row.batch, row.merging / 10.0,
                static_cast<long>(row.tokens), row.best.clock / row.batch, row.best.processor / row.batch);
  }
  return rows;
}

// The same passes recorded, and how far their tokens are from the others'.
absl::Status MeasureRecorded(const blip2::VisionModel& model) {
  absl::StatusOr<blip2::RecordStep> recorder = blip2::MakeCudaRecorder(model.placement().device);
  if (!recorder.ok()) return recorder.status();
  absl::Status status;
  const auto failed = [&status](const std::string& why) { status = absl::InternalError(why); };
  blip2::VisionGraphs graphs(*std::move(recorder), failed, model);
  std::printf("\nrecorded:\n");
  CompareWithProducts(MeasurePasses(Rows(model), [&graphs](const at::Tensor& pixels,
                                                           int merging) { return graphs.Forward(pixels, merging); }),
                      model);
  double off = 0;
  for (const Row& row : Rows(model)) {
    const at::Tensor pixels = at::randn({row.batch, 3, row.image_size, row.image_size});
    const at::Tensor seen = graphs.Forward(pixels, row.merging), expected = model.Forward(pixels, row.merging);
    off = std::max(off, ((seen - expected).norm() / expected.norm()).cpu().item<double>());
  }
  std::printf("\ntokens differ by %.2g of their norm at most\n", off);
  return status;
}

void MeasurePreparation(const blip2::ImageProcessorConfig& config, int image_size) {
  blip2::RgbImage image{.width = 4000, .height = 3000, .pixels = std::vector<uint8_t>(3 * 4000 * 3000)};
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  std::printf("\n| max_side | seconds to prepare 4000 x 3000 | of processor time |\n|---|---|---|\n");
  for (const int max_side : Integers(absl::GetFlag(FLAGS_max_sides))) {
    Seconds best = kForever;
    for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
      blip2::RgbImage copy = image;
      Measure(best,
              [&] { blip2::ToPixelValues(blip2::ShrinkToMaxSide(std::move(copy), max_side), config, image_size); });
    }
    std::printf("| %d | %.3g | %.3g |\n", max_side, best.clock, best.processor);
  }
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "vision_times: %s\n", std::string(status.message()).c_str());
  return 1;
}

int Run() {
  const c10::InferenceMode inference;
  blip2::SetIntraOpThreads(absl::GetFlag(FLAGS_threads));
  const auto checkpoint = blip2::Checkpoint::Open(absl::GetFlag(FLAGS_model));
  if (!checkpoint.ok()) return Fail(checkpoint.status());
  const auto chosen =
      blip2::ChoosePlacement(absl::GetFlag(FLAGS_device), absl::GetFlag(FLAGS_dtype), (*checkpoint)->config());
  if (!chosen.ok()) return Fail(chosen.status());
  const blip2::VisionModel model(**checkpoint, chosen->placement);
  const auto forward = [&model](const at::Tensor& pixels, int merging) { return model.Forward(pixels, merging); };
  const std::vector<Row> rows = MeasurePasses(Rows(model), forward);
  if (!chosen->placement.device.is_cpu()) CompareWithProducts(rows, model);
  if (absl::GetFlag(FLAGS_cuda_graphs)) {
    if (const absl::Status status = MeasureRecorded(model); !status.ok()) return Fail(status);
  }
  if (!absl::GetFlag(FLAGS_max_sides).empty()) {
    MeasurePreparation((*checkpoint)->config().image_processor, static_cast<int>(model.config().image_size));
  }
  return 0;
}

}  // namespace
}  // namespace diptych

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return diptych::Run();
}
