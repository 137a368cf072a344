// Arguments as people write them, brought into the one form that the parser reads.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace CLI {
class App;
}

namespace diptych::cli {

// `typed`: without the program's name. In the result
//   - "--max-new-tokens" is "--max_new_tokens", and "plan_capacity" is "plan-capacity";
//   - options of the Common group that stand before the command stand behind it;
//   - each value has its flag: "--image a b", and "--image=a" with "b" bare, are "--image a --image b"; a further value
//     of another list of texts is an image, too, if it names an existing file, an address or standard input.
// Everything behind "--" is bare. INVALID_ARGUMENT, with what was probably meant, for a command or flag that there is
// not, a flag without its value, and a bare argument that nothing takes.
absl::StatusOr<std::vector<std::string>> ArrangeArguments(const CLI::App& root, const std::vector<std::string>& typed);

}  // namespace diptych::cli
