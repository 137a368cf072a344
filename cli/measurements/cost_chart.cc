#include "cli/measurements/cost_chart.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/measurements/fresh.h"
#include "cli/terminal/text.h"
#include "common/stage_clock.h"

namespace diptych::cli {
namespace {

constexpr size_t kDescriptionColumns = 70;

double SecondsOf(const google::protobuf::Duration& duration) {
  return ToSeconds(FromProtoDuration(duration));
}

double TotalOf(const v1::Answer& answer) {
  return SecondsOf(answer.timings().total());
}

// The answer whose total is the median, of an even number the smaller of the middle two.
const v1::Answer& TypicalOf(const std::vector<v1::Answer>& answers) {
  std::vector<const v1::Answer*> order;
  for (const v1::Answer& answer : answers) order.push_back(&answer);
  std::sort(order.begin(), order.end(),
            [](const v1::Answer* a, const v1::Answer* b) { return TotalOf(*a) < TotalOf(*b); });
  return *order[(order.size() - 1) / 2];
}

int CachedIn(const std::vector<v1::Answer>& answers) {
  int hits = 0;
  for (const v1::Answer& answer : answers) hits += CacheHitsOf(answer);
  return hits;
}

Panel ByKind(const std::vector<MeasuredCost>& costs, Panel::Form form, const char* title, const char* y_label) {
  Panel panel{.form = form, .title = title, .x_label = "images in the question", .y_label = y_label};
  for (const MeasuredCost& cost : costs) panel.categories.push_back(cost.name);
  return panel;
}

Panel WhereTimeGoes(const std::vector<MeasuredCost>& costs) {
  Panel panel = ByKind(costs, Panel::Form::kStacked, "Where the time goes", "time (ms)");
  panel.value_text = MillisecondsText;
  const auto add = [&](const char* name, double CostStages::*stage) {
    panel.series.push_back(
        SeriesOf(costs, name, [&](const MeasuredCost& cost) { return 1000 * (StagesOf(cost.Typical()).*stage); }));
  };
  add("vision", &CostStages::vision);
  add("Q-Former", &CostStages::qformer);
  add("prefill", &CostStages::prefill);
  add("decode", &CostStages::decode);
  add("other", &CostStages::other);
  return panel;
}

Panel InputTokens(const std::vector<MeasuredCost>& costs) {
  Panel panel = ByKind(costs, Panel::Form::kBars, "Input tokens", "tokens");
  const auto budget = [](const MeasuredCost& cost) -> const v1::ContextBudget& {
    return cost.Typical().context_budget();
  };
  panel.series = {
      SeriesOf(costs, "text", [&](const MeasuredCost& cost) { return budget(cost).text_tokens(); }),
      SeriesOf(costs, "images, as query tokens", [&](const MeasuredCost& cost) { return budget(cost).image_tokens(); }),
      SeriesOf(costs, "images, if every patch were a token",
               [&](const MeasuredCost& cost) { return budget(cost).dense_patch_tokens(); })};
  return panel;
}

Panel RelativeCost(const std::vector<MeasuredCost>& costs) {
  Panel panel = ByKind(costs, Panel::Form::kBars, "Cost relative to text alone", "time / time of text alone");
  panel.value_text = TimesText;
  const double baseline = TotalOf(costs.front().Typical());
  panel.series = {
      SeriesOf(costs, "cost", [&](const MeasuredCost& cost) { return TotalOf(cost.Typical()) / baseline; })};
  panel.references = {{"text alone", 1}};
  return panel;
}

Panel ImageOrDescription(const std::vector<Described>& sources) {
  Panel panel{.title = "Describing: from the image, or from a text about it", .y_label = "tokens, words, ms"};
  Series input{.name = "input tokens"}, words{.name = "words answered"}, time{.name = "time (ms)"};
  for (const Described& source : sources) {
    panel.categories.push_back(source.source);
    input.values.push_back(source.Typical().usage().prompt_tokens());
    words.values.push_back(source.Words());
    time.values.push_back(1000 * TotalOf(source.Typical()));
  }
  panel.series = {std::move(input), std::move(words), std::move(time)};
  return panel;
}

}  // namespace

CostStages StagesOf(const v1::Answer& answer) {
  const v1::StageTimings& t = answer.timings();
  CostStages stages{.vision = SecondsOf(t.image_decode()) + SecondsOf(t.image_resize()) + SecondsOf(t.vision_queue()) +
                              SecondsOf(t.vit()),
                    .qformer = SecondsOf(t.qformer()),
                    .prefill = SecondsOf(t.prefill()),
                    .decode = SecondsOf(t.decode()),
                    .total = SecondsOf(t.total())};
  stages.other = std::max(0.0, stages.total - stages.vision - stages.qformer - stages.prefill - stages.decode);
  return stages;
}

const v1::Answer& MeasuredCost::Typical() const {
  return TypicalOf(answers);
}

const v1::Answer& Described::Typical() const {
  return TypicalOf(answers);
}

int Described::Words() const {
  const std::vector<std::string> words = absl::StrSplit(Typical().text(), absl::ByAnyChar(" \n\t"), absl::SkipEmpty());
  return static_cast<int>(words.size());
}

nlohmann::ordered_json CostJson(const MeasuredCost& cost, double baseline_seconds) {
  const v1::Answer& typical = cost.Typical();
  const CostStages stages = StagesOf(typical);
  return {{"configuration", cost.name},
          {"images", cost.images},
          {"image_size", cost.image_size},
          {"text_tokens", typical.context_budget().text_tokens()},
          {"image_tokens", typical.context_budget().image_tokens()},
          {"dense_patch_tokens", typical.context_budget().dense_patch_tokens()},
          {"answer_tokens", typical.token_ids_size()},
          {"seconds",
           {{"vision", stages.vision},
            {"qformer", stages.qformer},
            {"prefill", stages.prefill},
            {"decode", stages.decode},
            {"other", stages.other},
            {"total", stages.total}}},
          {"relative_cost", stages.total / baseline_seconds},
          {"measured", cost.answers.size()},
          {"cache_hits", CachedIn(cost.answers)}};
}

std::string CostTable(const std::vector<MeasuredCost>& costs) {
  const double baseline = TotalOf(costs.front().Typical());
  std::vector<std::vector<std::string>> rows;
  for (const MeasuredCost& cost : costs) {
    const v1::Answer& typical = cost.Typical();
    const CostStages stages = StagesOf(typical);
    const auto cell = [&stages](double seconds) {
      return absl::StrFormat("%.1f (%.0f %%)", 1000 * seconds, 100 * seconds / stages.total);
    };
    rows.push_back({cost.name, absl::StrCat(typical.usage().prompt_tokens()), absl::StrCat(typical.token_ids_size()),
                    FormatSeconds(stages.total), TimesText(stages.total / baseline), cell(stages.vision),
                    cell(stages.qformer), cell(stages.prefill), cell(stages.decode), cell(stages.other)});
  }
  std::string table = FormatTable(
      {"images", "in", "out", "time", "cost", "vision ms", "Q-Former ms", "prefill ms", "decode ms", "other ms"}, rows,
      {1, 2, 3, 4, 5, 6, 7, 8, 9});
  for (const MeasuredCost& cost : costs) {
    if (const int hits = CachedIn(cost.answers); hits > 0) {
      absl::StrAppend(&table, "note: ", cost.name, " found ", hits, " tokens or images in a cache\n");
    }
  }
  return table;
}

nlohmann::ordered_json DescribedJson(const Described& described) {
  const v1::Answer& typical = described.Typical();
  return {
      {"exercise", "image_or_description"},
      {"source", described.source},
      {"prompt_tokens", typical.usage().prompt_tokens()},
      {"answer_tokens", typical.token_ids_size()},
      {"answer_words", described.Words()},
      {"words_per_prompt_token", static_cast<double>(described.Words()) / std::max(typical.usage().prompt_tokens(), 1)},
      {"seconds", TotalOf(typical)},
      {"cache_hits", CachedIn(described.answers)},
      {"answer", typical.text()}};
}

std::string DescribedTable(const std::vector<Described>& sources) {
  std::vector<std::vector<std::string>> rows;
  for (const Described& source : sources) {
    const v1::Answer& typical = source.Typical();
    const int in = std::max(typical.usage().prompt_tokens(), 1);
    rows.push_back({source.source, absl::StrCat(in), absl::StrCat(typical.token_ids_size()),
                    absl::StrCat(source.Words()), absl::StrFormat("%.2f", static_cast<double>(source.Words()) / in),
                    FormatSeconds(TotalOf(typical)), Printable(Shorten(typical.text(), kDescriptionColumns))});
  }
  return FormatTable({"described from", "in", "out", "words", "words/in", "time", "answer"}, rows, {1, 2, 3, 4, 5});
}

Chart CostChart(const std::vector<MeasuredCost>& costs, const std::vector<Described>& sources) {
  return {.title = "What a question costs",
          .panels = {WhereTimeGoes(costs), InputTokens(costs), RelativeCost(costs), ImageOrDescription(sources)}};
}

}  // namespace diptych::cli
