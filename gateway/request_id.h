// Ids for requests that came without one.
#pragma once

#include <string>

namespace diptych::gateway {

// 16 hexadecimal digits. Thread-safe.
std::string NewRequestId();

}  // namespace diptych::gateway
