// Runs jobs for tools/parity: one JSON object a line on stdin, one result a line on stdout.
//
//   {"kind": "ask", "image": path or null, "image_size": 0, "text": string or null, "max_new_tokens": 20,
//    "min_new_tokens": 0, "repetition_penalty": 1, "num_beams": 1, "length_penalty": 1,
//    "temperature": 0, "top_k": 50, "top_p": 1, "seed": 0, "taps": path or null}
//       -> {"prompt_ids", "token_ids", "text", "seconds"}; the tensors of the first step go to `taps` (safetensors)
//   {"kind": "pixels", "image": path, "image_size": 224, "taps": path}   -> {}
//   {"kind": "encode", "text": string}   -> {"ids"}
//   {"kind": "decode", "ids": [...]}     -> {"text"}
//   {"kind": "draw", "logits": [...], "context": [...], "temperature", "top_k", "top_p", "repetition_penalty",
//    "seed", "draws": n}                 -> {"counts": one for each id}
//
// The first line says how long loading took, the last how much memory the process needed at most. A job
// that fails gives {"error"}.
#include <ATen/ATen.h>
#include <sys/resource.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "blip2/images/image.h"
#include "blip2/images/pixels.h"
#include "common/status.h"
#include "tests/testing/whole_model.h"

ABSL_FLAG(std::string, model, "", "Checkpoint folder");
ABSL_FLAG(std::string, tokenizer, "",
          "In place of --model: a folder with a tokenizer, for encode, decode and draw jobs");
ABSL_FLAG(std::string, device, "cpu", "cpu, cuda or cuda:N");
ABSL_FLAG(std::string, dtype, "float32", "float32, bfloat16 or float16");
ABSL_FLAG(int, threads, 0, "Threads of one operator; 0: one for each core");

namespace {

using diptych::testing::WholeModel;
using nlohmann::json;

std::string ReadFile(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Only float32 tensors on the CPU; undefined ones are left out.
void WriteSafetensors(const std::string& file, const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  json header = json::object();
  size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) continue;
    header[name] = {
        {"dtype", "F32"}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, offset + tensor.nbytes()}}};
    offset += tensor.nbytes();
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof(length));
  out << text;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.defined()) out.write(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  }
}

json Ask(const WholeModel& model, const json& job) {
  diptych::testing::Question question;
  if (!job["image"].is_null()) {
    question.image = ReadFile(job["image"]);
    if (question.image.empty()) return {{"error", "cannot read the image"}};
  }
  if (!job["text"].is_null()) question.text = job["text"];
  question.image_size = job.value("image_size", int64_t{0});
  question.options.max_new_tokens = job.value("max_new_tokens", int64_t{20});
  question.options.min_new_tokens = job.value("min_new_tokens", int64_t{0});
  question.options.repetition_penalty = job.value("repetition_penalty", 1.0);
  question.options.num_beams = job.value("num_beams", int64_t{1});
  question.options.length_penalty = job.value("length_penalty", 1.0);
  question.options.temperature = job.value("temperature", 0.0);
  question.options.top_k = job.value("top_k", int64_t{50});
  question.options.top_p = job.value("top_p", 1.0);
  question.options.seed = job.value("seed", uint64_t{0});
  const absl::StatusOr<diptych::testing::Answer> answer = model.Ask(question);
  if (!answer.ok()) return {{"error", answer.status().ToString()}};
  if (job.contains("taps") && job["taps"].is_string()) {
    WriteSafetensors(job["taps"], {{"pixels", answer->taps.pixels},
                                   {"vision", answer->taps.vision},
                                   {"qformer", answer->taps.qformer},
                                   {"projected", answer->taps.projected},
                                   {"logits", answer->taps.logits}});
  }
  const diptych::testing::StageSeconds& seconds = answer->seconds;
  return {{"prompt_ids", answer->prompt_ids},
          {"token_ids", answer->token_ids},
          {"text", answer->text},
          {"seconds",
           {{"image", seconds.image},
            {"vision", seconds.vision},
            {"qformer", seconds.qformer},
            {"prefill", seconds.prefill},
            {"decode", seconds.decode}}}};
}

json Pixels(const WholeModel& model, const json& job) {
  const auto image = diptych::blip2::DecodeImage(ReadFile(job["image"]), diptych::ImageLimits{});
  if (!image.ok()) return {{"error", image.status().ToString()}};
  WriteSafetensors(job["taps"], {{"pixels", diptych::blip2::ToPixelValues(*image, model.config().image_processor,
                                                                          job["image_size"].get<int>())}});
  return json::object();
}

json Draw(const json& job) {
  const at::Tensor logits = at::tensor(job["logits"].get<std::vector<float>>());
  diptych::blip2::GenerationOptions options;
  options.temperature = job["temperature"];
  options.top_k = job["top_k"];
  options.top_p = job["top_p"];
  options.repetition_penalty = job["repetition_penalty"];
  options.seed = job["seed"].get<uint64_t>();
  diptych::blip2::TokenSelector selector(options, {});
  const auto context = job["context"].get<std::vector<int64_t>>();
  std::vector<int64_t> counts(logits.numel());
  for (int64_t i = job["draws"]; i > 0; --i) {
    const auto chosen = selector.Choose(logits, context, 0);
    if (!chosen.ok()) return {{"error", chosen.status().ToString()}};
    ++counts[chosen->id];
  }
  return {{"counts", counts}};
}

json Run(const WholeModel* model, const diptych::blip2::Tokenizer& tokenizer, const json& job) {
  const std::string kind = job["kind"];
  if (kind == "encode") return {{"ids", tokenizer.EncodeWithSpecialTokens(job["text"].get<std::string>())}};
  if (kind == "decode") return {{"text", tokenizer.Decode(job["ids"].get<std::vector<int64_t>>())}};
  if (kind == "draw") return Draw(job);
  if (kind == "ask" && model != nullptr) return Ask(*model, job);
  if (kind == "pixels" && model != nullptr) return Pixels(*model, job);
  return {{"error", "unknown kind, or one that needs --model"}};
}

absl::Status Serve() {
  diptych::blip2::SetIntraOpThreads(absl::GetFlag(FLAGS_threads));
  const auto start = std::chrono::steady_clock::now();
  std::unique_ptr<WholeModel> model;
  std::optional<diptych::blip2::Tokenizer> alone;
  if (const std::string folder = absl::GetFlag(FLAGS_tokenizer); !folder.empty()) {
    DIPTYCH_ASSIGN_OR_RETURN(alone, diptych::blip2::Tokenizer::Load(folder));
  } else {
    DIPTYCH_ASSIGN_OR_RETURN(const diptych::blip2::Placement placement,
                             diptych::blip2::ParsePlacement(absl::GetFlag(FLAGS_device), absl::GetFlag(FLAGS_dtype)));
    DIPTYCH_ASSIGN_OR_RETURN(model, WholeModel::Load(absl::GetFlag(FLAGS_model), placement));
  }
  const std::chrono::duration<double> load = std::chrono::steady_clock::now() - start;
  std::cout << json{{"load_seconds", load.count()}} << std::endl;

  const diptych::blip2::Tokenizer& tokenizer = alone.has_value() ? *alone : model->tokenizer();
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Run(model.get(), tokenizer, json::parse(line)) << std::endl;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << json{{"peak_memory_bytes", usage.ru_maxrss * 1024}} << std::endl;
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  const absl::Status status = Serve();
  if (!status.ok()) std::cerr << status << '\n';
  return status.ok() ? 0 : 1;
}
