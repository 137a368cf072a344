// Tokens a second of the decoder alone, for several batch sizes in one run.
//
//   build/release/bin/decode_throughput --model=DIR --dtype=bfloat16
//
// Each sequence has --context tokens of keys and values (noise: what they say costs nothing) and decodes one token
// a step. The batch sizes take turns, so that changes of the machine's speed meet all of them. Prints medians over all
// steps, on the clock and in processor time: on a shared machine the second is the one to compare; on the CPU also the
// rate at which a step reads its weights, as a share of plain reads in the same rounds. Then the times of
// reading a text of --prompts tokens in one pass, and of choosing the tokens: for all sequences at once where the
// logits are, and for one after the other on the host.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_format.h"
#include "bench/card_rates.h"
#include "bench/median.h"
#include "bench/plain_reads.h"
#include "bench/seconds.h"
#include "blip2/checkpoint/checkpoint.h"
#include "blip2/checkpoint/memory_plan.h"
#include "blip2/cuda/step_recorder.h"
#include "blip2/decoding/batch_choice.h"
#include "blip2/decoding/generation.h"
#include "blip2/device/device.h"
#include "blip2/device/transfer.h"
#include "blip2/opt.h"
#include "common/status.h"

ABSL_FLAG(std::string, model, "models/demo", "Checkpoint folder");
ABSL_FLAG(std::string, device, "cpu", "cpu, cuda or cuda:N");
ABSL_FLAG(std::string, dtype, "bfloat16", "float32, bfloat16, float16, int8, int4 or fp8");
ABSL_FLAG(std::string, kv_dtype, "auto", "auto or int8, as language_service's");
ABSL_FLAG(bool, cuda_graphs, false, "Also with recorded steps, on a card: the same tokens, and times");
ABSL_FLAG(int, threads, 0, "Threads of one operator; 0: one for each core");
ABSL_FLAG(std::vector<std::string>, prompts, std::vector<std::string>({"43", "256"}), "Tokens of a text that is read");
ABSL_FLAG(int, context, 64, "Tokens that each sequence has read");
ABSL_FLAG(int, steps, 3, "Steps of each batch size in each round");
ABSL_FLAG(int, rounds, 5, "Rounds over all batch sizes");

namespace {

using diptych::blip2::Config;
using diptych::blip2::DecoderRow;
using diptych::blip2::GenerationOptions;
using diptych::blip2::KvPool;
using diptych::blip2::OptDecoder;
using diptych::blip2::Placement;
using diptych::blip2::RowChoice;
using diptych::blip2::TokenSelector;

constexpr int kBatches[] = {1, 2, 4, 8, 16};
constexpr int64_t kChoiceBatches[] = {1, 16, 64};
constexpr int64_t kBlockTokens = 16;
constexpr int64_t kGreedyTokens = 16;

// Sequences that have read `context` tokens each.
class Sequences {
 public:
  Sequences(const OptDecoder& decoder, int count, int64_t context) : decoder_(decoder), past_(context) {
    const int64_t blocks = (context + kGreedyTokens) / kBlockTokens + 1;
    pool_ = decoder.MakeKvPool(count * blocks, kBlockTokens);
    const c10::InferenceMode inference;
    for (const auto* side : {&pool_.keys, &pool_.values}) {
      for (const at::Tensor& layer : *side) layer.is_floating_point() ? layer.normal_() : layer.fill_(1);
    }
    for (int i = 0; i < count; ++i) {
      std::vector<int32_t>& table = tables_.emplace_back(blocks);
      std::iota(table.begin(), table.end(), static_cast<int32_t>(i * blocks));
    }
  }

  // One step of the first `batch` sequences; always the same one, so that the context stays as long.
  Seconds Step(int batch) {
    std::vector<int64_t> ids(batch);
    std::iota(ids.begin(), ids.end(), 100);
    return Pass(Rows(ids, past_));
  }

