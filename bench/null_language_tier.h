// A language tier whose decoder computes nothing, and the same engine without a tier around it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "language_service/engine/engine.h"
#include "language_service/served_model.h"

namespace diptych::bench {

// A model without weights, with the tokenizer of models/demo; `forward` is the caller's to set.
language::ServedLanguageModel NullModel();

// Asks an engine without services; `on_tokens` and, once, `on_end` are called as TokenStream::Reader's functions.
void Ask(language::LanguageEngine& engine, const language::ServedLanguageModel& model, int max_new_tokens,
         std::function<void(int64_t tokens)> on_tokens, std::function<void(bool ok)> on_end);

// Each step gives every sequence the same word. Starting fails loudly: this is for benchmarks. Thread-safe.
class NullLanguageTier {
 public:
  // Room for so many callers at once. Reads the tokenizer of models/demo.
  explicit NullLanguageTier(int callers);
  ~NullLanguageTier();

  int port() const;
  // As Ask, of the engine without services.
  void AskAlone(int max_new_tokens, std::function<void(int64_t tokens)> on_tokens, std::function<void(bool ok)> on_end);

  // Processor time of the engine thread between two passes for each of their rows, in microseconds, since the last
  // call: of the tier's engine and of the one without services. Only while idle.
  double TakeMicroseconds();
  double TakeMicrosecondsAlone();

 private:
  struct Parts;
  const std::unique_ptr<Parts> parts_;
};

}  // namespace diptych::bench
