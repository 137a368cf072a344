// The paths that clients use for the same resource.
#pragma once

#include <string>
#include <string_view>

namespace diptych::gateway {

// The path as routes have it: without doubled or trailing slashes, and with the /v1 that some clients leave out before
// OpenAI's and vLLM's names. /metrics has one spelling alone.
std::string CanonicalPath(std::string_view path);

// The route that was probably meant by a path where there is nothing: its own name behind something else, or another
// server's name of it; empty if none is.
std::string_view MeantPath(std::string_view path);

// Why there is nothing at a path that OpenAI's clients know; empty for any other.
std::string_view WhyNothingAt(std::string_view path);

// A name in a path: %2F becomes a slash.
std::string NameInPath(std::string_view part);

}  // namespace diptych::gateway
