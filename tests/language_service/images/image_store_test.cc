#include "language_service/images/image_store.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "common/status.h"

namespace diptych::language {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using MaybeProjected = absl::StatusOr<std::shared_ptr<const QueryTokens>>;

std::shared_ptr<const QueryTokens> Projected(const std::string& key) {
  return std::make_shared<const QueryTokens>(QueryTokens{.key = key, .query_tokens = at::zeros({1, 4, 8})});
}

// A store whose pulls and projections end when the test says so. Thread-compatible.
class ImageStoreTest : public ::testing::Test {
 protected:
  struct Pull {
    std::shared_ptr<const ImageRequest> request;
    std::shared_ptr<const CallContext> call;
    ImagePull::Done done;
    int cancels = 0;
  };
  struct Projection {
    std::string key;
    bool with_attention;
    std::function<void(MaybeProjected)> done;
  };

  ImageStore::Steps Steps() {
    return {.pull =
                [this](auto request, auto call, auto done) {
                  pulls_.push_back(std::make_shared<Pull>(Pull{request, call, std::move(done)}));
                  return [pull = pulls_.back()] { ++pull->cancels; };
                },
            .project =
                [this](VisualTokens, std::string key, bool with_attention, auto done) {
                  projections_.push_back({std::move(key), with_attention, std::move(done)});
                }};
  }

  // How one request fared.
  struct Asked {
    std::shared_ptr<ImageStore::Wait> wait;
    std::vector<absl::StatusOr<ImageStore::Result>> outcomes;  // one at most
  };

  ImageRequest Request(const std::string& key, int64_t image_bytes = 10) {
    ImageRequest request;
    request.message.set_image(std::string(image_bytes, 'x'));
    request.expected = {.model_fingerprint = "f00d", .image_key = key, .tokens = 5, .width = 4, .image_size = 28};
    request.memory = *memory_.Take(image_bytes);
    return request;
  }

  std::shared_ptr<Asked> Ask(const std::string& key, SteadyTime deadline = SteadyTime::max()) {
    const auto asked = std::make_shared<Asked>();
    asked->wait = store_.Get(Request(key), deadline, [asked](auto image) { asked->outcomes.push_back(image); });
    return asked;
  }

  void StopWaiting(const std::shared_ptr<Asked>& asked) { store_.StopWaiting(asked->wait); }

  static void Pulled(const std::shared_ptr<Pull>& pull, VisionTimings timings = {}) {
    VisualTokens tokens;
    tokens.timings = timings;
    std::exchange(pull->done, nullptr)(tokens);
  }
  static void Failed(const std::shared_ptr<Pull>& pull, const absl::Status& error) {
    std::exchange(pull->done, nullptr)(error);
  }
  void EndProjection(size_t index) {
    std::exchange(projections_[index].done, nullptr)(Projected(projections_[index].key));
  }

  // Everything is given back and nothing flies.
  void ExpectIdle() {
    EXPECT_EQ(store_.stats().in_flight, 0);
    EXPECT_EQ(memory_.taken(), 0);
  }

