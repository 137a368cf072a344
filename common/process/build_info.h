// The version and the commit of this program.
#pragma once

#include <string_view>

namespace diptych {

// Of the release, for example "0.1.0".
std::string_view Version();

// The commit it was built from, "unknown" outside a repository.
std::string_view Commit();

}  // namespace diptych
