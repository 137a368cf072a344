#include "language_service/engine/projection.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "blip2/device/device_error.h"
#include "blip2/device/transfer.h"
#include "common/process/catch_exceptions.h"
#include "common/status.h"

namespace diptych::language {
namespace {

at::ScalarType ScalarTypeOf(v1::NumberType type) {
  switch (type) {
    case v1::NUMBER_TYPE_BFLOAT16:
      return at::kBFloat16;
    case v1::NUMBER_TYPE_FLOAT16:
      return at::kHalf;
    default:
      return at::kFloat;
  }
}

// Bytes times the scales of their columns, which lie before them -> [1, P, Dv] float32.
at::Tensor FromInt8(VisualTokens& tokens) {
  const at::Tensor scales = at::from_blob(tokens.bytes.data(), {tokens.width}, at::kFloat);
  const at::Tensor bytes =
      at::from_blob(tokens.bytes.data() + scales.nbytes(), {1, tokens.tokens, tokens.width}, at::kChar);
  return bytes.to(at::kFloat).mul_(scales);
}

// -> [1, P, Dv]. May share the bytes of `tokens`, which must outlive it.
at::Tensor ToTensor(VisualTokens& tokens) {
  if (tokens.dtype == v1::NUMBER_TYPE_INT8) return FromInt8(tokens);
  return at::from_blob(tokens.bytes.data(), {1, tokens.tokens, tokens.width}, ScalarTypeOf(tokens.dtype));
}

// [B, P, Dv]. As ToTensor.
at::Tensor Together(std::span<Projection> images) {
  if (images.size() == 1) return ToTensor(images[0].tokens);
  std::vector<at::Tensor> tensors;
  for (Projection& image : images) tensors.push_back(ToTensor(image.tokens));
  return at::cat(tensors);
}

absl::Status NotFinite() {
  return absl::InternalError("the model's query tokens for an image are not finite");
}

absl::StatusOr<QueryTokens> Explained(const ServedLanguageModel& model, Projection& image) {
  ProjectionAnalysis analysis = model.analyze_projection(ToTensor(image.tokens));
  QueryTokens read{.key = image.image_key,
                   .query_tokens = std::move(analysis.query_tokens),
                   .query_attention = blip2::Download(analysis.cross_attention[0].contiguous())};
  if (blip2::AllFinite(read.query_tokens) && blip2::AllFinite(read.query_attention)) return read;
  return NotFinite();
}

std::vector<absl::StatusOr<QueryTokens>> Read(const ServedLanguageModel& model, std::span<Projection> images) {
  if (images.size() == 1 && images[0].with_attention) return {Explained(model, images[0])};
  const at::Tensor all = model.project(Together(images));  // [B, Q, De]
  const at::Tensor finite = blip2::Download(all.isfinite().flatten(1).all(1));
  std::vector<absl::StatusOr<QueryTokens>> read;
  for (size_t i = 0; i < images.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    if (!finite[row].item<bool>()) {
      read.emplace_back(NotFinite());
      continue;
    }
    // A part of the whole would keep all of it for as long as one image is in the cache.
    const at::Tensor own = images.size() == 1 ? all : all.narrow(0, row, 1).clone();
    read.emplace_back(QueryTokens{.key = images[i].image_key, .query_tokens = own});
  }
  return read;
}

}  // namespace

size_t AlikeAtTheFront(std::span<const Projection> images) {
  const VisualTokens& first = images.front().tokens;
  if (images.front().with_attention) return 1;
  const auto other = std::find_if(images.begin(), images.end(), [&](const Projection& image) {
    return image.with_attention || image.tokens.dtype != first.dtype || image.tokens.tokens != first.tokens ||
           image.tokens.width != first.width;
  });
  return other - images.begin();
}

std::vector<ProjectedImage> ProjectImages(const ServedLanguageModel& model, std::span<Projection> images) {
  std::vector<absl::StatusOr<QueryTokens>> read;
  const auto read_all = [&] {
    read = Read(model, images);
    return absl::OkStatus();
  };
  const absl::Status status = CatchExceptions(NameOf(Stage::kQFormer), read_all, blip2::StatusOfDeviceError);
  std::vector<ProjectedImage> projected;
  for (size_t i = 0; i < images.size(); ++i) {
    if (!status.ok() && images.size() > 1 && !IsDeviceLost(status)) {
      projected.push_back(std::move(ProjectImages(model, images.subspan(i, 1))[0]));  // one must not fail the others
    } else if (!status.ok()) {
      projected.emplace_back(status);
    } else if (!read[i].ok()) {
      projected.emplace_back(read[i].status());
    } else {
      projected.emplace_back(std::make_shared<const QueryTokens>(*std::move(read[i])));
    }
  }
  return projected;
}

}  // namespace diptych::language
