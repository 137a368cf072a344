// Any text as an image in a JSON body, and what it holds as an image. It must be an address or bytes, no more of them
// than the text has, and a refusal must be one printable line that quotes nothing.
#include <cstddef>
#include <cstdint>
#include <string>

#include "common/images/image_header.h"
#include "diptych/v1/inference.pb.h"
#include "gateway/http/image_source.h"
#include "tests/fuzz/checks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using diptych::fuzz::Require;
  diptych::v1::Image image;
  const std::string text(diptych::fuzz::TextOf(data, size));
  const absl::Status status = diptych::gateway::ReadImageSource(text, "image", image);
  if (!status.ok()) {
    Require(status.code() == absl::StatusCode::kInvalidArgument);
    diptych::fuzz::RequirePrintable(status);
    Require(status.message().size() < 120);
    return 0;
  }
  Require(image.has_url() != image.has_data());
  Require(image.url().size() + image.data().size() <= size);
  if (image.has_data()) (void)diptych::CheckImage(image.data(), {});
  return 0;
}
