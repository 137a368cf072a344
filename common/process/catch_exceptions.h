// The one place where exceptions of libtorch and others become a status.
#pragma once

#include <exception>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"

namespace diptych {

// INTERNAL, naming `stage`. The exception's own text goes to the log (its first line), never to a caller.
absl::Status StatusOfException(std::string_view stage, std::string_view what);

// Runs `work`, a function without arguments that returns absl::Status and may throw. `known` (const std::exception& ->
// std::optional<absl::Status>) may have a better status for what it knows.
template <typename Work, typename Known>
absl::Status CatchExceptions(std::string_view stage, Work&& work, const Known& known) {
  try {
    return work();
  } catch (const std::exception& error) {
    const absl::Status general = StatusOfException(stage, error.what());
    return known(error).value_or(general);
  } catch (...) {
    return StatusOfException(stage, "an exception of unknown type");
  }
}

// The same, where nothing better is known.
template <typename Work>
absl::Status CatchExceptions(std::string_view stage, Work&& work) {
  const auto nothing = [](const std::exception&) { return std::optional<absl::Status>(); };
  return CatchExceptions(stage, std::forward<Work>(work), nothing);
}

// Runs one round of a thread's loop, a function without arguments: an exception that left the thread would end the
// process. What it throws goes to the log.
template <typename Work>
void CatchInThread(std::string_view thread, Work&& work) {
  (void)CatchExceptions(thread, [&] {
    work();
    return absl::OkStatus();
  });
}

}  // namespace diptych
