#include "cli/pull/pull.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/connection/errors.h"
#include "cli/pull/cache_writer.h"
#include "cli/pull/download.h"
#include "cli/pull/hub.h"
#include "cli/pull/hub_client.h"
#include "cli/pull/hub_errors.h"
#include "cli/pull/hub_listing.h"
#include "cli/pull/pull_progress.h"
#include "cli/terminal/text.h"
#include "common/models/hub_cache.h"
#include "common/models/model_folder.h"
#include "common/status.h"
#include "common/steady_clock.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostListingBytes = 64 << 20, kMostConfigBytes = 4 << 20;
constexpr int64_t kMostFileBytes = int64_t{1} << 44;
constexpr size_t kMostPulledFiles = 2000;

// The hub's description of one file.
struct HubFile {
  std::string name, etag, url;
  int64_t size = 0;
};

// W/"abc" and "abc" are abc.
std::string EtagOf(const Reply& reply) {
  const std::string linked = reply.Header("x-linked-etag"), own = reply.Header("etag");
  absl::string_view etag = linked.empty() ? own : linked;
  absl::ConsumePrefix(&etag, "W/");
  absl::ConsumePrefix(&etag, "\"");
  absl::ConsumeSuffix(&etag, "\"");
  return std::string(etag);
}

// The error for answers that Hugging Face's hub never gives.
absl::Status FromAMirror(const absl::Status& status) {
  return WithRemedy(MakeError(status.code(), "HUB_FAILED", std::string(status.message())), kMirrorRemedy);
}

// `reply` sends to another server for what the hub itself has to say.
absl::Status SentElsewhere(const std::string& what, const Hub& hub, const Reply& reply) {
  std::string origin = OriginOf(reply.redirect);
  return WithRemedy(MakeError(absl::StatusCode::kFailedPrecondition, "HUB_FAILED",
                              absl::StrCat(hub.endpoint, " sends to ", origin, " for ", what,
                                           " and does not say its size and checksum itself")),
                    absl::StrCat("If the hub has moved there, give HF_ENDPOINT=", origin, "; else try again later."));
}

