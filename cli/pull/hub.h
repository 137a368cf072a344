// The hub that models are pulled from, as Hugging Face's variables describe it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/models/hub_name.h"

namespace diptych::cli {

struct Hub {
  std::string endpoint = "https://huggingface.co";  // scheme and host, perhaps a port and a path; no slash at the end
  std::string token = {};                           // of the user; empty: none
  absl::Duration patience = absl::Seconds(10);      // for a connection, and for the next byte

  bool secure() const { return endpoint.starts_with("https://"); }
};

// HF_ENDPOINT; HF_TOKEN, HUGGING_FACE_HUB_TOKEN or the file that `hf auth login` writes, unless
// HF_HUB_DISABLE_IMPLICIT_TOKEN is set; HF_HUB_DOWNLOAD_TIMEOUT in seconds. INVALID_ARGUMENT, which does not repeat a
// token, for what cannot be used.
absl::StatusOr<Hub> HubFromEnvironment();

// Scheme, host and port of an address, in small letters.
std::string OriginOf(const std::string& address);
// Whether the hub's own server answers there. A hub below a path may redirect to what lies next to that path.
bool IsOnHub(const Hub& hub, const std::string& address);

// Addresses of the hub's description of a revision, and of a commit's file.
std::string RevisionUrl(const Hub& hub, const HubName& name);
std::string FileUrl(const Hub& hub, const std::string& repository, const std::string& commit, const std::string& file);

}  // namespace diptych::cli
