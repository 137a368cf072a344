#include "cli/questions/question_options.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/command_line/option_table.h"

namespace diptych::cli {
namespace {

// "ID:BIAS".
std::optional<std::pair<int, double>> ReadLogitBias(const std::string& text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  std::pair<int, double> bias;
  if (!absl::SimpleAtoi(parts.first, &bias.first) || !absl::SimpleAtod(parts.second, &bias.second)) return std::nullopt;
  if (bias.first < 0 || !std::isfinite(bias.second)) return std::nullopt;
  return bias;
}

std::string CheckLogitBias(const std::string& text) {
  return ReadLogitBias(text) ? ""
                             : absl::StrCat("takes ID:BIAS, a token's id and a number: 464:-100, not \"", text, "\"");
}

}  // namespace

CLI::Option* AddImages(CLI::App& command, std::vector<std::string>& images, const std::string& description) {
  return AddList(command, "-i,--image", images, description)->type_name(kFileType);
}

CLI::Option* AddImage(CLI::App& command, std::string& image, const std::string& description) {
  return command.add_option("-i,--image", image, description)->type_name(kFileType);
}

CLI::Option* AddList(CLI::App& command, const std::string& names, std::vector<std::string>& values,
                     const std::string& description) {
  // Without extra arguments CLI11 takes each value as it is, also "[this]"; arguments.h gives each its flag.
  return command.add_option(names, values, description)->expected(1, -1)->allow_extra_args(false);
}

void QuestionOptions::AddTo(CLI::App& command) {
  constexpr char kGeneration[] = "Generation";
  command.add_option("-n,--max_new_tokens", max_new_tokens_, "Most tokens to generate")->group(kGeneration);
  command.add_option("--min_new_tokens", min_new_tokens_, "Tokens before the answer may end")->group(kGeneration);
  command.add_option("-t,--temperature", temperature_, "0 takes the most likely token, more samples")
      ->group(kGeneration);
  command.add_option("--top_k", top_k_, "Sample among the k most likely tokens")->group(kGeneration);
  command.add_option("--top_p", top_p_, "Sample among the tokens that hold this probability")->group(kGeneration);
  command.add_option("--repetition_penalty", repetition_penalty_, "Over 1 avoids repetition")->group(kGeneration);
  command.add_option("--presence_penalty", presence_penalty_, "Over 0 avoids tokens that were already generated")
      ->group(kGeneration);
  command
      .add_option("--frequency_penalty", frequency_penalty_,
                  "Over 0 avoids tokens more, the more often they were generated")
      ->group(kGeneration);
  AddList(command, "--logit_bias", logit_bias_, "ID:BIAS, a token's id and what is added to its score; may be repeated")
      ->check(CLI::Validator(CheckLogitBias, "ID:BIAS"))
      ->group(kGeneration);
  command.add_option("--min_p", min_p_, "Sample among tokens of at least this share of the best one's probability")
      ->group(kGeneration);
  command.add_option("--best_of", best_of_, "Sample this many answers and return the likeliest")->group(kGeneration);
  command.add_flag("--ignore_eos", ignore_eos_, "Continue after the end-of-sequence token")->group(kGeneration);
  command.add_option("--stop_token_ids", stop_token_ids_, "Token ids that end the answer")->group(kGeneration);
  command.add_flag("--cut_max_new_tokens", cut_max_new_tokens_, "Cut --max_new_tokens to what the window leaves")
      ->group(kGeneration);
  command.add_option("--prompt_logprobs", prompt_logprobs_, "Also probabilities of the prompt's tokens (--json)")
      ->group(kGeneration);
  command.add_option("--num_beams", num_beams_, "Beams of beam search")->group(kGeneration);
  command.add_option("--length_penalty", length_penalty_, "Over 0, beam search favours long answers")
      ->group(kGeneration);
  command.add_option("--seed", seed_, "Makes sampling repeatable")->group(kGeneration);
  AddList(command, "--stop", stop_, "Text that ends the answer")->group(kGeneration);
  command.add_option("--logprobs", logprobs_, "Probabilities of this many tokens at each step (--json)")
      ->group(kGeneration);
  constexpr char kImage[] = "Image";
  command.add_option("--image_size", image_size_, "Side in pixels that the vision transformer sees")->group(kImage);
  command.add_option("--max_side", max_side_, "Shrink to this longer side first")->group(kImage);
  command.add_option("--token_merging", token_merging_, "Share of patch tokens merged in each layer")->group(kImage);
  command.add_option("--model", model_, "Name of the model that must answer")->group(kCommonGroup);
}

void QuestionOptions::Apply(v1::Question& question) const {
  v1::GenerationOptions& generation = *question.mutable_generation();
  if (max_new_tokens_) generation.set_max_new_tokens(*max_new_tokens_);
  if (min_new_tokens_) generation.set_min_new_tokens(*min_new_tokens_);
  if (temperature_) generation.set_temperature(*temperature_);
  if (top_k_) generation.set_top_k(*top_k_);
  if (top_p_) generation.set_top_p(*top_p_);
  if (repetition_penalty_) generation.set_repetition_penalty(*repetition_penalty_);
  if (presence_penalty_) generation.set_presence_penalty(*presence_penalty_);
  if (frequency_penalty_) generation.set_frequency_penalty(*frequency_penalty_);
  for (const std::string& text : logit_bias_) {
    const auto [id, bias] = *ReadLogitBias(text);
    (*generation.mutable_logit_bias())[id] = bias;
  }
  if (min_p_) generation.set_min_p(*min_p_);
  if (best_of_) generation.set_best_of(*best_of_);
  generation.set_ignore_eos(ignore_eos_);
  for (const int id : stop_token_ids_) generation.add_stop_token_ids(id);
  generation.set_cut_max_new_tokens(cut_max_new_tokens_);
  if (prompt_logprobs_) generation.set_prompt_logprobs(*prompt_logprobs_);
  if (num_beams_) generation.set_num_beams(*num_beams_);
  if (length_penalty_) generation.set_length_penalty(*length_penalty_);
  if (seed_) generation.set_seed(*seed_);
  for (const std::string& stop : stop_) generation.add_stop(stop);
  if (logprobs_) generation.set_logprobs(*logprobs_);
  v1::ImageOptions& image = *question.mutable_image_options();
  if (image_size_) image.set_image_size(*image_size_);
  if (max_side_) image.set_max_side(*max_side_);
  if (token_merging_) image.set_token_merging(*token_merging_);
  question.set_model(model_);
}

}  // namespace diptych::cli