  // The first sequence reads so many tokens from its beginning on; it has room for them.
  Seconds Read(int tokens) {
    std::vector<int64_t> ids(tokens);
    std::iota(ids.begin(), ids.end(), 100);
    return Pass({{.embeddings = decoder_.Embed(ids)[0], .past = 0, .blocks = tables_[0], .wants_logits = true}});
  }

  absl::Status RecordSteps(diptych::blip2::RecordStep recorder) {
    const auto failed = [](const std::string& why) { std::printf("steps are not recorded: %s\n\n", why.c_str()); };
    return decoder_.RecordSteps(std::move(recorder), failed, pool_);
  }

  // The greedy continuation.
  std::vector<int64_t> Greedy(int batch) {
    std::vector<int64_t> ids(batch), all;
    std::iota(ids.begin(), ids.end(), 100);
    for (int64_t token = 0; token < kGreedyTokens; ++token) {
      const at::Tensor best = decoder_.Forward(Rows(ids, past_ + token), pool_).argmax(1).to(at::kCPU);
      ids.assign(best.const_data_ptr<int64_t>(), best.const_data_ptr<int64_t>() + batch);
      all.insert(all.end(), ids.begin(), ids.end());
    }
    return all;
  }

  // Has read what `other` has.
  void TakeKeysAndValues(const Sequences& other) {
    const c10::InferenceMode inference;
    pool_.all.copy_(other.pool_.all);
  }

 private:
  // One token of each of the first sequences, which have read `past`.
  std::vector<DecoderRow> Rows(const std::vector<int64_t>& ids, int64_t past) const {
    const at::Tensor embeddings = decoder_.Embed(ids)[0];
    std::vector<DecoderRow> rows;
    for (size_t i = 0; i < ids.size(); ++i) {
      rows.push_back({.embeddings = embeddings.narrow(0, static_cast<int64_t>(i), 1),
                      .past = past,
                      .blocks = tables_[i],
                      .wants_logits = true});
    }
    return rows;
  }

  Seconds Pass(const std::vector<DecoderRow>& rows) {
    return TimeOf([&] { decoder_.Forward(rows, pool_).argmax(1).to(at::kCPU); });
  }

  const OptDecoder& decoder_;
  const int64_t past_;
  KvPool pool_;
  std::vector<std::vector<int32_t>> tables_;
};

// Bytes of weights that every step reads: the layers' and the head's.
double BytesOfAStep(const Config& config, const Placement& placement) {
  using diptych::blip2::ModelPart;
  using diptych::blip2::WeightBytes;
  Config one = config, two = config;
  one.text.num_hidden_layers = 1;
  two.text.num_hidden_layers = 2;
  const int64_t layer =
      WeightBytes(two, ModelPart::kLanguage, placement) - WeightBytes(one, ModelPart::kLanguage, placement);
  const bool of_floats = !placement.integers || (placement.weight_only() && config.text.tie_word_embeddings);
  const auto element = !of_floats ? 1 : static_cast<int64_t>(c10::elementSize(placement.dtype));
  const int64_t head = config.text.vocab_size * config.text.word_embed_proj_dim * element;
  return static_cast<double>(config.text.num_hidden_layers * layer + head);
}

// Plain reads of memory that no cache holds, between the steps of a round.
class PlainReads {
 public:
  explicit PlainReads(const c10::Device& device)
      : memory_(device.is_cpu() ? MemoryToRead(int64_t{512} << 20) : CardMemoryToRead(device)) {
    if (!memory_.is_cpu()) CardReadRate(memory_);  // the first one loads its kernel
  }
  void Measure() {
    const auto seconds = [](const auto& read) { return TimeOf(read).clock; };
    rates_.push_back(memory_.is_cpu() ? ReadRate(memory_, seconds) : CardReadRate(memory_));
  }
  // Bytes in these seconds next to the reads.
  std::string Share(double bytes, double seconds) const {
    return absl::StrFormat("%.2f", bytes / seconds / Median(rates_));
  }
  void Print() const { std::printf("\nPlain reads: %.1f GB/s\n", Median(rates_) / 1e9); }

