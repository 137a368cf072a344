// step_gap [STEP_MS [TOKENS]]: how long a card would wait between two decode steps. A thread that sleeps stands for the
// card: a step takes it STEP_MS, whatever the batch. Above it is the real engine with the demo model's tokenizer; its
// readers drop what they get. Printed by sequences: the wait after a step, median, where the engine reads a step's
// tokens before it begins the next one, and where it begins the next one first.
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "bench/median.h"
#include "bench/null_language_tier.h"
#include "common/containers/bounded_queue.h"
#include "language_service/engine/engine.h"
#include "language_service/engine/kv_cache_size.h"

namespace {

using namespace diptych;  // NOLINT

using Clock = std::chrono::steady_clock;
constexpr int kBatches[] = {1, 16, 64, 128};
constexpr int64_t kBlocks = 1 << 16;

// Does one step after another, and notes how long it waited for each but the first.
class Card {
 public:
  explicit Card(std::chrono::microseconds step) : step_(step), thread_([this] { Run(); }) {}
  ~Card() {
    steps_.Close();
    thread_.join();
  }

  std::shared_future<void> Launch() {
    auto done = std::make_shared<std::promise<void>>();
    std::shared_future<void> result = done->get_future().share();
    steps_.TryPush(std::move(done));
    return result;
  }
  std::vector<double> TakeWaits() {
    std::lock_guard lock(mutex_);
    return std::exchange(waits_, {});
  }

 private:
  void Run() {
    Clock::time_point idle_since = {};
    while (auto done = steps_.Pop()) {
      const auto begin = Clock::now();
      if (idle_since != Clock::time_point()) {
        std::lock_guard lock(mutex_);
        waits_.push_back(std::chrono::duration<double, std::micro>(begin - idle_since).count());
      }
      std::this_thread::sleep_until(begin + step_);
      idle_since = Clock::now();
      (*done)->set_value();
    }
  }

  const std::chrono::microseconds step_;
  BoundedQueue<std::shared_ptr<std::promise<void>>> steps_{1000};
  std::mutex mutex_;
  std::vector<double> waits_;
  std::thread thread_;
};

// Each step gives every sequence the same word.
language::ServedLanguageModel ModelOn(Card& card, bool ahead) {
  language::ServedLanguageModel model = bench::NullModel();
  const int64_t word = model.tokenizer->Encode(" red").back();
  model.forward = [](std::span<const blip2::DecoderRow> rows, blip2::KvPool&) {
    const auto wanted = std::count_if(rows.begin(), rows.end(), [](const auto& row) { return row.wants_logits; });
    return at::zeros({wanted, 1});
  };
  model.begin_choice = [&card, word, ahead](std::span<const blip2::RowChoice> rows) {
    const std::shared_future<void> done = card.Launch();
    if (!ahead) done.wait();
    const auto read = [done, word, count = rows.size()] {
      done.wait();
      return std::vector<absl::StatusOr<blip2::ChosenToken>>(count, blip2::ChosenToken{.id = word});
    };
    return blip2::PendingChoice{.ids = at::zeros({static_cast<int64_t>(rows.size())}, at::kLong), .read = read};
  };
  return model;
}

double WaitOf(int sequences, int tokens, std::chrono::microseconds step, bool ahead) {
  Card card(step);
  const language::ServedLanguageModel model = ModelOn(card, ahead);
  language::LanguageEngine engine(
      model, model.make_kv_pool(kBlocks, language::KvBlockTokens(model.config.num_query_tokens)),
      {.queue_limit = static_cast<size_t>(sequences), .max_batch = sequences, .max_batched_tokens = 2048});
  std::latch missing(sequences);
  for (int i = 0; i < sequences; ++i) {
    bench::Ask(
        engine, model, tokens, [](int64_t) {}, [&missing](bool) { missing.count_down(); });
  }
  missing.wait();
  return Median(card.TakeWaits());
}

}  // namespace

int main(int argc, char** argv) {
  const double step_ms = argc > 1 ? std::atof(argv[1]) : 2;
  const int tokens = argc > 2 ? std::atoi(argv[2]) : 200;
  if (step_ms <= 0 || tokens < 2 || tokens > 1000) {
    std::fprintf(stderr, "step_gap [STEP_MS [TOKENS]]: more than 0, 2 to 1000\n");
    return 2;
  }
  const std::chrono::microseconds step(static_cast<int64_t>(step_ms * 1000));
  std::printf("| sequences, steps of %.1f ms | wait, µs | where steps begin ahead, µs |\n|---|---|---|\n", step_ms);
  for (const int sequences : kBatches) {
    const double read_first = WaitOf(sequences, tokens, step, /*ahead=*/false);
    std::printf("| %d | %.0f | %.0f |\n", sequences, read_first, WaitOf(sequences, tokens, step, /*ahead=*/true));
  }
  return 0;
}