  std::vector<std::shared_ptr<Pull>> pulls_;
  std::vector<Projection> projections_;
  ByteBudget memory_{1000};
  ImageStore store_{Steps(), 1 << 20};
};

TEST_F(ImageStoreTest, AImageIsPulledProjectedAndKept) {
  const auto first = Ask("a");
  ASSERT_EQ(pulls_.size(), 1u);
  EXPECT_EQ(pulls_[0]->request->expected.image_key, "a");
  Pulled(pulls_[0], {.vit = seconds(3)});
  EXPECT_TRUE(first->outcomes.empty());
  EndProjection(0);
  ASSERT_EQ(first->outcomes.size(), 1u);
  ASSERT_TRUE(first->outcomes[0].ok());
  EXPECT_EQ(first->outcomes[0]->image->key, "a");
  EXPECT_FALSE(first->outcomes[0]->cached);
  EXPECT_EQ(first->outcomes[0]->vision.vit, seconds(3));

  const auto second = Ask("a");
  ASSERT_EQ(second->outcomes.size(), 1u) << "a hit answers at once";
  EXPECT_EQ(second->wait, nullptr);
  EXPECT_TRUE(second->outcomes[0]->cached);
  EXPECT_EQ(second->outcomes[0]->image, first->outcomes[0]->image);
  EXPECT_EQ(second->outcomes[0]->vision.vit, SteadyDuration::zero());
  EXPECT_EQ(pulls_.size(), 1u);
  EXPECT_EQ(projections_.size(), 1u);
  EXPECT_EQ(store_.stats().hits, 1);
  EXPECT_EQ(store_.stats().queries, 2);
  ExpectIdle();
}

TEST_F(ImageStoreTest, RequestsForOneImageShareOneFlight) {
  const auto first = Ask("a");
  const auto while_pulled = Ask("a");
  const auto another = Ask("b");
  EXPECT_EQ(pulls_.size(), 2u);
  Pulled(pulls_[0]);
  const auto while_projected = Ask("a");
  EXPECT_EQ(pulls_.size(), 2u);
  EndProjection(0);
  for (const auto& asked : {first, while_pulled, while_projected}) {
    ASSERT_EQ(asked->outcomes.size(), 1u);
    EXPECT_TRUE(asked->outcomes[0].ok());
  }
  EXPECT_TRUE(another->outcomes.empty());
  EXPECT_EQ(store_.stats().joins, 2);
  StopWaiting(another);
  Failed(pulls_[1], absl::CancelledError(""));
  ExpectIdle();
}

TEST_F(ImageStoreTest, ARequestThatJoinsGivesItsImageBack) {
  Ask("a");
  const int64_t one = memory_.taken();
  Ask("a");
  EXPECT_EQ(memory_.taken(), one);
  Failed(pulls_[0], absl::InternalError(""));
  ExpectIdle();
}

TEST_F(ImageStoreTest, OneThatLeavesEndsNothingForTheOthers) {
  const auto leaver = Ask("a");
  const auto stayer = Ask("a");
  StopWaiting(leaver);
  StopWaiting(leaver);
  EXPECT_EQ(pulls_[0]->cancels, 0);
  EXPECT_FALSE(pulls_[0]->call->cancelled());
  Pulled(pulls_[0]);
  EndProjection(0);
  EXPECT_TRUE(leaver->outcomes.empty());
  ASSERT_EQ(stayer->outcomes.size(), 1u);
  EXPECT_TRUE(stayer->outcomes[0].ok());
  ExpectIdle();
}

TEST_F(ImageStoreTest, TheLastThatLeavesCancelsThePull) {
  const auto first = Ask("a");
  const auto second = Ask("a");
  StopWaiting(first);
  StopWaiting(second);
  EXPECT_EQ(pulls_[0]->cancels, 1);
  EXPECT_TRUE(pulls_[0]->call->cancelled());
  const auto newcomer = Ask("a");
  ASSERT_EQ(pulls_.size(), 2u) << "what is cancelled is not joined";
  Failed(pulls_[0], absl::CancelledError(""));
  EXPECT_TRUE(newcomer->outcomes.empty());
  Pulled(pulls_[1]);
  EndProjection(0);
  EXPECT_TRUE(newcomer->outcomes.at(0).ok());
  EXPECT_TRUE(first->outcomes.empty());
  ExpectIdle();
}

TEST_F(ImageStoreTest, AProjectionThatNobodyWaitsForIsKeptAllTheSame) {
  const auto leaver = Ask("a");
  Pulled(pulls_[0]);
  StopWaiting(leaver);
  EndProjection(0);
  EXPECT_TRUE(leaver->outcomes.empty());
  EXPECT_TRUE(Ask("a")->outcomes.at(0)->cached);
  ExpectIdle();
}

TEST_F(ImageStoreTest, AnErrorReachesAllAndIsNotKept) {
  const auto first = Ask("a");
  const auto second = Ask("a");
  const absl::Status corrupt = InvalidField(reason::kImageCorrupt, "image", "cut off");
  Failed(pulls_[0], corrupt);
  EXPECT_EQ(first->outcomes.at(0).status(), corrupt);
  EXPECT_EQ(second->outcomes.at(0).status(), corrupt);
  Ask("a");
  ASSERT_EQ(pulls_.size(), 2u);
  Pulled(pulls_[1]);
  std::exchange(projections_[0].done, nullptr)(absl::InternalError("not finite"));
  Ask("a");
  EXPECT_EQ(pulls_.size(), 3u);
  Failed(pulls_[2], absl::InternalError(""));
  ExpectIdle();
}

TEST_F(ImageStoreTest, AFlightHasTheLatestDeadlineOfThoseThatWait) {
  const SteadyTime now = SteadyClock::now();
  Ask("a", now + seconds(5));
  EXPECT_EQ(pulls_[0]->call->deadline(), now + seconds(5));
  Failed(pulls_[0], DeadlinePassed(Stage::kVit));
  ExpectIdle();
}

TEST_F(ImageStoreTest, ADeadlineEndsOnlyTheRequestsWhoseDeadlineItIs) {
  const SteadyTime now = SteadyClock::now();
  const auto hurried = Ask("a", now + seconds(5));
  const auto patient = Ask("a", now + seconds(50));
  const auto more_patient = Ask("a", now + seconds(60));
  Failed(pulls_[0], DeadlinePassed(Stage::kVisionQueue));
  EXPECT_EQ(hurried->outcomes.at(0).status(), DeadlinePassed(Stage::kVisionQueue));
  EXPECT_TRUE(patient->outcomes.empty());
  ASSERT_EQ(pulls_.size(), 2u) << "the others are pulled for again";
  EXPECT_EQ(pulls_[1]->call->deadline(), now + seconds(60));
  EXPECT_EQ(pulls_[1]->request, pulls_[0]->request);
  Pulled(pulls_[1]);
  EndProjection(0);
  EXPECT_TRUE(patient->outcomes.at(0).ok());
  EXPECT_TRUE(more_patient->outcomes.at(0).ok());
  ExpectIdle();
}

TEST_F(ImageStoreTest, WithoutRoomForTheTokensItRefusesBeforeThePull) {
  const ByteBudget::Lease others = *memory_.Take(950);
  const auto asked = Ask("a");  // 5 x 4 numbers of 4 bytes do not fit with them
  EXPECT_EQ(asked->wait, nullptr);
  EXPECT_EQ(asked->outcomes.at(0).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(asked->outcomes.at(0).status()), reason::kQueueFull);
  EXPECT_TRUE(pulls_.empty());
  EXPECT_EQ(memory_.taken(), 950);
}

TEST_F(ImageStoreTest, TheCacheStaysWithinItsBound) {
  ImageStore small(Steps(), 2000);
  for (const char* key : {"a", "b", "c", "d"}) {
    small.Get(Request(key), SteadyTime::max(), [](auto) {});
    Pulled(pulls_.back());
    EndProjection(projections_.size() - 1);
    EXPECT_LE(small.stats().cached_bytes, 2000);
  }
  EXPECT_GE(small.stats().cached, 1);
  EXPECT_LT(small.stats().cached, 4);
}

TEST(WithoutFirstTest, TakesTheStagesAwayInTheirOrder) {
  const VisionTimings whole{.image_decode = milliseconds(10),
                            .image_resize = milliseconds(20),
                            .queue = milliseconds(30),
                            .vit = milliseconds(40),
                            .cache_hit = true};
  EXPECT_EQ(WithoutFirst(whole, {}).image_decode, milliseconds(10));
  const VisionTimings part = WithoutFirst(whole, milliseconds(35));
  EXPECT_EQ(part.image_decode, SteadyDuration::zero());
  EXPECT_EQ(part.image_resize, SteadyDuration::zero());
  EXPECT_EQ(part.queue, milliseconds(25));
  EXPECT_EQ(part.vit, milliseconds(40));
  EXPECT_TRUE(part.cache_hit);
  EXPECT_EQ(WithoutFirst(whole, seconds(1)).vit, SteadyDuration::zero());
  EXPECT_EQ(WithoutFirst(whole, -seconds(1)).image_decode, milliseconds(10));
}

// Many threads ask, leave and come back while pulls end, fail and are cancelled on threads of their own.
TEST(ImageStoreRaceTest, EveryRequestGetsOneOutcomeOrHasLeft) {
  constexpr int kThreads = 8;
  constexpr int kRequests = 300;
  std::mutex mutex;
  std::vector<std::thread> vision;
  const auto later = [&](std::function<void()> run) {
    std::lock_guard lock(mutex);
    vision.emplace_back(std::move(run));
  };
  ByteBudget memory(int64_t{1} << 40);
  std::atomic<int> outcomes = 0, left_unanswered = 0;
  {
    ImageStore store({.pull =
                          [&](auto request, auto call, auto done) {
                            later([call, done, fails = request->message.image().size() % 3 == 0] {
                              std::this_thread::yield();
                              if (call->cancelled()) return done(absl::CancelledError(""));
                              if (fails) return done(absl::UnavailableError(""));
                              done(VisualTokens());
                            });
                            return [] {};
                          },
                      .project = [&](VisualTokens, std::string key, bool,
                                     auto done) { later([key, done] { done(Projected(key)); }); }},
                     2000);
    std::vector<std::thread> callers;
    for (int t = 0; t < kThreads; ++t) {
      callers.emplace_back([&, t] {
        std::mt19937 random(t);
        for (int i = 0; i < kRequests; ++i) {
          ImageRequest request;
          request.message.set_image(std::string(random() % 9, 'x'));
          request.expected.image_key = std::string(1, 'a' + random() % 5);
          request.memory = *memory.Take(8);
          const auto answered = std::make_shared<std::atomic<int>>(0);
          const auto wait = store.Get(std::move(request), SteadyTime::max(), [&outcomes, answered](auto) {
            ++*answered;
            ++outcomes;
          });
          if (random() % 2 == 0) {
            if (wait != nullptr) store.StopWaiting(wait);
            continue;
          }
          while (*answered == 0) std::this_thread::yield();
          if (*answered != 1) ++left_unanswered;
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
  // One that has ended a flight may still be about to note the thread that it started.
  for (;;) {
    std::vector<std::thread> ending;
    {
      std::lock_guard lock(mutex);
      ending.swap(vision);
    }
    if (ending.empty()) break;
    for (std::thread& thread : ending) thread.join();
  }
  EXPECT_EQ(left_unanswered, 0);
  EXPECT_GT(outcomes, 0);
  EXPECT_EQ(memory.taken(), 0);
}

}  // namespace
}  // namespace diptych::language
