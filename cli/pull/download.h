// Files from the hub onto the disk: several files, and several ranges of one, at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/pull/hub.h"
#include "cli/pull/partial_file.h"

namespace diptych::cli {

struct WantedFile {
  std::string name;  // for messages
  std::string url;   // may redirect
  std::unique_ptr<PartialFile> partial;
  std::filesystem::path path;  // what it becomes
  int restarts = 0;            // because the server does not know ranges
};

struct DownloadOptions {
  HubName model;
  int connections = 8;
  std::function<bool()> stopped = [] { return false; };
  // Gets a line where a person would wonder why nothing happens.
  std::function<void(const std::string&)> say = [](const std::string&) {};
  // Told often how many bytes of all files are there.
  std::function<void(int64_t)> progress = [](int64_t) {};
};

// Fetches what the files lack, checks each and puts it in its place. On an error what is there stays for the next time,
// apart from a file with a wrong checksum. An error has a remedy; CANCELLED if `stopped` says so.
absl::Status Download(const Hub& hub, std::vector<WantedFile>& files, const DownloadOptions& options);

}  // namespace diptych::cli
