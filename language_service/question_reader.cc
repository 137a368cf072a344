#include "language_service/question_reader.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "blip2/token_merging.h"
#include "common/requests/image_preparation.h"
#include "common/requests/question_limits.h"
#include "common/status.h"
#include "common/text/white_space.h"
#include "language_service/engine/relevance.h"

namespace diptych::language {
namespace {

uint64_t RandomBits() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

absl::Status CheckModel(const v1::Question& question, const ServedLanguageModel& model) {
  if (question.model().empty() || question.model() == model.description.name()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kNotFound, reason::kModelUnknown,
                   absl::StrCat("this server serves ", model.description.name()));
}

blip2::GenerationOptions ReadOptions(const v1::GenerationOptions& options, const blip2::Config& config) {
  blip2::GenerationOptions read;
  read.max_new_tokens = options.has_max_new_tokens() ? options.max_new_tokens() : config.default_max_new_tokens;
  if (options.has_min_new_tokens()) read.min_new_tokens = options.min_new_tokens();
  if (options.has_temperature()) read.temperature = options.temperature();
  if (options.has_top_k()) read.top_k = options.top_k();
  if (options.has_top_p()) read.top_p = options.top_p();
  if (options.has_repetition_penalty()) read.repetition_penalty = options.repetition_penalty();
  if (options.has_num_beams()) read.num_beams = options.num_beams();
  if (options.has_length_penalty()) read.length_penalty = options.length_penalty();
  if (options.has_logprobs()) read.logprobs = options.logprobs();
  read.presence_penalty = options.presence_penalty();
  read.frequency_penalty = options.frequency_penalty();
  read.logit_bias.insert(options.logit_bias().begin(), options.logit_bias().end());
  read.min_p = options.min_p();
  read.ignore_eos = options.ignore_eos();
  read.stop_token_ids.assign(options.stop_token_ids().begin(), options.stop_token_ids().end());
  if (options.has_prompt_logprobs()) read.prompt_logprobs = options.prompt_logprobs();
  read.seed = options.has_seed() ? options.seed() : RandomBits();
  read.stop.assign(options.stop().begin(), options.stop().end());
  return read;
}

// blip2 names fields from "generation" on.
absl::Status CheckOptions(const blip2::GenerationOptions& options, const blip2::Config& config) {
  absl::Status status = blip2::ValidateOptions(options);
  if (status.ok()) status = blip2::ValidateTokenIds(options, config.text.vocab_size);
  if (status.ok()) return status;
  return InvalidField(ReasonOf(status), absl::StrCat("question.", FieldOf(status)), std::string(status.message()));
}

std::vector<blip2::Turn> ReadTurns(const google::protobuf::RepeatedPtrField<v1::Turn>& turns) {
  std::vector<blip2::Turn> read;
  for (const v1::Turn& turn : turns) read.push_back({turn.role() == v1::ROLE_USER, turn.text(), turn.images()});
  return read;
}

// The last turn alone; none if there is none.
std::vector<blip2::Turn> Tail(const std::vector<blip2::Turn>& turns) {
  if (turns.empty()) return {};
  return {turns.back()};
}

// The same model with a window that nothing is dropped from.
blip2::Config WithoutWindow(blip2::Config config) {
  config.text.max_position_embeddings = std::numeric_limits<int32_t>::max();
  return config;
}

// The prompt; its budget's reserved_output becomes max_new_tokens.
absl::StatusOr<blip2::Prompt> ReadPrompt(const v1::Question& question, const ServedLanguageModel& model,
                                         blip2::GenerationOptions& options) {
  DIPTYCH_ASSIGN_OR_RETURN(
      blip2::Prompt prompt,
      blip2::BuildPrompt({.images = question.images_size(),
                          .text = question.prompt(),
                          .turns = ReadTurns(question.turns()),
                          .ids = {question.prompt_token_ids().begin(), question.prompt_token_ids().end()},
                          .max_new_tokens = options.max_new_tokens,
                          .cut_max_new_tokens = question.generation().cut_max_new_tokens()},
                         model.config, *model.tokenizer));
  options.max_new_tokens = prompt.budget.reserved_output;
  options.min_new_tokens = std::min(options.min_new_tokens, options.max_new_tokens);
  return prompt;
}

// Answers that differ are only drawn with a temperature.
int ReadBestOf(const v1::GenerationOptions& options) {
  return options.temperature() > 0 ? std::max(options.best_of(), 1) : 1;
}

// The tokens of an answer that was begun, which fit the options. Beams have no one past, and of several answers none
// was shown.
absl::StatusOr<std::vector<int64_t>> ReadBegun(const v1::GenerateRequest& request, const GenerateInput& input,
                                               const blip2::Config& config) {
  const auto& ids = request.begun_token_ids();
  const auto refuse = [](const char* why) {
    return InvalidField(reason::kOptionRange, "begun_token_ids", absl::StrCat("begun_token_ids: ", why));
  };
  if (ids.empty()) return std::vector<int64_t>();
  if (input.options.num_beams > 1 || input.best_of > 1) return refuse("none with num_beams or best_of over 1");
  const bool seeded = request.question().generation().has_seed();
  if (input.options.temperature > 0 && !seeded) return refuse("sampled tokens only together with their seed");
  if (ids.size() > input.options.max_new_tokens) return refuse("at most max_new_tokens");
  const auto known = [&](int32_t id) { return id >= 0 && id < config.text.vocab_size; };
  if (!std::all_of(ids.begin(), ids.end(), known)) return refuse("ids of the vocabulary");
  const std::vector<int64_t> ending = blip2::EndingTokens(input.options, config.text.eos_token_ids);
  const auto ends = [&](int32_t id) { return std::find(ending.begin(), ending.end(), id) != ending.end(); };
  if (std::any_of(ids.begin(), ids.end() - 1, ends)) return refuse("an ending token comes last");
  return std::vector<int64_t>(ids.begin(), ids.end());
}

// Patches of one image before any merging.
int PatchTokens(const ImagePreparation& preparation, const ServedLanguageModel& model) {
  const int side = preparation.image_size / model.description.patch_size();
  return side * side;
}

int VisualTokenCount(const ImagePreparation& preparation, const ServedLanguageModel& model) {
  const int64_t left =
      blip2::PatchesLeft(PatchTokens(preparation, model), model.config.vision.num_hidden_layers, preparation.merging);
  return static_cast<int>(left) + 1;  // the class token
}

// `patches` of all images.
absl::Status CheckRelevanceSize(int64_t patches, int64_t max_new_tokens) {
  const int64_t most = kMaxRelevanceValues / patches;
  if (max_new_tokens <= most) return absl::OkStatus();
  return InvalidField(reason::kOptionRange, "question.return_relevance",
                      absl::StrCat("return_relevance takes ", kMaxRelevanceValues,
                                   " values at most: with these images, max_new_tokens up to ", most));
}

ImageRequest MakeImageRequest(std::string encoded, const v1::ImageOptions& options, const ImagePreparation& preparation,
                              const std::string& request_id, const std::string& cache_salt,
                              const ServedLanguageModel& model) {
  ImageRequest request;
  request.expected = {.model_fingerprint = model.description.fingerprint(),
                      .image_key = ImageKey(encoded, preparation, model.description.fingerprint(), cache_salt),
                      .tokens = VisualTokenCount(preparation, model),
                      .width = model.description.visual_width(),
                      .image_size = preparation.image_size};
  request.message.set_image(std::move(encoded));
  *request.message.mutable_options() = options;
  request.message.set_model_fingerprint(model.description.fingerprint());
  request.message.set_cut(v1::CUT_VIT);
  request.message.set_request_id(request_id);
  request.message.set_cache_salt(cache_salt);
  return request;
}

}  // namespace

absl::StatusOr<GenerateInput> ReadQuestion(v1::GenerateRequest request, const ServedLanguageModel& model,
                                           const QuestionLimits& limits) {
  v1::Question& question = *request.mutable_question();
  DIPTYCH_RETURN_IF_ERROR(CheckCacheSalt(request.cache_salt()));
  DIPTYCH_RETURN_IF_ERROR(CheckQuestion(question, limits));
  DIPTYCH_RETURN_IF_ERROR(CheckModel(question, model));
  DIPTYCH_ASSIGN_OR_RETURN(const ImagePreparation preparation,
                           PrepareImageOptions(question.image_options(), "question.image_options",
                                               model.description.patch_size(), model.description.image_size()));
  GenerateInput input;
  input.cache_salt = std::move(*request.mutable_cache_salt());
  input.options = ReadOptions(question.generation(), model.config);
  DIPTYCH_RETURN_IF_ERROR(CheckOptions(input.options, model.config));
  input.best_of = ReadBestOf(question.generation());
  const SteadyTime read = SteadyClock::now();
  DIPTYCH_ASSIGN_OR_RETURN(input.prompt, ReadPrompt(question, model, input.options));
  input.tokenizing = SteadyClock::now() - read;
  DIPTYCH_ASSIGN_OR_RETURN(input.begun, ReadBegun(request, input, model.config));
  input.request_id = question.request_id().empty() ? absl::StrFormat("%016x", RandomBits()) : question.request_id();
  for (int i = static_cast<int>(input.prompt.images_dropped); i < question.images_size(); ++i) {
    input.images.push_back(MakeImageRequest(std::move(*question.mutable_images(i)->mutable_data()),
                                            question.image_options(), preparation, input.request_id, input.cache_salt,
                                            model));
    input.images.back().query_attention = question.return_relevance();
    input.images.back().field = absl::StrCat("question.images[", i, "]");
  }
  input.dense_patch_tokens = static_cast<int>(input.images.size()) * PatchTokens(preparation, model);
  input.relevance = question.return_relevance() && input.options.max_new_tokens > 0;
  if (input.relevance) {
    DIPTYCH_RETURN_IF_ERROR(CheckRelevanceSize(input.dense_patch_tokens, input.options.max_new_tokens));
  }
  return input;
}

absl::StatusOr<ImageRequest> ReadAnalysis(v1::AnalyzeQueriesRequest request, const ServedLanguageModel& model,
                                          const QuestionLimits& limits) {
  if (request.image().has_url()) {
    return InvalidField(reason::kImageUrlRefused, "image", "this server takes images as bytes, not by address");
  }
  DIPTYCH_RETURN_IF_ERROR(CheckCacheSalt(request.cache_salt()));
  const auto header = CheckImage(request.image().data(), limits.image);
  if (!header.ok()) return InvalidField(ReasonOf(header.status()), "image", std::string(header.status().message()));
  DIPTYCH_ASSIGN_OR_RETURN(const ImagePreparation preparation,
                           PrepareImageOptions(request.options(), "options", model.description.patch_size(),
                                               model.description.image_size()));
  if (preparation.merging > 0) {
    return InvalidField(reason::kOptionRange, "options.token_merging",
                        "token_merging takes 0 for attention maps: a merged token has no one place");
  }
  ImageRequest image = MakeImageRequest(std::move(*request.mutable_image()->mutable_data()), request.options(),
                                        preparation, request.request_id(), request.cache_salt(), model);
  image.query_attention = true;
  return image;
}

absl::StatusOr<v1::CountTokensResponse> CountTokens(const v1::CountTokensRequest& request,
                                                    const ServedLanguageModel& model) {
  v1::Question question;
  question.add_images();  // an empty text with an image is a question
  *question.mutable_turns() = request.turns();
  for (v1::Turn& turn : *question.mutable_turns()) turn.clear_images();  // only texts are counted
  question.set_prompt(request.prompt());
  DIPTYCH_RETURN_IF_ERROR(CheckText(question));
  const blip2::Config config = WithoutWindow(model.config);
  const auto count = [&](std::string_view text, std::vector<blip2::Turn> turns) {
    return blip2::BuildPrompt({.images = 1, .text = text, .turns = std::move(turns), .max_new_tokens = 0}, config,
                              *model.tokenizer);
  };
  const std::vector<blip2::Turn> turns = ReadTurns(question.turns());
  v1::CountTokensResponse response;
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::Prompt last, count(request.prompt(), Tail(turns)));
  response.set_text_tokens(static_cast<int>(last.budget.text_tokens));
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::Prompt alone, count("", {{true, "?"}}));
  const bool asks_alone = !turns.empty() && IsBlank(turns.back().text);
  for (size_t i = 0; i + 2 < turns.size() && !asks_alone; i += 2) {
    DIPTYCH_ASSIGN_OR_RETURN(const blip2::Prompt pair, count("", {turns[i], turns[i + 1], {true, "?"}}));
    response.add_history_pair_tokens(static_cast<int>(pair.budget.history_tokens));
    response.set_joint_tokens(static_cast<int>(pair.budget.text_tokens - alone.budget.text_tokens));
  }
  return response;
}

