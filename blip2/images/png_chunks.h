// The chunks of a PNG, read as Pillow 13 reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace diptych::blip2 {

struct PngChunk {
  std::string_view name;     // four letters, digits or underscores
  std::string_view payload;  // what the file has of it
  bool whole = false;        // the file has all of it
  bool sound = false;        // it has the checksum, too, and the right one, if that was asked for
};

// Walks the chunks of a PNG file, which is to outlive it. Not thread-safe.
class PngChunks {
 public:
  explicit PngChunks(std::string_view file) : rest_(file.substr(kSignatureBytes < file.size() ? kSignatureBytes : 0)) {}

  // The next chunk. Nothing at the end of the file, and where no chunk's name stands. A checksum costs a pass over the
  // payload.
  std::optional<PngChunk> Next(bool with_checksum = false);

  static constexpr size_t kSignatureBytes = 8;

 private:
  std::string_view rest_;
};

// A PNG file less all that no pixel depends on: header, palette, transparency and the chunks of data, as far as the
// file has them, with zeros for checksums. Not thread-safe.
class PngPixelStream {
 public:
  // Nothing if a chunk before the data is damaged, there is no data, or no palette where one is needed. Takes time
  // linear in the file. Requires: CheckImage took `file`, which outlives the stream.
  static std::optional<PngPixelStream> Open(std::string_view file);

  // Copies the stream's next `count` bytes. False if it has fewer left.
  bool Read(uint8_t* to, size_t count);

 private:
  explicit PngPixelStream(std::string_view file) : chunks_(file) {}

  bool NextData();

  std::string frame_;  // what stands before the chunk's data
  size_t frame_read_ = 0;
  std::string_view data_;  // what is left of the chunk's data
  PngChunks chunks_;       // what follows the chunk
};

}  // namespace diptych::blip2
