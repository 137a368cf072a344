#include "gateway/http/shared_question.h"

#include <utility>

#include "common/grpc/wire.h"

namespace diptych::gateway {
namespace {

std::vector<grpc::Slice> SlicesOf(v1::Question question) {
  v1::AskRequest request;
  *request.mutable_question() = std::move(question);
  std::vector<grpc::Slice> slices;
  (void)SerializeMessage(request).Dump(&slices);
  return slices;
}

}  // namespace

SharedQuestion::SharedQuestion(v1::Question& question) {
  if (question.images().empty()) return;
  v1::Question images;
  images.mutable_images()->Swap(question.mutable_images());
  images_ = SlicesOf(std::move(images));
  for (const grpc::Slice& slice : images_) images_bytes_ += slice.size();
}

// A message that is there twice is one that has been merged: that is what the wire format means.
grpc::ByteBuffer SharedQuestion::RequestOf(v1::Question question) const {
  std::vector<grpc::Slice> slices = SlicesOf(std::move(question));
  slices.insert(slices.end(), images_.begin(), images_.end());
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace diptych::gateway
