#include "gateway/tiers/request_affinity.h"

#include <string_view>

#include "common/requests/image_preparation.h"

namespace diptych::gateway {
namespace {

AffinityKey KeyOf(const v1::Image& image, const v1::ImageOptions& options, std::string_view cache_salt) {
  return AffinityKeyOf({"image", image.data(), options.SerializeAsString(), cache_salt});
}

}  // namespace

std::optional<AffinityKey> AffinityOf(const v1::GenerateRequest& request) {
  const v1::Question& question = request.question();
  if (question.images_size() > 0) return KeyOf(question.images(0), question.image_options(), request.cache_salt());
  if (question.turns_size() < 2) return std::nullopt;
  return AffinityKeyOf({"text", question.turns(0).text(), request.cache_salt()});
}

std::optional<AffinityKey> AffinityOf(const v1::AnalyzeQueriesRequest& request) {
  return KeyOf(request.image(), request.options(), request.cache_salt());
}

std::optional<AffinityKey> AffinityOf(const v1::AnalyzeVisionRequest& request,
                                      const std::optional<v1::ModelDescription>& model) {
  if (!model || model->patch_size() < 1) return std::nullopt;
  const auto preparation = PrepareImageOptions(request.options(), "options", model->patch_size(), model->image_size());
  if (!preparation.ok()) return std::nullopt;  // the tier says why
  return AffinityKeyOf({ImageKey(request.image(), *preparation, model->fingerprint(), request.cache_salt())});
}

}  // namespace diptych::gateway