 private:
  at::Tensor memory_;
  std::vector<double> rates_;
};

void Measure(Sequences& sequences, const OptDecoder& decoder, double bytes) {
  PlainReads reads(decoder.placement().device);
  std::vector<std::vector<double>> clock(std::size(kBatches));
  std::vector<std::vector<double>> processor(std::size(kBatches));
  for (const int batch : kBatches) sequences.Step(batch);  // weights are read from disk, and steps recorded
  for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
    reads.Measure();
    for (size_t i = 0; i < std::size(kBatches); ++i) {
      for (int step = 0; step < absl::GetFlag(FLAGS_steps); ++step) {
        const Seconds seconds = sequences.Step(kBatches[i]);
        clock[i].push_back(seconds.clock);
        processor[i].push_back(seconds.processor);
      }
    }
  }
  std::printf(
      "| batch | ms a step | tokens/s | × batch 1 | processor ms a token | batch 1 / this | of plain reads "
      "|\n|---|---|---|---|---|---|---|\n");
  for (size_t i = 0; i < std::size(kBatches); ++i) {
    const double per_token = Median(processor[i]) / kBatches[i];
    std::printf("| %d | %.2f | %.2f | %.2f | %.2f | %.2f | %s |\n", kBatches[i], Median(clock[i]) * 1e3,
                kBatches[i] / Median(clock[i]), kBatches[i] * Median(clock[0]) / Median(clock[i]), per_token * 1e3,
                Median(processor[0]) / per_token, reads.Share(bytes, Median(clock[i])).c_str());
  }
  reads.Print();
}

void CompareTokens(Sequences& recorded, Sequences& plain) {
  std::printf("\n| batch | same tokens, recorded and not | of |\n|---|---|---|\n");
  for (const int batch : kBatches) {
    recorded.TakeKeysAndValues(plain);
    const std::vector<int64_t> some = recorded.Greedy(batch), others = plain.Greedy(batch);
    int same = 0;
    for (size_t i = 0; i < some.size(); ++i) same += some[i] == others[i] ? 1 : 0;
    std::printf("| %d | %d | %zu |\n", batch, same, some.size());
  }
}

absl::Status MeasureSteps(const OptDecoder& decoder, double bytes) {
  const int most = kBatches[std::size(kBatches) - 1];
  Sequences plain(decoder, most, absl::GetFlag(FLAGS_context));
  Measure(plain, decoder, bytes);
  if (!absl::GetFlag(FLAGS_cuda_graphs)) return absl::OkStatus();
  std::printf("\nRecorded steps (CUDA graphs)\n\n");
  Sequences recorded(decoder, most, absl::GetFlag(FLAGS_context));
  DIPTYCH_ASSIGN_OR_RETURN(diptych::blip2::RecordStep recorder,
                           diptych::blip2::MakeCudaRecorder(decoder.placement().device));
  DIPTYCH_RETURN_IF_ERROR(recorded.RecordSteps(std::move(recorder)));
  Measure(recorded, decoder, bytes);
  CompareTokens(recorded, plain);
  return absl::OkStatus();
}

// Prompts that the window does not hold have no row.
void MeasurePrompts(const OptDecoder& decoder) {
  std::printf("\n| prompt tokens | ms a pass | tokens/s | processor ms a token |\n|---|---|---|---|\n");
  for (const std::string& prompt : absl::GetFlag(FLAGS_prompts)) {
    const int tokens = std::stoi(prompt);
    if (tokens > decoder.config().max_position_embeddings) continue;
    Sequences sequences(decoder, 1, tokens);
    std::vector<double> clock, processor;
    for (int i = 0; i < absl::GetFlag(FLAGS_rounds) * absl::GetFlag(FLAGS_steps); ++i) {
      const Seconds seconds = sequences.Read(tokens);
      clock.push_back(seconds.clock);
      processor.push_back(seconds.processor);
    }
    std::printf("| %d | %.2f | %.1f | %.2f |\n", tokens, Median(clock) * 1e3, tokens / Median(clock),
                Median(processor) * 1e3 / tokens);
  }
}

