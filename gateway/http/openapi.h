// The description of the HTTP surface: openapi.json, which is part of the binary.
#pragma once

#include <string_view>

namespace diptych::gateway {

// JSON text, an OpenAPI 3.1 document.
std::string_view OpenApiDocument();

}  // namespace diptych::gateway
