// A replica of the language tier under load: all sequences share its steps, and the more there are the longer one
// takes.
#pragma once

#include "cli/capacity/distribution.h"

namespace diptych::cli {

struct LanguageReplica {
  double step_seconds = 0;     // of a pass of the decoder, however many rows it has
  double row_seconds = 0;      // more for each token in it, of a prompt or an answer; above 0
  double qformer_seconds = 0;  // of an image that is not in the cache
  int max_batch = 32;          // sequences

  double StepSeconds(double rows) const { return step_seconds + row_seconds * rows; }
};

struct LanguageLoad {
  double questions_per_second = 0;
  double images = 0;         // of a question, that are not in the cache
  double prompt_tokens = 1;  // with the images'
  double new_tokens = 1;
  double length_variation = 0;   // of answers: standard deviation divided by mean, 0 to 1
  double arrival_variation = 1;  // of the number that arrive in a time: variance by mean; 1: at random moments
};

// Questions a second that end while so many are inside; as many as full batches could take, if more are. Requires:
// inside > 0.
double QuestionsThatEnd(const LanguageReplica& replica, const LanguageLoad& load, int inside);

// Share of the questions a second that full batches could take.
double LanguageUtilization(const LanguageReplica& replica, const LanguageLoad& load);

struct LanguageSeconds {
  Distribution first_token, answer;  // since the question has all its images
};

// Processor sharing whose rate depends on how many share it. How many there are does not depend on how answer lengths
// are spread (Kelly 1979); how long one takes is followed through the chain of (questions inside, part of the answer
// that is done). The images that came during a step go through the Q-Former before the next. Requires
// LanguageUtilization below 1.
LanguageSeconds LanguageTimes(const LanguageReplica& replica, const LanguageLoad& load);

}  // namespace diptych::cli
