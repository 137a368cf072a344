// Any texts as a tokenizer's files, and one more to encode, separated by lines of "%%". A tokenizer that is accepted
// must keep to its vocabulary and give the same text piece by piece as at once; a refusal must be one printable line.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/tokenizer/tokenizer.h"
#include "common/text/utf8.h"
#include "tests/fuzz/checkpoint_files.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::tokenizer {
namespace {

using diptych::blip2::StreamDecoder;
using diptych::blip2::Tokenizer;

constexpr const char* kFiles[] = {"tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"};

void CheckIds(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  StreamDecoder stream(tokenizer);
  std::string streamed;
  for (const int64_t id : ids) {
    Require(id >= 0 && id < tokenizer.vocab_size());
    streamed += stream.Push(id);
  }
  streamed += stream.Finish();
  Require(streamed == tokenizer.Decode(ids) && diptych::IsValidUtf8(streamed));
}

}  // namespace

DIPTYCH_FUZZ_TARGET(tokenizer) {
  static const diptych::fuzz::Folder kFolder;
  std::string_view input = diptych::fuzz::TextOf(data, size);
  diptych::fuzz::WriteParts(input, kFiles, kFolder.path);
  const auto tokenizer = Tokenizer::Load(kFolder.path);
  if (!tokenizer.ok()) {
    diptych::fuzz::RequirePrintable(tokenizer.status());
    return 0;
  }
  const std::vector<int64_t> ids = tokenizer->Encode(input);
  for (const int64_t id : ids) Require(!tokenizer->IsSpecial(id));
  CheckIds(*tokenizer, ids);
  CheckIds(*tokenizer, tokenizer->EncodeWithSpecialTokens(input));
  return 0;
}

}  // namespace diptych::fuzz::tokenizer
