#include "gateway/admission/api_key_file.h"

#include <sys/stat.h>

#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/grpc/metadata.h"
#include "common/logging/log.h"
#include "common/process/catch_exceptions.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

constexpr std::chrono::seconds kGlanceAtFile(1);

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::string_view BearerOf(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  const absl::string_view text(authorization.data(), authorization.size());
  if (!absl::StartsWithIgnoreCase(text, absl::string_view(kScheme.data(), kScheme.size()))) return {};
  authorization.remove_prefix(kScheme.size());
  while (!authorization.empty() && authorization.front() == ' ') authorization.remove_prefix(1);
  return IsMetadataValue(authorization) ? authorization : std::string_view();
}

absl::StatusOr<std::unique_ptr<ApiKeyFile>> ApiKeyFile::Open(const std::string& file) {
  auto self = std::unique_ptr<ApiKeyFile>(new ApiKeyFile(file));
  if (const absl::Status read = self->Read(); !read.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--api_keys_file: ", read.message(), "; SECURITY.md shows what the file looks like"));
  }
  self->thread_ = std::thread([raw = self.get()] { raw->Run(); });
  return self;
}

ApiKeyFile::~ApiKeyFile() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
  }
  stop_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<const ApiKeys> ApiKeyFile::keys() const {
  MutexLock lock(mutex_);
  return keys_;
}

ApiKeyFile::Stamp ApiKeyFile::StampOf(const std::string& file) {
  struct stat now = {};
  if (stat(file.c_str(), &now) != 0) return {};
  return {now.st_dev, now.st_ino, now.st_size, Nanoseconds(now.st_mtim), Nanoseconds(now.st_ctim)};
}

absl::Status ApiKeyFile::Read() {
  DIPTYCH_ASSIGN_OR_RETURN(const std::string text, ReadFile(file_, kMaxApiKeyFileBytes));
  auto read = ApiKeys::Parse(text);
  if (!read.ok()) return read.status();
  auto keys = std::make_shared<const ApiKeys>(*std::move(read));
  MutexLock lock(mutex_);
  keys_ = std::move(keys);
  return absl::OkStatus();
}

void ApiKeyFile::Refresh() {
  MutexLock lock(refresh_mutex_);
  const Stamp now = StampOf(file_);
  if (now == stamp_) return fault_.clear();
  const absl::Status read = Read();
  const std::string fault(read.message());
  const bool is_known = std::exchange(fault_, fault) == fault;
  if (!read.ok()) {
    if (!is_known) spdlog::error("the API keys stay as they were: {}", fault);
    return;
  }
  stamp_ = now;
  spdlog::info("the API keys were read again: {} of them", keys()->size());
}

void ApiKeyFile::Run() {
  MutexLock lock(mutex_);
  while (!stopped_) {
    if (stop_.WaitUntil(lock, SteadyClock::now() + kGlanceAtFile)) continue;
    lock.Unlock();
    CatchInThread("the API keys' reader", [this] { Refresh(); });
    lock.Lock();
  }
}

}  // namespace diptych::gateway
