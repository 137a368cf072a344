// A model that stops before it computes relevance, for the tests of the engine and of the service.
#pragma once

#include <functional>
#include <utility>

#include "language_service/served_model.h"

namespace diptych::language::testing {

// Does something before each computation of relevance.
inline void BeforeRelevance(ServedLanguageModel& model, std::function<void()> work) {
  model.attention_to_prefix = [work = std::move(work), attend = model.attention_to_prefix](auto&&... arguments) {
    work();
    return attend(arguments...);
  };
}

}  // namespace diptych::language::testing
