// What `diptych bench cost` shows.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/charts/chart.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::cli {

// Seconds of one answer, as the notebook divides them.
struct CostStages {
  double vision = 0;   // decoding, resizing, waiting for and running the vision transformer
  double qformer = 0;  // with the projection
  double prefill = 0;
  double decode = 0;
  double other = 0;  // transport, queue of the language tier, tokenizer, gateway
  double total = 0;
};
CostStages StagesOf(const v1::Answer& answer);

// One kind of question and the answers to it.
struct MeasuredCost {
  std::string name;
  int images = 0, image_size = 0;  // image_size: pixels that the vision transformer sees
  std::vector<v1::Answer> answers = {};

  // The answer whose total is the median: its stages add up. Requires an answer.
  const v1::Answer& Typical() const;
};

// One source of the description in the exercise "image or text".
struct Described {
  std::string source;
  std::vector<v1::Answer> answers = {};

  const v1::Answer& Typical() const;
  int Words() const;  // of the answer
};

nlohmann::ordered_json CostJson(const MeasuredCost& cost, double baseline_seconds);
std::string CostTable(const std::vector<MeasuredCost>& costs);
nlohmann::ordered_json DescribedJson(const Described& described);
std::string DescribedTable(const std::vector<Described>& sources);

// Shows where the time goes, tokens, relative cost (the first is 1), and the exercise.
Chart CostChart(const std::vector<MeasuredCost>& costs, const std::vector<Described>& sources);

}  // namespace diptych::cli
