#include "language_service/engine/token_delivery.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "common/containers/bounded_queue.h"

namespace diptych::language {
namespace {

// Readers of many streams, which take more on threads of their own, as gRPC's do.
class Readers {
 public:
  Readers(int streams, int threads) : ended_(streams), texts_(static_cast<size_t>(streams)) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { TakeMore(); });
  }
  ~Readers() { Stop(); }

  std::shared_ptr<TokenStream> Open(size_t index) {
    auto stream = std::make_shared<TokenStream>(
        TokenStream::Reader{.on_delta = [this, index](TokenDelta delta) { OnDelta(index, delta); },
                            .on_end =
                                [this](const absl::StatusOr<GenerateResult>& result) {
                                  well_ += result.ok() ? 1 : 0;
                                  ended_.count_down();
                                }});
    streams_.push_back(stream);
    return stream;
  }

  void AwaitEnds() { ended_.wait(); }
  void Stop() {
    ready_.Close();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  const std::string& text(size_t index) const { return texts_[index]; }
  int well() const { return well_; }

 private:
  // One at a time for each stream: the reader is busy until Next.
  void OnDelta(size_t index, const TokenDelta& delta) {
    texts_[index] += delta.text;
    ready_.TryPush(std::move(index));
  }
  void TakeMore() {
    while (const auto index = ready_.Pop()) streams_[*index]->Next();
  }

  std::latch ended_;
  std::vector<std::string> texts_;
  std::vector<std::shared_ptr<TokenStream>> streams_;  // whole before the first delta
  std::atomic<int> well_ = 0;
  BoundedQueue<size_t> ready_{1 << 20};
  std::vector<std::thread> threads_;
};

TokenDelta Numbered(int64_t id) {
  TokenDelta delta{.text = std::to_string(id) + " ", .tokens = {}};
  delta.tokens.push_back({.id = id});
  return delta;
}

TEST(TokenDeliveryTest, EveryReaderGetsAllInOrderAndThenItsEnd) {
  constexpr size_t kStreams = 64;
  constexpr int kTokens = 200;
  std::string all;
  for (int id = 0; id < kTokens; ++id) all += std::to_string(id) + " ";

  Readers readers(kStreams, 3);
  TokenDelivery delivery;
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (size_t i = 0; i < kStreams; ++i) streams.push_back(readers.Open(i));
  for (const auto& stream : streams) {
    stream->DeliverOn(delivery);
    stream->Next();
  }
  for (int id = 0; id < kTokens; ++id) {
    for (const auto& stream : streams) stream->Push(Numbered(id));
  }
  for (const auto& stream : streams) stream->End(GenerateResult());
  streams.clear();
  readers.AwaitEnds();
  readers.Stop();
  for (size_t i = 0; i < kStreams; ++i) EXPECT_EQ(readers.text(i), all) << i;
  EXPECT_EQ(readers.well(), static_cast<int>(kStreams));
}

TEST(TokenDeliveryTest, ReadersThatLeaveInBetweenStillGetTheirEnd) {
  constexpr size_t kStreams = 64;
  Readers readers(kStreams, 2);
  TokenDelivery delivery;
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (size_t i = 0; i < kStreams; ++i) streams.push_back(readers.Open(i));
  for (const auto& stream : streams) {
    stream->DeliverOn(delivery);
    stream->Next();
  }
  std::thread leaving([&] {
    for (size_t i = 0; i < kStreams; i += 2) streams[i]->Abandon();
  });
  for (int id = 0; id < 50; ++id) {
    for (const auto& stream : streams) {
      stream->Push(Numbered(id));
      EXPECT_GE(stream->unread_tokens(), 0);
    }
  }
  leaving.join();
  for (const auto& stream : streams) stream->End(absl::CancelledError("gone"));
  readers.AwaitEnds();
  EXPECT_EQ(readers.well(), 0);
}

TEST(TokenDeliveryTest, DeliversWhatWasAddedBeforeItEnds) {
  Readers readers(1, 1);
  const auto stream = readers.Open(0);
  {
    TokenDelivery delivery;
    stream->DeliverOn(delivery);
    stream->Next();
    stream->End(GenerateResult());
  }
  readers.AwaitEnds();
  EXPECT_EQ(readers.well(), 1);
}

}  // namespace
}  // namespace diptych::language
