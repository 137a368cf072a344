#include "vision_service/visual_token_messages.h"

#include <string>

#include "common/hash.h"
#include "common/visual_tokens.h"

namespace diptych {
namespace {

int ChunkCount(const EncodedImage& image) {
  return static_cast<int>((image.bytes.size() + kMaxChunkBytes - 1) / kMaxChunkBytes);
}

void FillHeader(const EncodedImage& image, std::string_view model_fingerprint, v1::VisualTokensHeader& header) {
  header.set_model_fingerprint(std::string(model_fingerprint));
  header.set_cut(v1::CUT_VIT);
  header.set_dtype(image.dtype);
  header.set_tokens(image.tokens);
  header.set_width(image.width);
  header.set_image_key(image.image_key);
  header.set_chunk_count(ChunkCount(image));
  header.set_pixel_height(image.image_size);
  header.set_pixel_width(image.image_size);
}

void FillChunk(const EncodedImage& image, int index, v1::VisualTokensChunk& chunk) {
  const std::string_view data = std::string_view(image.bytes).substr(index * kMaxChunkBytes, kMaxChunkBytes);
  chunk.set_index(index);
  chunk.set_data(std::string(data));
  chunk.set_crc32c(Crc32c(data));
}

void FillTrailer(const EncodedImage& image, v1::VisualTokensTrailer& trailer) {
  trailer.set_total_bytes(static_cast<int64_t>(image.bytes.size()));
  *trailer.mutable_image_decode() = ToProtoDuration(image.timings.image_decode);
  *trailer.mutable_image_resize() = ToProtoDuration(image.timings.image_resize);
  *trailer.mutable_vision_queue() = ToProtoDuration(image.timings.queue);
  *trailer.mutable_vit() = ToProtoDuration(image.timings.vit);
}

}  // namespace

int MessageCount(const EncodedImage& image) {
  return ChunkCount(image) + 2;
}

v1::EncodeImageResponse MessageAt(const EncodedImage& image, std::string_view model_fingerprint, int index) {
  v1::EncodeImageResponse message;
  if (index == 0) {
    FillHeader(image, model_fingerprint, *message.mutable_header());
  } else if (index <= ChunkCount(image)) {
    FillChunk(image, index - 1, *message.mutable_chunk());
  } else {
    FillTrailer(image, *message.mutable_trailer());
  }
  return message;
}

}  // namespace diptych
