// Percent-encoding, as URLs have it.
#pragma once

#include <string>

namespace diptych::gateway {

// Decodes %41 in place; what is no such escape stays as it is.
void DecodePercent(std::string& text);

}  // namespace diptych::gateway
