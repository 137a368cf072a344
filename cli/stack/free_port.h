// Finds ports that are not in use.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace diptych::cli {

// `asked` if it is not 0: then FAILED_PRECONDITION, naming `flag`, if it is taken. Else `preferred` (0: any), or, if
// that is taken, any free one, which is reported to `say` (may be null). INVALID_ARGUMENT if `host` is no IPv4 address.
absl::StatusOr<int> ChoosePort(const std::string& host, int asked, int preferred, const std::string& flag,
                               const std::function<void(const std::string&)>& say);

// Whether the port is not in use. `address`: "IPv4:port".
bool IsFree(const std::string& address);

}  // namespace diptych::cli
