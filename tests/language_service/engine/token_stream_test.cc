#include "language_service/engine/token_stream.h"

#include <gtest/gtest.h>

namespace diptych::language {
namespace {

// Writes down what it gets and takes more only when the test says so.
struct Recorder {
  std::vector<TokenDelta> deltas;
  std::optional<absl::StatusOr<GenerateResult>> end;
  TokenStream stream{{.on_delta = [this](TokenDelta delta) { deltas.push_back(std::move(delta)); },
                      .on_end = [this](absl::StatusOr<GenerateResult> result) { end = std::move(result); }}};
};

TokenDelta Delta(const std::string& text, int64_t id) {
  TokenDelta delta{.text = text, .tokens = {}};
  delta.tokens.push_back({.id = id});
  return delta;
}

TEST(TokenStreamTest, AReadyReaderGetsEachDeltaAtOnce) {
  Recorder recorder;
  recorder.stream.Next();
  recorder.stream.Push(Delta("a", 1));
  ASSERT_EQ(recorder.deltas.size(), 1u);
  recorder.stream.Next();
  recorder.stream.Push(Delta("b", 2));
  ASSERT_EQ(recorder.deltas.size(), 2u);
  EXPECT_EQ(recorder.deltas[1].text, "b");
}

TEST(TokenStreamTest, ABusyReaderGetsWhatWaitsInOnePiece) {
  Recorder recorder;
  recorder.stream.Push(Delta("a", 1));
  recorder.stream.Push(Delta("b", 2));
  recorder.stream.Push(Delta("c", 3));
  EXPECT_TRUE(recorder.deltas.empty());
  recorder.stream.Next();
  ASSERT_EQ(recorder.deltas.size(), 1u);
  EXPECT_EQ(recorder.deltas[0].text, "abc");
  ASSERT_EQ(recorder.deltas[0].tokens.size(), 3u);
  EXPECT_EQ(recorder.deltas[0].tokens[2].id, 3);
}

TEST(TokenStreamTest, CountsTheTokensThatWaitForTheReader) {
  Recorder recorder;
  EXPECT_EQ(recorder.stream.unread_tokens(), 0);
  recorder.stream.Push(Delta("a", 1));
  recorder.stream.Push(Delta("b", 2));
  EXPECT_EQ(recorder.stream.unread_tokens(), 2);
  recorder.stream.Next();
  EXPECT_EQ(recorder.stream.unread_tokens(), 0);
  recorder.stream.Push(Delta("c", 3));
  EXPECT_EQ(recorder.stream.unread_tokens(), 1) << "the reader has not asked for more yet";
}

TEST(TokenStreamTest, TheEndComesAfterTheLastDelta) {
  Recorder recorder;
  recorder.stream.Push(Delta("a", 1));
  recorder.stream.End(absl::InternalError("broken"));
  EXPECT_FALSE(recorder.end.has_value());
  recorder.stream.Next();
  EXPECT_EQ(recorder.deltas.size(), 1u);
  EXPECT_FALSE(recorder.end.has_value());
  recorder.stream.Next();
  ASSERT_TRUE(recorder.end.has_value());
  EXPECT_EQ(recorder.end->status().code(), absl::StatusCode::kInternal);
}

TEST(TokenStreamTest, AnAbandonedStreamStillEnds) {
  Recorder recorder;
  recorder.stream.Push(Delta("a", 1));
  recorder.stream.Abandon();
  recorder.stream.Push(Delta("b", 2));
  recorder.stream.End(GenerateResult());
  recorder.stream.Next();
  EXPECT_TRUE(recorder.deltas.empty());
  EXPECT_TRUE(recorder.end.has_value());
}

}  // namespace
}  // namespace diptych::language
