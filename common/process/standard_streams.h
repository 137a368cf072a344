// The descriptors 0, 1 and 2 of a process.
#pragma once

namespace diptych {

// Opens /dev/null as those of them that the caller of the process closed: else the next file or connection would get
// the number, and what is read from standard input or printed would come from it or go into it. A program that links
// this runs it before anything else; main calls it so that it is linked.
void OpenStandardStreams();

}  // namespace diptych
