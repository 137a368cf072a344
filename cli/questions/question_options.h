// The options of a question as command-line flags of the same names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "diptych/v1/inference.pb.h"

namespace CLI {
class App;
}

namespace diptych::cli {

// An unset option is left to the server; ranges are the server's business.
class QuestionOptions {
 public:
  void AddTo(CLI::App& command);
  // Sets generation options, image options and model.
  void Apply(v1::Question& question) const;

 private:
  std::optional<int> max_new_tokens_, min_new_tokens_, top_k_, num_beams_, logprobs_, image_size_, max_side_;
  std::optional<double> temperature_, top_p_, repetition_penalty_, length_penalty_, token_merging_;
  std::optional<uint64_t> seed_;
  std::vector<std::string> stop_;
  std::string model_;
};

// The bytes of an image. Errors name the file; nothing is read from a file of more than 256 MiB.
absl::StatusOr<std::string> ReadImage(const std::string& file);

}  // namespace diptych::cli