absl::StatusOr<v1::EncodePromptResponse> EncodePrompt(const v1::EncodePromptRequest& request,
                                                      const ServedLanguageModel& model) {
  if (request.images() < 0 || request.images() > kMaxImages) {
    return InvalidField(reason::kOptionRange, "images", absl::StrCat("images takes 0 to ", kMaxImages));
  }
  const int images = std::max(request.images(), 1);  // with an image a prompt may be empty
  v1::Question question;
  for (int i = 0; i < images; ++i) question.add_images();
  question.set_prompt(request.prompt());
  *question.mutable_turns() = request.turns();
  DIPTYCH_RETURN_IF_ERROR(CheckText(question, ""));
  DIPTYCH_ASSIGN_OR_RETURN(
      const blip2::Prompt prompt,
      blip2::BuildPrompt(
          {.images = images, .text = request.prompt(), .turns = ReadTurns(request.turns()), .max_new_tokens = 0},
          WithoutWindow(model.config), *model.tokenizer));
  const auto text = prompt.ids.begin() + prompt.budget.image_tokens;
  v1::EncodePromptResponse response;
  if (request.images() > 0) response.mutable_token_ids()->Add(prompt.ids.begin(), text);
  response.mutable_token_ids()->Add(text + (request.without_bos() ? 1 : 0), prompt.ids.end());
  return response;
}

absl::StatusOr<v1::DecodeTokensResponse> DecodeTokens(const v1::DecodeTokensRequest& request,
                                                      const ServedLanguageModel& model) {
  const auto& ids = request.token_ids();
  if (ids.size() > kMaxPromptTokenIds) {
    return InvalidField(reason::kOptionRange, "token_ids",
                        absl::StrCat("token_ids takes at most ", kMaxPromptTokenIds, "; there are ", ids.size()));
  }
  const int64_t ends = model.config.text.vocab_size;
  const auto outside = [&](int32_t id) { return (id < 0 || id >= ends) && id != model.config.image_token_id; };
  if (const auto found = std::find_if(ids.begin(), ids.end(), outside); found != ids.end()) {
    return InvalidField(reason::kOptionRange, "token_ids",
                        absl::StrCat("token_ids takes 0 to ", ends - 1, "; there is ", *found));
  }
  v1::DecodeTokensResponse response;
  response.set_text(model.tokenizer->Decode(std::vector<int64_t>(ids.begin(), ids.end())));
  return response;
}

}  // namespace diptych::language