// Milliseconds until the tokens of a step with these logits are known.
double Choose(const at::Tensor& logits, const GenerationOptions& options, bool together) {
  std::vector<RowChoice> rows;
  for (int64_t row = 0; row < logits.size(0); ++row) {
    rows.push_back({.logits = logits.narrow(0, row, 1), .options = &options, .draw = 0.5});
  }
  std::vector<TokenSelector> selectors(rows.size(), TokenSelector(options, {}));
  diptych::blip2::Synchronize(logits.device());
  const auto choose = [&] {
    if (together) {
      diptych::blip2::ChooseTokens(rows);
      return;
    }
    const at::Tensor host = diptych::blip2::Download(logits);
    for (size_t row = 0; row < rows.size(); ++row) (void)selectors[row].Choose(host[static_cast<int64_t>(row)], {}, 0);
  };
  return 1e3 * TimeOf(choose).clock;
}

void MeasureChoices(c10::Device device, int64_t vocab_size) {
  const c10::InferenceMode inference;
  const GenerationOptions greedy, sampled = {.temperature = 0.7, .top_p = 0.9, .seed = 1}, told = {.logprobs = 5};
  std::printf("\n| batch | tokens | ms at once | ms one by one | one by one / at once |\n|---|---|---|---|---|\n");
  for (const int64_t batch : kChoiceBatches) {
    const at::Tensor logits = diptych::blip2::Upload(at::randn({batch, vocab_size}).mul_(3), device);
    for (const auto& [name, options] :
         {std::pair("greedy", &greedy), {"sampled", &sampled}, {"with logprobs", &told}}) {
      std::vector<double> at_once, one_by_one;
      for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
        at_once.push_back(Choose(logits, *options, /*together=*/true));
        one_by_one.push_back(Choose(logits, *options, /*together=*/false));
      }
      std::printf("| %d | %s | %.2f | %.2f | %.2f |\n", static_cast<int>(batch), name, Median(at_once),
                  Median(one_by_one), Median(one_by_one) / Median(at_once));
    }
  }
}

absl::Status Run() {
  diptych::blip2::SetIntraOpThreads(absl::GetFlag(FLAGS_threads));
  DIPTYCH_ASSIGN_OR_RETURN(const auto checkpoint, diptych::blip2::Checkpoint::Open(absl::GetFlag(FLAGS_model)));
  DIPTYCH_ASSIGN_OR_RETURN(
      const diptych::blip2::ChosenPlacement chosen,
      diptych::blip2::ChoosePlacement(absl::GetFlag(FLAGS_device), absl::GetFlag(FLAGS_dtype), checkpoint->config()));
  Placement placement = chosen.placement;
  placement.rounded_kv = absl::GetFlag(FLAGS_kv_dtype) == "int8";
  const OptDecoder decoder(*checkpoint, placement);
  std::printf("%s, %s on %s, %d threads, %d tokens of context\n\n", checkpoint->name().c_str(),
              diptych::blip2::DTypeName(chosen.placement).c_str(), absl::GetFlag(FLAGS_device).c_str(),
              at::get_num_threads(), absl::GetFlag(FLAGS_context));
  DIPTYCH_RETURN_IF_ERROR(MeasureSteps(decoder, BytesOfAStep(checkpoint->config(), placement)));
  MeasurePrompts(decoder);
  MeasureChoices(chosen.placement.device, checkpoint->config().text.vocab_size);
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  const absl::Status status = Run();
  if (!status.ok()) std::cerr << status << '\n';
  return status.ok() ? 0 : 1;
}