// An ETag is the name of a file in the cache.
bool IsBlobName(const std::string& etag) {
  constexpr size_t kLongest = 128;
  const auto allowed = [](unsigned char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.'; };
  return !etag.empty() && etag.size() <= kLongest && absl::ascii_isalnum(static_cast<unsigned char>(etag.front())) &&
         std::all_of(etag.begin(), etag.end(), allowed) && !etag.ends_with(".partial");
}

class PullRun {
 public:
  PullRun(const HubName& name, const Hub& hub, const PullOptions& options)
      : name_(name),
        options_(options),
        cache_(HubCache()),
        repository_(RepositoryFolder(cache_, name.repository)),
        client_(hub, options.stopped) {}

  absl::StatusOr<Pulled> Run() {
    const SteadyTime begin = SteadyClock::now();
    DIPTYCH_RETURN_IF_ERROR(List());
    if (IsThere()) {
      absl::Status written = CheckRef(repository_, name_.revision);
      if (written.ok()) written = WriteRef(repository_, name_.revision, listing_.commit);
      if (FindSnapshot(cache_, name_).ok()) return Result(begin);
      DIPTYCH_RETURN_IF_ERROR(written);
    }
    DIPTYCH_RETURN_IF_ERROR(CheckRef(repository_, name_.revision));
    DIPTYCH_RETURN_IF_ERROR(Choose());
    const auto waiting = [this] { options_.say("another pull of it is under way; waiting for that"); };
    DIPTYCH_ASSIGN_OR_RETURN(const auto lock,
                             RepositoryLock::Take(cache_, name_.repository, waiting, options_.stopped));
    if (!IsThere()) DIPTYCH_RETURN_IF_ERROR(Fetch());
    DIPTYCH_RETURN_IF_ERROR(WriteRef(repository_, name_.revision, listing_.commit));
    return Result(begin);
  }

 private:
  fs::path snapshot() const { return repository_ / "snapshots" / listing_.commit; }

  Pulled Result(SteadyTime begin) const {
    return {
        .folder = snapshot().string(), .commit = listing_.commit, .fetched_bytes = fetched_, .time = TimeSince(begin)};
  }

  absl::Status List() {
    DIPTYCH_ASSIGN_OR_RETURN(const Reply reply, client_.Get(RevisionUrl(client_.hub(), name_), kMostListingBytes));
    if (reply.status != kHttpOk) return WhyNot(reply);
    auto listing = ReadListing(reply.body);
    if (!listing.ok()) return FromAMirror(listing.status());
    listing_ = *std::move(listing);
    return absl::OkStatus();
  }

  // The hub's answer for a name that is not a model's, and what it is in place of that.
  absl::Status WhyNot(const Reply& reply) {
    const absl::Status status = ErrorOfReply(reply, client_.hub(), name_, name_.Text());
    if (!absl::IsNotFound(status) || ReasonOf(status) != "MODEL_UNKNOWN") return status;
    for (const std::string kind : {"dataset", "space"}) {
      const std::string url = absl::StrCat(client_.hub().endpoint, "/api/", kind, "s/", name_.repository);
      const auto other = client_.Get(url, kMostListingBytes);
      if (!other.ok() || other->status != kHttpOk) continue;
      return WithRemedy(MakeError(absl::StatusCode::kNotFound, "NOT_A_MODEL",
                                  absl::StrCat(name_.repository, " is a ", kind, " on the hub, not a model")),
                        "Name a BLIP-2 checkpoint, for example Salesforce/blip2-opt-2.7b.");
    }
    const std::string nearest = NearestCachedModel(name_.Text());
    if (nearest.empty()) return status;
    return WithRemedy(MakeError(status.code(), ReasonOf(status), absl::StrCat(status.message(), nearest)),
                      RemedyFor(status));
  }

  // Whether the snapshot holds all that would be pulled.
  bool IsThere() const {
    std::error_code error;
    const std::vector<std::string> files = SmallFilesOf(listing_);
    return CheckComplete(snapshot()).ok() && std::all_of(files.begin(), files.end(), [&](const std::string& file) {
             return fs::is_regular_file(snapshot() / file, error);
           });
  }

  absl::StatusOr<std::string> GetSmall(const std::string& file, size_t max_bytes) {
    const std::string url = FileUrl(client_.hub(), name_.repository, listing_.commit, file);
    DIPTYCH_ASSIGN_OR_RETURN(Reply reply, client_.Get(url, max_bytes));
    if (reply.status != kHttpOk) return ErrorOfReply(reply, client_.hub(), name_, file);
    return std::move(reply.body);
  }

  // Decides what to pull, before anything is written.
  absl::Status Choose() {
    DIPTYCH_RETURN_IF_ERROR(CheckServable(listing_));
    DIPTYCH_ASSIGN_OR_RETURN(const std::string config, GetSmall(kConfigFile, kMostConfigBytes));
    const absl::Status family = CheckServedFamily(config);
    if (!family.ok()) return ReasonOf(family) == "MODEL_FAMILY" ? family : FromAMirror(family);
    files_ = SmallFilesOf(listing_);
    if (Holds(listing_, kWeightsFile)) {
      files_.emplace_back(kWeightsFile);
      return CheckCount();
    }
    DIPTYCH_ASSIGN_OR_RETURN(const std::string index, GetSmall(kWeightsIndex, kMostListingBytes));
    const auto shards = ReadShards(index, listing_);
    if (!shards.ok()) return FromAMirror(shards.status());
    files_.insert(files_.end(), shards->begin(), shards->end());
    return CheckCount();
  }

  absl::Status CheckCount() const {
    return files_.size() <= kMostPulledFiles ? absl::OkStatus()
                                             : FromAMirror(absl::OutOfRangeError("the revision has too many files"));
  }

  absl::StatusOr<HubFile> Describe(const std::string& name) {
    const std::string url = FileUrl(client_.hub(), name_.repository, listing_.commit, name);
    DIPTYCH_ASSIGN_OR_RETURN(const Reply reply, client_.Head(url));
    const bool redirected = reply.status >= 300 && reply.status < 400 && !reply.redirect.empty();
    if (reply.status != kHttpOk && !redirected) return ErrorOfReply(reply, client_.hub(), name_, name);
    HubFile file{.name = name, .etag = EtagOf(reply), .url = url};
    const std::string linked = reply.Header("x-linked-size");
    const std::string size = linked.empty() && !redirected ? reply.Header("content-length") : linked;
    const std::string commit = reply.Header("x-repo-commit");
    const bool sized = absl::SimpleAtoi(size, &file.size) && file.size >= 0 && file.size <= kMostFileBytes;
    const bool checkable = ContentCheck::Names(file.etag) || !name.ends_with(".safetensors");
    if (sized && checkable && IsBlobName(file.etag) && (commit.empty() || commit == listing_.commit)) return file;
    if (redirected && size.empty()) return SentElsewhere(name, client_.hub(), reply);
    return FromAMirror(absl::FailedPreconditionError(
        absl::StrCat("the hub does not say size and checksum of ", name, " at this commit")));
  }

  // Bytes of the disk that fetching it takes, less what an earlier run has taken.
  static int64_t NeededFor(const HubFile& file, const fs::path& partial) {
    struct stat status = {};
    const int64_t taken = lstat(partial.c_str(), &status) == 0 ? status.st_blocks * 512 : 0;
    return std::max<int64_t>(file.size - taken, 0);
  }

  // Opens what is to be fetched; `files` lacks those whose blob is there.
  absl::Status Open(const std::vector<HubFile>& described, std::vector<WantedFile>& files) {
    const fs::path blobs = repository_ / "blobs";
    const auto partial_of = [&blobs](const HubFile& file) { return blobs / (file.etag + ".partial"); };
    std::map<std::string, const HubFile*> missing;  // by their ETag
    std::set<fs::path> begun;
    std::error_code error;
    int64_t needed = 0;
    for (const HubFile& file : described) {
      const fs::path blob = blobs / file.etag;
      if (fs::is_regular_file(blob, error) && fs::file_size(blob, error) == static_cast<size_t>(file.size)) continue;
      if (missing.emplace(file.etag, &file).second) needed += NeededFor(file, partial_of(file));
      begun.insert(partial_of(file));
    }
    RemoveOtherPartialFiles(blobs, begun);
    DIPTYCH_RETURN_IF_ERROR(CheckRoom(blobs, needed));
    for (const auto& [etag, file] : missing) {
      DIPTYCH_ASSIGN_OR_RETURN(auto partial, PartialFile::Open(partial_of(*file), etag, file->size));
      files.push_back({.name = file->name, .url = file->url, .partial = std::move(partial), .path = blobs / etag});
    }
    return absl::OkStatus();
  }

  absl::Status Fetch() {
    std::vector<HubFile> described;
    std::map<std::string, std::string> blob_of_file;
    for (const std::string& name : files_) {
      DIPTYCH_ASSIGN_OR_RETURN(HubFile file, Describe(name));
      blob_of_file[name] = file.etag;
      described.push_back(std::move(file));
    }
    DIPTYCH_RETURN_IF_ERROR(MakeFolder(repository_ / "blobs"));
    std::vector<WantedFile> files;
    DIPTYCH_RETURN_IF_ERROR(Open(described, files));
    DIPTYCH_RETURN_IF_ERROR(FetchAll(files));
    return LinkSnapshot(repository_, listing_.commit, blob_of_file);
  }

  absl::Status FetchAll(std::vector<WantedFile>& files) {
    int64_t total = 0, before = 0;
    for (const WantedFile& file : files) {
      total += file.partial->size();
      before += file.partial->Done();
    }
    options_.say(absl::StrCat("pulling ", name_.Text(), " from ", client_.hub().endpoint, ": ", files.size(),
                              " files, ", FormatBytes(total),
                              before > 0 ? absl::StrCat(", ", FormatBytes(before), " are here already") : "", ", into ",
                              repository_.string()));
    PullProgress progress(total, options_.json, options_.say);
    fetched_ = total - before;
    return Download(client_.hub(), files,
                    {.model = name_,
                     .connections = options_.connections,
                     .stopped = options_.stopped,
                     .say = options_.say,
                     .progress = [&progress](int64_t done) { progress.Show(done); }});
  }

  const HubName name_;
  const PullOptions& options_;
  const fs::path cache_, repository_;
  HubClient client_;
  HubListing listing_;
  std::vector<std::string> files_;
  int64_t fetched_ = 0;
};

}  // namespace

