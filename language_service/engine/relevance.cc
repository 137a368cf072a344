#include "language_service/engine/relevance.h"

#include <ATen/ATen.h>

#include <limits>
#include <utility>
#include <vector>

#include "blip2/device/device_error.h"
#include "blip2/device/transfer.h"
#include "common/process/catch_exceptions.h"
#include "common/status.h"

namespace diptych::language {
namespace {

bool IsFinite(const AnswerRelevance& relevance) {
  bool finite = relevance.image_share.isfinite().all().item<bool>();
  for (const at::Tensor& image : relevance.images) finite = finite && image.isfinite().all().item<bool>();
  return finite;
}

// [T, De] of all tokens but the last, from which nothing was chosen.
at::Tensor EmbedAll(const ServedLanguageModel& model, const Sequence& sequence) {
  const int64_t length = sequence.prompt_tokens() + sequence.answer_tokens() - 1;
  const at::Tensor text = model.embed(sequence.Ids(/*beam=*/0, /*past=*/0, length), {})[0];
  return at::cat({sequence.QueryTokensAt(/*past=*/0, length), text});
}

}  // namespace

AnswerRelevance CombineRelevance(const at::Tensor& attention, std::span<const at::Tensor> query_attention) {
  AnswerRelevance relevance;
  relevance.image_share = attention.sum(1);
  int64_t begin = 0;
  for (const at::Tensor& map : query_attention) {
    const at::Tensor own = attention.narrow(1, begin, map.size(0));
    begin += map.size(0);
    const at::Tensor weights = own / own.sum(1, /*keepdim=*/true).clamp_min(std::numeric_limits<float>::min());
    relevance.images.push_back(at::matmul(weights, map.slice(1, 1)));
  }
  return relevance;
}

absl::StatusOr<AnswerRelevance> ComputeRelevance(const ServedLanguageModel& model, const Sequence& sequence,
                                                 const blip2::Pieces& pieces) {
  AnswerRelevance relevance;
  DIPTYCH_RETURN_IF_ERROR(CatchExceptions(
      NameOf(Stage::kRelevance),
      [&] {
        std::vector<at::Tensor> maps;
        int64_t query_tokens = 0;
        for (const auto& image : sequence.images()) {
          maps.push_back(image->query_attention);
          query_tokens += image->query_tokens.size(1);
        }
        // A token was chosen at the place before it.
        const at::Tensor attention =
            model.attention_to_prefix(EmbedAll(model, sequence), sequence.prompt_tokens() - 1, query_tokens, pieces);
        if (!attention.defined()) return absl::CancelledError("nobody waits for the relevance");
        relevance = CombineRelevance(blip2::Download(attention), maps);
        if (IsFinite(relevance)) return absl::OkStatus();
        return absl::InternalError("the model's attention is not finite");
      },
      blip2::StatusOfDeviceError));
  return relevance;
}

}  // namespace diptych::language
