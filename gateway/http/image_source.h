// An image as JSON bodies hold it: text.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::gateway {

// Reads a data: URL, bare base64 or an address into `image`; an address stays one. Base64 may be of either alphabet,
// percent-encoded, without padding, and with white space in it. What a data: URL says of its type has no meaning: the
// bytes tell what they are. INVALID_ARGUMENT naming `field` and quoting nothing.
absl::Status ReadImageSource(std::string source, const std::string& field, v1::Image& image);

}  // namespace diptych::gateway
