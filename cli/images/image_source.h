// The source of a question's image.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace diptych::cli {

// A source is a file, a pipe, "-" for standard input, or an https address.

// Looks without reading: an error in plain words for a file that does not exist, is a folder or may not be read, and
// for an address that is not https. Messages name the source.
absl::Status CheckImageSource(const std::string& source);

// The bytes, 256 MiB at most: the most that a gateway can be told to take. What cannot be read twice (a pipe, standard
// input, an address) is read once and kept, so that several questions may be about it, and so is why it could not be
// read. Errors as above; and, for an address, why it could not be fetched. Waits, until Ctrl-C (CANCELLED).
// Thread-safe.
absl::StatusOr<std::string> ReadImage(const std::string& source);

// What could not be read is tried again from now on. Thread-safe.
void ForgetUnreadableImages();

// Its name in tables: a file's name without its folder, "stdin", or the last part of an address.
std::string NameOfImage(const std::string& source);

}  // namespace diptych::cli
