#include "vision_service/visual_token_messages.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/slice.h>

#include <array>
#include <memory>
#include <string>

#include "common/grpc/wire.h"

namespace diptych::vision {
namespace {

using google::protobuf::internal::WireFormatLite;
using SharedImage = std::shared_ptr<const VisualTokens>;

v1::EncodeImageResponse Header(const VisualTokens& image, std::string_view model_fingerprint) {
  v1::EncodeImageResponse message;
  v1::VisualTokensHeader& header = *message.mutable_header();
  header.set_model_fingerprint(std::string(model_fingerprint));
  header.set_cut(v1::CUT_VIT);
  header.set_dtype(image.dtype());
  header.set_tokens(image.tokens());
  header.set_width(image.width());
  header.set_image_key(image.image_key());
  header.set_chunk_count(image.chunk_count());
  header.set_pixel_height(image.image_size());
  header.set_pixel_width(image.image_size());
  return message;
}

v1::EncodeImageResponse Trailer(const EncodeResult& result) {
  v1::EncodeImageResponse message;
  v1::VisualTokensTrailer& trailer = *message.mutable_trailer();
  trailer.set_total_bytes(static_cast<int64_t>(result.image->bytes().size()));
  *trailer.mutable_image_decode() = ToProtoDuration(result.timings.image_decode);
  *trailer.mutable_image_resize() = ToProtoDuration(result.timings.image_resize);
  *trailer.mutable_vision_queue() = ToProtoDuration(result.timings.queue);
  *trailer.mutable_vit() = ToProtoDuration(result.timings.vit);
  trailer.set_cache_hit(result.cache_hit);
  return message;
}

// Tag and length of a length-delimited field.
void WriteFieldHead(int number, size_t length, google::protobuf::io::CodedOutputStream& out) {
  out.WriteTag(WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED));
  out.WriteVarint32(static_cast<uint32_t>(length));
}

// All of a chunk's message before the chunk's bytes, which are written last.
std::string ChunkHead(const v1::VisualTokensChunk& chunk_without_data, size_t data_bytes) {
  std::string rest = chunk_without_data.SerializeAsString();
  {
    google::protobuf::io::StringOutputStream stream(&rest);
    google::protobuf::io::CodedOutputStream out(&stream);
    WriteFieldHead(v1::VisualTokensChunk::kDataFieldNumber, data_bytes, out);
  }
  std::string head;
  {
    google::protobuf::io::StringOutputStream stream(&head);
    google::protobuf::io::CodedOutputStream out(&stream);
    WriteFieldHead(v1::EncodeImageResponse::kChunkFieldNumber, rest.size() + data_bytes, out);
  }
  return head + rest;
}

// A slice of the image's buffer that keeps the image alive.
grpc::Slice Borrow(const SharedImage& image, std::string_view data) {
  return grpc::Slice(
      const_cast<char*>(data.data()), data.size(), [](void* owner) { delete static_cast<SharedImage*>(owner); },
      new SharedImage(image));
}

grpc::ByteBuffer Chunk(const SharedImage& image, int index) {
  v1::VisualTokensChunk chunk;
  chunk.set_index(index);
  chunk.set_crc32c(image->ChunkCrc32c(index));
  const std::string_view data = image->Chunk(index);
  const std::array<grpc::Slice, 2> slices = {grpc::Slice(ChunkHead(chunk, data.size())), Borrow(image, data)};
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace

int MessageCount(const EncodeResult& result) {
  return result.image->chunk_count() + 2;
}

grpc::ByteBuffer MessageAt(const EncodeResult& result, std::string_view model_fingerprint, int index) {
  if (index == 0) return SerializeMessage(Header(*result.image, model_fingerprint));
  if (index <= result.image->chunk_count()) return Chunk(result.image, index - 1);
  return SerializeMessage(Trailer(result));
}

}  // namespace diptych::vision
