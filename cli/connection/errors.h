// Errors as the user reads them.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace diptych::cli {

// The reason of an error of our own: a chart was wanted that there is no program to draw.
inline constexpr char kGnuplotMissing[] = "GNUPLOT_MISSING";

// What to do about it; empty if there is nothing to say.
std::string RemedyFor(const absl::Status& status);

// True if no gateway answered at all.
bool IsUnreachable(const absl::Status& status);

// The exit code for a command that ended with it.
int ExitCodeFor(const absl::Status& status);

// One line on standard error: "diptych: REASON: message. remedy", or a JSON object. `context` says what
// failed, for example which image; may be empty. Returns ExitCodeFor(status).
int ReportError(const absl::Status& status, bool json, const std::string& context = "");

// One line on standard error: that the server is full, and when it will be asked again.
void ReportWait(absl::Duration wait, bool json);

}  // namespace diptych::cli
