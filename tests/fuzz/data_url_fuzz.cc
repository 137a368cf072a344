// Any text as an image in a JSON body, and what it holds as an image. It must be an address or bytes, no more of them
// than the text has, and a refusal must be one printable line that quotes nothing.
#include <cstddef>
#include <cstdint>
#include <string>

#include "common/images/image_header.h"
#include "diptych/v1/inference.pb.h"
#include "gateway/http/image_source.h"
#include "tests/fuzz/checks.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::data_url {
DIPTYCH_FUZZ_TARGET(data_url) {
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

}  // namespace diptych::fuzz::data_url
