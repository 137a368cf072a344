#include "gateway/request_id.h"

#include <random>

#include "absl/strings/str_format.h"

namespace diptych::gateway {

std::string NewRequestId() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return absl::StrFormat("%016x", random());
}

}  // namespace diptych::gateway
