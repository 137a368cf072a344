#include "gateway/admission/api_keys.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text/json_input.h"

namespace diptych::gateway {
namespace {

using nlohmann::json;

constexpr size_t kMaxNameBytes = 64;
constexpr int kMaxValues = 10 * kMaxApiKeys;  // in the file, names included
constexpr int64_t kMaxInflightOfKey = 1'000'000;
constexpr int64_t kMaxTokensPerMinute = 1'000'000'000'000;

absl::Status Fault(const std::string& where, std::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(where, " ", std::string(message)));
}

bool IsName(std::string_view name) {
  const auto plain = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '@'; };
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), plain);
}

absl::Status ReadLimit(const json& value, int64_t most, const std::string& where, int64_t& limit) {
  const bool fits =
      value.is_number_unsigned() && value.get<uint64_t>() >= 1 && value.get<uint64_t>() <= static_cast<uint64_t>(most);
  if (!fits) return Fault(where, absl::StrCat("takes a whole number from 1 to ", most));
  limit = value.get<int64_t>();
  return absl::OkStatus();
}

// `name` is one of the limits' names, or `known` is set to false.
absl::Status ReadLimits(const std::string& name, const json& value, const std::string& where, KeyLimits& limits,
                        bool& known) {
  known = name == "max_inflight" || name == "tokens_per_minute";
  if (!known) return absl::OkStatus();
  const std::string inner = absl::StrCat(where, ", ", name, ",");
  if (name == "tokens_per_minute") return ReadLimit(value, kMaxTokensPerMinute, inner, limits.tokens_per_minute);
  int64_t inflight = 0;
  DIPTYCH_RETURN_IF_ERROR(ReadLimit(value, kMaxInflightOfKey, inner, inflight));
  limits.max_inflight = static_cast<int>(inflight);
  return absl::OkStatus();
}

absl::Status ReadHash(const json& value, const std::string& where, Sha256Digest& hash) {
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  const bool hexadecimal = std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c); });
  if (text.size() != 2 * hash.size() || !hexadecimal) {
    return Fault(
        where,
        "takes the key's SHA-256 (with a salt: that of \"$SALT$KEY\") as 64 hexadecimal digits: printf %s \"$KEY\" | "
        "openssl dgst -sha256 -r");
  }
  const std::string bytes = absl::HexStringToBytes(text);
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return absl::OkStatus();
}

absl::StatusOr<ApiKey> ReadKey(const std::string& name, const json& object, const std::string& where,
                               const KeyLimits& defaults) {
  if (!IsName(name)) return Fault(where, "has a name that is not 1 to 64 letters, digits and -_.@");
  if (!object.is_object()) return Fault(where, "takes an object");
  ApiKey key{.name = name, .limits = defaults};
  for (const auto& [member, value] : object.items()) {
    bool known = member == "sha256";
    if (known) {
      DIPTYCH_RETURN_IF_ERROR(ReadHash(value, absl::StrCat(where, ", sha256,"), key.sha256));
      continue;
    }
    DIPTYCH_RETURN_IF_ERROR(ReadLimits(member, value, where, key.limits, known));
    if (!known) return Fault(where, "takes sha256, max_inflight and tokens_per_minute only");
  }
  if (!object.contains("sha256")) return Fault(where, "has no sha256");
  return key;
}

absl::StatusOr<std::string> ReadSalt(const json& file) {
  const auto found = file.find("salt");
  if (found == file.end()) return "";
  const std::string salt = found->is_string() ? found->get<std::string>() : "";
  const bool plain = std::all_of(salt.begin(), salt.end(), [](unsigned char c) { return std::isalnum(c); });
  if (salt.size() < 8 || salt.size() > 64 || !plain) return Fault("salt", "takes 8 to 64 letters and digits");
  return salt;
}

