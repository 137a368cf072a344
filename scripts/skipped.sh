#!/usr/bin/env bash
# Lists what the last run of ctest skipped, and why: scripts/skipped.sh [LOG]
set -euo pipefail
cd "$(dirname "$0")/.."
script=skipped
. scripts/say.sh
log=${1:-build/release/Testing/Temporary/LastTest.log}
[ -e "$log" ] || exit 0

# Ours print "skipped: REASON", GoogleTest prints "Skipped" and the reason on the next line, unittest only a count.
awk '
  /^[0-9]+\/[0-9]+ Test: / { test = $3; told = 0 }
  /^[.sEF]*skipped: / { sub(/^.*skipped: /, ""); print test ": " $0; told = 1 }
  /^OK \(skipped=/ && !told { sub(/^OK /, ""); print test ": some of its cases " $0 "; its output with -v has the reasons" }
  googletest { print test ": " $0; googletest = 0 }
  /^[^ ]+:[0-9]+: Skipped$/ { googletest = 1 }
' "$log" | sort -u | while IFS= read -r line; do say "$line"; done
