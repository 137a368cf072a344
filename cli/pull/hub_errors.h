// Errors of the hub, each one line with its remedy.
#pragma once

#include <curl/curl.h>

#include <string>

#include "absl/status/status.h"
#include "cli/pull/hub.h"

namespace diptych::cli {

struct Reply;

// The hub cannot be reached, or not in a way that is safe.
absl::Status ErrorOfCurl(CURLcode code, const Hub& hub);
// The same of a transfer, where it may be a proxy's fault.
absl::Status ErrorOfTransfer(CURL* curl, CURLcode code, const Hub& hub);
// Whether that was an error that another try may change.
bool IsPassingError(const absl::Status& status);

// Remedy for answers that Hugging Face's hub never gives.
inline constexpr char kMirrorRemedy[] = "If HF_ENDPOINT names a mirror, use another; else try again later.";

// An answer with a status that is no success. `what` is the model, or the file, that was asked for.
absl::Status ErrorOfReply(const Reply& reply, const Hub& hub, const HubName& name, const std::string& what);

}  // namespace diptych::cli
