// The options of a question as command-line flags of the same names.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "diptych/v1/inference.pb.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace diptych::cli {

// --image, also for arguments without a flag.
CLI::Option* AddImages(CLI::App& command, std::vector<std::string>& images, const std::string& description);
CLI::Option* AddImage(CLI::App& command, std::string& image, const std::string& description);
// An option that may be given several times, or several values in a row.
CLI::Option* AddList(CLI::App& command, const std::string& names, std::vector<std::string>& values,
                     const std::string& description);

// An unset option is left to the server; ranges are the server's business.
class QuestionOptions {
 public:
  void AddTo(CLI::App& command);
  // Sets generation options, image options and model.
  void Apply(v1::Question& question) const;

 private:
  std::optional<int> max_new_tokens_, min_new_tokens_, top_k_, num_beams_, logprobs_, image_size_, max_side_;
  std::optional<int> best_of_, prompt_logprobs_;
  std::optional<double> temperature_, top_p_, repetition_penalty_, length_penalty_, token_merging_;
  std::optional<double> presence_penalty_, frequency_penalty_, min_p_;
  std::vector<std::string> logit_bias_;  // ID:BIAS
  std::vector<int> stop_token_ids_;
  bool ignore_eos_ = false, cut_max_new_tokens_ = false;
  std::optional<uint64_t> seed_;
  std::vector<std::string> stop_;
  std::string model_;
};

}  // namespace diptych::cli
