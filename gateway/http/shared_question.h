// One question that is asked several times.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <vector>

#include "diptych/v1/gateway.pb.h"

namespace diptych::gateway {

// Holds the images once, as they are on the wire, for all requests that are made of it. Thread-safe.
class SharedQuestion {
 public:
  // Takes the images out of `question`.
  explicit SharedQuestion(v1::Question& question);

  // The bytes of an AskRequest, or AskStreamRequest, of `question` and the images. They share the images' memory.
  grpc::ByteBuffer RequestOf(v1::Question question) const;

  size_t images_bytes() const { return images_bytes_; }

 private:
  std::vector<grpc::Slice> images_;
  size_t images_bytes_ = 0;
};

}  // namespace diptych::gateway