absl::StatusOr<KeyLimits> ReadDefaults(const json& file) {
  KeyLimits limits;
  const auto found = file.find("defaults");
  if (found == file.end()) return limits;
  if (!found->is_object()) return Fault("defaults", "takes an object");
  for (const auto& [member, value] : found->items()) {
    bool known = false;
    DIPTYCH_RETURN_IF_ERROR(ReadLimits(member, value, "defaults", limits, known));
    if (!known) return Fault("defaults", "takes max_inflight and tokens_per_minute only");
  }
  return limits;
}

// All bytes are looked at, wherever the first difference is.
bool SameDigest(const Sha256Digest& a, const Sha256Digest& b) {
  uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference = static_cast<uint8_t>(difference | (a[i] ^ b[i]));
  return difference == 0;
}

}  // namespace

absl::StatusOr<ApiKeys> ApiKeys::Parse(std::string_view text) {
  auto file = ParseJsonObject(text, "it", {.values = kMaxValues});
  if (!file.ok()) return file.status();
  for (const auto& [member, value] : file->items()) {
    if (member != "salt" && member != "defaults" && member != "keys") {
      return Fault("the file", "takes \"salt\", \"defaults\" and \"keys\" only");
    }
  }
  DIPTYCH_ASSIGN_OR_RETURN(const KeyLimits defaults, ReadDefaults(*file));
  const auto keys = file->find("keys");
  if (keys == file->end() || !keys->is_object() || keys->empty()) return Fault("keys", "names no key");
  if (keys->size() > kMaxApiKeys) return Fault("keys", absl::StrCat("holds more than ", kMaxApiKeys));
  ApiKeys result;
  DIPTYCH_ASSIGN_OR_RETURN(result.salt_, ReadSalt(*file));
  std::set<Sha256Digest> hashes;
  int number = 0;
  for (const auto& [name, object] : keys->items()) {
    // Not by its name: the operator may have written the key there.
    const std::string where = absl::StrCat("key ", ++number, " in alphabetical order");
    DIPTYCH_ASSIGN_OR_RETURN(ApiKey key, ReadKey(name, object, where, defaults));
    if (!hashes.insert(key.sha256).second) return Fault(where, "has the hash of another name");
    result.keys_.push_back(std::make_shared<const ApiKey>(std::move(key)));
  }
  return result;
}

Caller ApiKeys::Find(std::string_view presented) const {
  if (presented.empty() || presented.size() > kMaxApiKeyBytes) return nullptr;
  Sha256 hash;
  hash.Update(salt_);
  hash.Update(presented);
  const Sha256Digest digest = hash.Finish();
  const Caller* found = nullptr;
  for (const Caller& key : keys_) {
    if (SameDigest(key->sha256, digest)) found = &key;
  }
  return found == nullptr ? nullptr : *found;
}

Callers::Callers(std::unique_ptr<ApiKeyFile> file) : file_(std::move(file)) {}

Callers::~Callers() = default;

absl::StatusOr<Caller> Callers::Identify(std::string_view authorization) const {
  if (file_ == nullptr) return nullptr;
  const std::string_view key = BearerOf(authorization);
  if (key.empty()) {
    return MakeError(absl::StatusCode::kUnauthenticated, reason::kInvalidApiKey,
                     "this server asks for an API key: send \"authorization: Bearer KEY\"");
  }
  Caller caller = file_->keys()->Find(key);
  if (caller == nullptr) {
    return MakeError(absl::StatusCode::kUnauthenticated, reason::kInvalidApiKey,
                     "incorrect API key; ask the operator for one, or check that it was copied whole");
  }
  return caller;
}

absl::StatusOr<Caller> Callers::Identify(const grpc::ServerContextBase& context) const {
  const auto& metadata = context.client_metadata();
  const auto [begin, end] = metadata.equal_range("authorization");
  const bool one = begin != end && std::next(begin) == end;
  return Identify(one ? std::string_view(begin->second.data(), begin->second.size()) : std::string_view());
}

int Callers::count() const {
  return file_ == nullptr ? 1 : file_->keys()->size();
}

}  // namespace diptych::gateway
