#include "common/requests/question_limits.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/grpc/metadata.h"
#include "common/status.h"
#include "common/text/white_space.h"

namespace diptych {
namespace {

absl::string_view ToAbsl(std::string_view s) {
  return absl::string_view(s.data(), s.size());
}

// "path.name"; just the name in a message's outermost level.
std::string Join(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : absl::StrCat(ToAbsl(path), ".", ToAbsl(name));
}

// Names the field and says what it takes.
absl::Status OutOfRange(std::string_view path, std::string_view name, std::string_view takes) {
  return InvalidField(reason::kOptionRange, Join(path, name), absl::StrCat(ToAbsl(name), " takes ", ToAbsl(takes)));
}

// Adds the value that `message` has in the field, one that is no list.
absl::Status NamingValue(const absl::Status& status, const google::protobuf::Message& message) {
  if (ReasonOf(status) != reason::kOptionRange) return status;
  const std::string path = FieldOf(status);
  const auto* field = message.GetDescriptor()->FindFieldByName(path.substr(path.rfind('.') + 1));
  if (field == nullptr || field->is_repeated()) return status;
  std::string value;
  google::protobuf::TextFormat::PrintFieldValueToString(message, field, -1, &value);
  return InvalidField(reason::kOptionRange, path, absl::StrCat(status.message(), ", not ", value));
}

// As few digits as tell the number from its neighbours.
std::string Shortest(float number) {
  char text[32];
  return {text, std::to_chars(std::begin(text), std::end(text), number).ptr};
}

absl::Status BadForm(std::string_view field, std::string_view message) {
  return InvalidField(reason::kQuestionForm, field, message);
}

absl::Status CheckStopStrings(const v1::GenerationOptions& options, std::string_view path) {
  if (options.stop_size() > kMaxStopStrings) {
    return OutOfRange(path, "stop", absl::StrCat("at most ", kMaxStopStrings, " strings, not ", options.stop_size()));
  }
  for (const std::string& stop : options.stop()) {
    if (stop.empty() || stop.size() > kMaxStopStringBytes) {
      return OutOfRange(path, "stop",
                        absl::StrCat("strings of 1 to ", kMaxStopStringBytes, " bytes, not of ", stop.size()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPenalties(const v1::GenerationOptions& options, std::string_view path) {
  const auto is_penalty = [](double value) { return value >= -2 && value <= 2; };
  if (options.has_repetition_penalty() && !(options.repetition_penalty() > 0 && options.repetition_penalty() <= 100)) {
    return OutOfRange(path, "repetition_penalty", "more than 0, at most 100");
  }
  if (!is_penalty(options.presence_penalty())) return OutOfRange(path, "presence_penalty", "-2 to 2");
  if (!is_penalty(options.frequency_penalty())) return OutOfRange(path, "frequency_penalty", "-2 to 2");
  if (options.logit_bias_size() > kMaxLogitBiases) {
    return OutOfRange(path, "logit_bias",
                      absl::StrCat("at most ", kMaxLogitBiases, " token ids, not ", options.logit_bias_size()));
  }
  for (const auto& [id, bias] : options.logit_bias()) {
    if (id < 0) return OutOfRange(path, "logit_bias", absl::StrCat("token ids of 0 and more, not ", id));
    if (!(bias >= -100 && bias <= 100)) {
      return OutOfRange(path, "logit_bias", absl::StrCat("values of -100 to 100, not ", Shortest(bias)));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckStopTokens(const v1::GenerationOptions& options, std::string_view path) {
  const auto& ids = options.stop_token_ids();
  if (ids.size() > kMaxStopTokens) {
    return OutOfRange(path, "stop_token_ids", absl::StrCat("at most ", kMaxStopTokens, " token ids, not ", ids.size()));
  }
  const auto negative = std::find_if(ids.begin(), ids.end(), [](int32_t id) { return id < 0; });
  if (negative == ids.end()) return absl::OkStatus();
  return OutOfRange(path, "stop_token_ids", absl::StrCat("token ids of 0 and more, not ", *negative));
}

// Checks that the turns name all of the question's images, or none.
absl::Status CheckImagesOfTurns(const v1::Question& question, const std::string& turns) {
  int64_t named = 0;
  for (int i = 0; i < question.turns_size(); ++i) {
    const v1::Turn& turn = question.turns(i);
    if (turn.images() < 0 || (turn.images() > 0 && turn.role() != v1::ROLE_USER)) {
      return BadForm(absl::StrCat(turns, "[", i, "].images"), "images come with the user's turns");
    }
    named += turn.images();
  }
  if (named == 0 || named == question.images_size()) return absl::OkStatus();
  return BadForm(turns, "the turns name all images together, or none");
}

absl::Status CheckTurns(const v1::Question& question, std::string_view path) {
  const std::string turns = Join(path, "turns");
  if (question.turns_size() > kMaxTurns) {
    return OutOfRange(path, "turns", absl::StrCat("at most ", kMaxTurns, "; there are ", question.turns_size()));
  }
  int64_t bytes = 0;
  for (int i = 0; i < question.turns_size(); ++i) {
    const v1::Turn& turn = question.turns(i);
    const v1::Role expected = i % 2 == 0 ? v1::ROLE_USER : v1::ROLE_ASSISTANT;
    if (turn.role() != expected) {
      return BadForm(absl::StrCat(turns, "[", i, "].role"),
                     "turns alternate between user and assistant, and the user begins");
    }
    if (expected == v1::ROLE_USER && IsBlank(turn.text()) && question.images().empty()) {
      return BadForm(absl::StrCat(turns, "[", i, "].text"), "the user's turn is empty");
    }
    bytes += static_cast<int64_t>(turn.text().size());
  }
  if (question.turns_size() % 2 == 0) return BadForm(turns, "the last turn must be the user's");
  if (bytes > kMaxTextBytes) {
    // Clients that cut a prompt and ask again know by these words that they have to; see Prompt's own error.
    return OutOfRange(
        path, "turns",
        absl::StrCat("at most ", kMaxTextBytes, " bytes of text; there are ", bytes, ": the prompt is too long"));
  }
  return CheckImagesOfTurns(question, turns);
}

absl::Status CheckRequestId(const std::string& id) {
  if (IsRequestId(id)) return absl::OkStatus();
  return OutOfRange(
      "question", "request_id",
      absl::StrCat("at most ", kMaxRequestIdBytes, " printable ASCII characters; there are ", id.size(), " bytes"));
}

absl::Status CheckRelevance(const v1::Question& question) {
  const auto only_false = [](std::string_view where) {
    return OutOfRange("question", "return_relevance", absl::StrCat("only false ", ToAbsl(where)));
  };
  if (!question.return_relevance()) return absl::OkStatus();
  if (question.images().empty()) return only_false("without an image");
  if (question.generation().num_beams() > 1) return only_false("with num_beams over 1");
  if (question.generation().best_of() > 1) return only_false("with best_of over 1");
  if (question.image_options().token_merging() > 0) return only_false("with token_merging");
  return absl::OkStatus();
}

}  // namespace

bool IsRequestId(std::string_view id) {
  return id.size() <= kMaxRequestIdBytes && IsMetadataValue(id);
}

absl::Status CheckQuestion(const v1::Question& question, const QuestionLimits& limits) {
  DIPTYCH_RETURN_IF_ERROR(CheckRequestId(question.request_id()));
  if (question.model().size() > kMaxModelNameBytes) {
    return OutOfRange("question", "model",
                      absl::StrCat("at most ", kMaxModelNameBytes, " bytes; there are ", question.model().size()));
  }
  DIPTYCH_RETURN_IF_ERROR(CheckText(question, "question"));
  DIPTYCH_RETURN_IF_ERROR(CheckGenerationOptions(question.generation(), "question.generation"));
  DIPTYCH_RETURN_IF_ERROR(CheckImageOptions(question.image_options(), "question.image_options"));
  DIPTYCH_RETURN_IF_ERROR(CheckRelevance(question));
  return CheckImages(question, limits);
}

namespace {

// Comparisons are written so that NaN fails them.
absl::Status CheckRanges(const v1::GenerationOptions& options, std::string_view path) {
  const int least = options.has_prompt_logprobs() ? 0 : 1;
  if (options.has_max_new_tokens() && options.max_new_tokens() < least) {
    return OutOfRange(path, "max_new_tokens", absl::StrCat(least, " or more"));
  }
  if (options.min_new_tokens() < 0) return OutOfRange(path, "min_new_tokens", "0 or more");
  if (options.has_max_new_tokens() && options.min_new_tokens() > options.max_new_tokens()) {
    return OutOfRange(path, "min_new_tokens", "at most max_new_tokens");
  }
  if (!(options.temperature() >= 0 && options.temperature() <= 100)) return OutOfRange(path, "temperature", "0 to 100");
  if (options.top_k() < 0) return OutOfRange(path, "top_k", "0 or more");
  if (options.has_top_p() && !(options.top_p() > 0 && options.top_p() <= 1)) {
    return OutOfRange(path, "top_p", "more than 0, at most 1");
  }
  if (!(options.min_p() >= 0 && options.min_p() <= 1)) return OutOfRange(path, "min_p", "0 to 1");
  DIPTYCH_RETURN_IF_ERROR(CheckPenalties(options, path));
  if (options.has_best_of() && (options.best_of() < 1 || options.best_of() > kMaxBestOf)) {
    return OutOfRange(path, "best_of", absl::StrCat("1 to ", kMaxBestOf));
  }
  if (options.has_num_beams() && (options.num_beams() < 1 || options.num_beams() > kMaxBeams)) {
    return OutOfRange(path, "num_beams", absl::StrCat("1 to ", kMaxBeams));
  }
  if (options.num_beams() > 1 && options.temperature() > 0) {
    return OutOfRange(path, "num_beams", "1 with a temperature over 0");
  }
  if (!(options.length_penalty() >= -10 && options.length_penalty() <= 10)) {
    return OutOfRange(path, "length_penalty", "-10 to 10");
  }
  if (options.logprobs() < 0 || options.logprobs() > kMaxLogprobs) {
    return OutOfRange(path, "logprobs", absl::StrCat("0 to ", kMaxLogprobs));
  }
  if (options.prompt_logprobs() < 0 || options.prompt_logprobs() > kMaxLogprobs) {
    return OutOfRange(path, "prompt_logprobs", absl::StrCat("0 to ", kMaxLogprobs));
  }
  DIPTYCH_RETURN_IF_ERROR(CheckStopTokens(options, path));
  return CheckStopStrings(options, path);
}

absl::Status CheckRanges(const v1::ImageOptions& options, std::string_view path) {
  if (options.has_image_size() && (options.image_size() < 1 || options.image_size() > kMaxImageSize)) {
    return OutOfRange(path, "image_size", absl::StrCat("a multiple of the patch size, at most ", kMaxImageSize));
  }
  const int max_side = options.max_side();
  if (max_side != 0 && (max_side < 2 || max_side > 8192)) return OutOfRange(path, "max_side", "0, or 2 to 8192");
  if (!(options.token_merging() >= 0 && options.token_merging() <= 0.5)) {
    return OutOfRange(path, "token_merging", "0 to 0.5");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckGenerationOptions(const v1::GenerationOptions& options, std::string_view path) {
  return NamingValue(CheckRanges(options, path), options);
}

absl::Status CheckImageOptions(const v1::ImageOptions& options, std::string_view path) {
  return NamingValue(CheckRanges(options, path), options);
}

absl::Status CheckText(const v1::Question& question, std::string_view path) {
  const int ids = question.prompt_token_ids_size();
  const int given = (question.turns_size() > 0 ? 1 : 0) + (question.prompt().empty() ? 0 : 1) + (ids > 0 ? 1 : 0);
  if (given > 1) return BadForm(Join(path, "prompt"), "set one of turns, prompt and prompt_token_ids");
  if (question.turns_size() > 0) return CheckTurns(question, path);
  if (ids > kMaxPromptTokenIds) {
    return OutOfRange(path, "prompt_token_ids", absl::StrCat("at most ", kMaxPromptTokenIds, "; there are ", ids));
  }
  if (ids > 0) return absl::OkStatus();
  if (question.prompt().empty() && question.images_size() == 0) {
    return BadForm(path, "there is neither an image nor a text");
  }
  if (question.prompt().size() > kMaxTextBytes) {
    return OutOfRange(path, "prompt",
                      absl::StrCat("at most ", kMaxTextBytes, " bytes; there are ", question.prompt().size()));
  }
  return absl::OkStatus();
}

namespace {

// Where no images are fetched; others than https addresses are nowhere.
absl::Status AddressRefused(const std::string& address, std::string_view field) {
  return InvalidField(reason::kImageUrlRefused, field,
                      absl::StartsWithIgnoreCase(address, "https:")
                          ? "this server takes images as bytes, not by address: send the image itself, or have the "
                            "operator set --allow_image_urls"
                          : "only https addresses could be fetched, and this is none: send the image itself");
}

}  // namespace

absl::Status CheckImages(const v1::Question& question, const QuestionLimits& limits) {
  if (question.images_size() > kMaxImages) {
    return InvalidField(reason::kTooManyImages, "question.images",
                        absl::StrCat(question.images_size(), " images; at most ", kMaxImages, " are allowed"));
  }
  int64_t total_bytes = 0;
  for (int i = 0; i < question.images_size(); ++i) {
    const v1::Image& image = question.images(i);
    const std::string field = absl::StrCat("question.images[", i, "]");
    if (image.has_url()) return AddressRefused(image.url(), field);
    const auto header = CheckImage(image.data(), limits.image);
    if (!header.ok()) return InvalidField(ReasonOf(header.status()), field, std::string(header.status().message()));
    total_bytes += static_cast<int64_t>(image.data().size());
  }
  if (total_bytes > limits.MaxTotalImageBytes()) {
    return InvalidField(reason::kImageTooLarge, "question.images",
                        absl::StrCat("the images have ", total_bytes, " bytes together; at most ",
                                     limits.MaxTotalImageBytes(), " are allowed"));
  }
  return absl::OkStatus();
}

}  // namespace diptych
