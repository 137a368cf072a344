// The folder of the servers' logs.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace diptych::cli {

// A folder that no other stack writes its logs into while this lives.
class LogFolder {
 public:
  // `wanted`, or, while another stack has that, `wanted`-2, `wanted`-3 and so on. If it is empty a temporary folder,
  // which ends with this object. FAILED_PRECONDITION if it cannot be made.
  static absl::StatusOr<std::unique_ptr<LogFolder>> Claim(const std::string& wanted);
  ~LogFolder();
  LogFolder(const LogFolder&) = delete;
  LogFolder& operator=(const LogFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  LogFolder(std::string path, bool temporary, int lock) : path_(std::move(path)), temporary_(temporary), lock_(lock) {}

  const std::string path_;
  const bool temporary_;
  const int lock_;
};

}  // namespace diptych::cli
