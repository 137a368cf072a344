#include "language_service/images/visual_tokens_receiver.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/status.h"
#include "common/tiers/visual_tokens.h"

namespace diptych::language {
namespace {

// True if no number has all the exponent bits of its type, as infinities and NaN do.
template <typename Bits>
bool AllFinite(std::string_view bytes, Bits exponent) {
  for (size_t at = 0; at + sizeof(Bits) <= bytes.size(); at += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + at, sizeof(bits));
    if ((bits & exponent) == exponent) return false;
  }
  return true;
}

bool AllFinite(const VisualTokens& tokens) {
  static_assert(std::endian::native == std::endian::little, "tensors are streamed as they lie in memory");
  switch (tokens.dtype) {
    case v1::NUMBER_TYPE_FLOAT32:
      return AllFinite<uint32_t>(tokens.bytes, 0x7F80'0000);
    case v1::NUMBER_TYPE_BFLOAT16:
      return AllFinite<uint16_t>(tokens.bytes, 0x7F80);
    case v1::NUMBER_TYPE_FLOAT16:
      return AllFinite<uint16_t>(tokens.bytes, 0x7C00);
    case v1::NUMBER_TYPE_INT8:
      return true;  // if the scales are
    default:
      return false;
  }
}

// One of a column of bytes: none of its numbers, 128 scales at most, is infinite.
bool IsScale(float scale) {
  return scale >= 0 && scale <= std::numeric_limits<float>::max() / 128;
}

bool HasGoodScales(const VisualTokens& tokens) {
  if (tokens.dtype != v1::NUMBER_TYPE_INT8) return true;
  for (int column = 0; column < tokens.width; ++column) {
    float scale = 0;
    std::memcpy(&scale, tokens.bytes.data() + column * sizeof(scale), sizeof(scale));
    if (!IsScale(scale)) return false;
  }
  return true;
}

// The time that a peer claims, kept inside an hour so that sums cannot overflow.
SteadyDuration Bounded(const google::protobuf::Duration& duration) {
  google::protobuf::Duration bounded;
  bounded.set_seconds(std::clamp<int64_t>(duration.seconds(), 0, 3600));
  bounded.set_nanos(std::clamp<int32_t>(duration.nanos(), 0, 999'999'999));
  return FromProtoDuration(bounded);
}

}  // namespace

int64_t BytesForVisualTokens(const ExpectedTokens& expected) {
  return std::max(StreamedBytes(v1::NUMBER_TYPE_FLOAT32, expected.tokens, expected.width),
                  StreamedBytes(v1::NUMBER_TYPE_INT8, expected.tokens, expected.width));
}

absl::Status VisualTokensReceiver::Broken(TokenFault fault, std::string_view what) {
  fault_ = fault;
  return MakeError(absl::StatusCode::kInternal, reason::kTierProtocol,
                   absl::StrCat("the vision tier sent ", absl::string_view(what.data(), what.size())));
}

absl::Status VisualTokensReceiver::Accept(const v1::EncodeImageResponse& message) {
  switch (message.part_case()) {
    case v1::EncodeImageResponse::kHeader:
      return AcceptHeader(message.header());
    case v1::EncodeImageResponse::kChunk:
      return AcceptChunk(message.chunk());
    case v1::EncodeImageResponse::kTrailer:
      return AcceptTrailer(message.trailer());
    default:
      return Broken(TokenFault::kOrder, "an empty message");
  }
}

absl::Status VisualTokensReceiver::AcceptHeader(const v1::VisualTokensHeader& header) {
  if (next_ != Next::kHeader) return Broken(TokenFault::kOrder, "a second header");
  if (header.model_fingerprint() != expected_.model_fingerprint) {
    fault_ = TokenFault::kModel;
    return MakeError(absl::StatusCode::kFailedPrecondition, reason::kModelMismatch,
                     "the vision tier serves another model than the language tier");
  }
  if (header.cut() != v1::CUT_VIT) return Broken(TokenFault::kShape, "another tensor than was asked for");
  const int64_t total_bytes = StreamedBytes(header.dtype(), expected_.tokens, expected_.width);
  if (total_bytes == 0) return Broken(TokenFault::kDType, "numbers of an unknown type");
  if (header.dtype() == v1::NUMBER_TYPE_INT8 && asked_ != v1::NUMBER_TYPE_INT8) {
    return Broken(TokenFault::kDType, "rounded numbers that were not asked for");
  }
  if (header.tokens() != expected_.tokens || header.width() != expected_.width) {
    return Broken(TokenFault::kShape, absl::StrCat("a header for [", header.tokens(), ", ", header.width(), "] where [",
                                                   expected_.tokens, ", ", expected_.width, "] was expected"));
  }
  if (header.pixel_height() != expected_.image_size || header.pixel_width() != expected_.image_size) {
    return Broken(TokenFault::kShape, "tokens of another resolution");
  }
  if (header.image_key() != expected_.image_key) return Broken(TokenFault::kImage, "tokens of another image");
  tokens_.dtype = header.dtype();
  tokens_.tokens = expected_.tokens;
  tokens_.width = expected_.width;
  total_bytes_ = static_cast<size_t>(total_bytes);
  tokens_.bytes.reserve(total_bytes_);
  chunk_count_ = header.chunk_count();
  next_ = Next::kChunk;
  return absl::OkStatus();
}

absl::Status VisualTokensReceiver::AcceptChunk(const v1::VisualTokensChunk& chunk) {
  if (next_ != Next::kChunk) return Broken(TokenFault::kOrder, "a chunk out of place");
  if (chunk.index() != chunks_seen_) return Broken(TokenFault::kOrder, "chunks out of order");
  if (chunk.data().empty() || chunk.data().size() > kMaxChunkBytes)
    return Broken(TokenFault::kSize, "a chunk of a forbidden size");
  if (chunk.data().size() > total_bytes_ - tokens_.bytes.size())
    return Broken(TokenFault::kSize, "more bytes than the tensor has");
  if (Crc32c(chunk.data()) != chunk.crc32c())
    return Broken(TokenFault::kChecksum, "a chunk whose checksum does not fit");
  tokens_.bytes += chunk.data();
  ++chunks_seen_;
  return absl::OkStatus();
}

absl::Status VisualTokensReceiver::AcceptTrailer(const v1::VisualTokensTrailer& trailer) {
  if (next_ != Next::kChunk) return Broken(TokenFault::kOrder, "a trailer out of place");
  if (tokens_.bytes.size() != total_bytes_ || chunks_seen_ != chunk_count_)
    return Broken(TokenFault::kSize, "too few chunks");
  if (trailer.total_bytes() != static_cast<int64_t>(total_bytes_))
    return Broken(TokenFault::kSize, "a total that does not fit");
  tokens_.timings = {.image_decode = Bounded(trailer.image_decode()),
                     .image_resize = Bounded(trailer.image_resize()),
                     .queue = Bounded(trailer.vision_queue()),
                     .vit = Bounded(trailer.vit()),
                     .cache_hit = trailer.cache_hit()};
  next_ = Next::kEnd;
  return absl::OkStatus();
}

absl::StatusOr<VisualTokens> VisualTokensReceiver::Finish() {
  if (next_ != Next::kEnd) return Broken(TokenFault::kOrder, "a stream without its end");
  if (!HasGoodScales(tokens_)) return Broken(TokenFault::kScale, "a scale that is negative, too large or no number");
  if (!AllFinite(tokens_)) return Broken(TokenFault::kNotFinite, "a number that is not finite");
  return std::move(tokens_);
}

}  // namespace diptych::language