std::string PulledText(const Pulled& pulled) {
  if (pulled.fetched_bytes == 0) return "all of it was here already";
  const double seconds = std::max(absl::ToDoubleSeconds(pulled.time), 1e-3);
  const auto rate = static_cast<int64_t>(static_cast<double>(pulled.fetched_bytes) / seconds);
  return absl::StrCat("pulled ", FormatBytes(pulled.fetched_bytes), " in ", FormatSeconds(seconds), " (",
                      FormatBytes(rate), "/s), each file checked");
}

absl::StatusOr<Pulled> Pull(const HubName& name, const PullOptions& options) {
  static const CURLcode kStarted = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (kStarted != CURLE_OK) return absl::InternalError("libcurl does not start");
  DIPTYCH_ASSIGN_OR_RETURN(const Hub hub, HubFromEnvironment());
  return PullRun(name, hub, options).Run();
}

namespace {

// What is missing here, where the cache holds something of it or it may as well be the path of a folder.
std::string WhyItHadToBePulled(const std::string& model, const HubName& name) {
  std::error_code error;
  if (fs::exists(RepositoryFolder(HubCache(), name.repository), error)) {
    return std::string(FindSnapshot(HubCache(), name).status().message());
  }
  const std::string missing = MissingFolder(model);
  return missing.ends_with('?') || fs::is_directory(fs::path(model).parent_path(), error) ? missing : "";
}

absl::Status WithWhatIsMissing(const absl::Status& status, const std::string& missing, const std::string& model) {
  if (absl::IsCancelled(status) || missing.empty()) return status;
  const char* failed = missing.ends_with('?') ? " Pulling it failed" : ", and pulling it failed";
  return Annotate(status, absl::StrCat(model, ": ", missing, failed));
}

}  // namespace

absl::StatusOr<std::string> FindOrPull(const std::string& model, const PullOptions& options) {
  auto folder = FindModelFolder(model);
  const std::optional<HubName> name = ParseHubName(model);
  std::error_code error;
  if (folder.ok() || !name || fs::exists(model, error)) return folder;
  if (HubIsOffline()) {
    const std::string missing = WhyMissing(model, *name, /*advice=*/"");  // which would be refused as well
    return WithRemedy(MakeError(absl::StatusCode::kFailedPrecondition, "HUB_OFFLINE",
                                absl::StrCat("HF_HUB_OFFLINE does not allow pulling ", missing)),
                      "Unset HF_HUB_OFFLINE, or name a model that is in the cache.");
  }
  const auto pulled = Pull(*name, options);
  if (!pulled.ok()) return WithWhatIsMissing(pulled.status(), WhyItHadToBePulled(model, *name), model);
  options.say(PulledText(*pulled));
  return pulled->folder;
}

}  // namespace diptych::cli
