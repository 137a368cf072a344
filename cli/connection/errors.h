// Errors as the user reads them.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace diptych::cli {

// The reason of an error of our own: a chart was wanted that there is no program to draw.
inline constexpr char kGnuplotMissing[] = "GNUPLOT_MISSING";

// The same error with its remedy, where the reason alone does not tell it.
absl::Status WithRemedy(absl::Status status, std::string_view remedy);

// INVALID_ARGUMENT for a command line that cannot be done, where only the command's work shows it: ReportError reports
// it as ReportUsage does.
absl::Status UsageError(std::string_view message);

// The remedy; empty if there is none.
std::string RemedyFor(const absl::Status& status);

// True if no gateway answered at all.
bool IsUnreachable(const absl::Status& status);

// The exit code for a command that ended with it; kInterrupted after Ctrl-C.
int ExitCodeFor(const absl::Status& status);

// One line on standard error: "diptych: REASON: message. remedy", or a JSON object. `context` says what
// failed, for example which image; may be empty. After Ctrl-C only that is said, once. Returns ExitCodeFor(status).
int ReportError(const absl::Status& status, bool json, const std::string& context = "");

// One line on standard error, the first time, that Ctrl-C ended the command; `done`, which may be empty, is how far it
// got. Returns kInterrupted.
int ReportInterrupt(bool json, const std::string& done = "");

// One line on standard error: a command line that cannot be done. Returns kUsage.
int ReportUsage(const absl::Status& status, bool json);

// One line on standard error that is no error.
void ReportNote(const std::string& note, bool json);

// One line on standard error: that the server is full, and when it will be asked again.
void ReportWait(absl::Duration wait, bool json);

}  // namespace diptych::cli
