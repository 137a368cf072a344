// How many files and connections this process may have open, and who gets how many of them.
#pragma once

namespace diptych {

// The limit on open descriptors, raised as far as is allowed and useful, to 8,192: the shell's usual one is too low for
// a server. gRPC's connections take the lowest five eighths, those of HTTP as many as two eighths at most; the rest is
// for the process's own, above all its connections to the tiers, which are renewed all the time.
int DescriptorLimit();

}  // namespace diptych
