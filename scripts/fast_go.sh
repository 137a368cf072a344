# shellcheck shell=bash disable=SC2034  # whoever sources this uses it
# Sourced: GOFLAGS for programs that only tests run. All have the same, so that Go's own library is compiled once for them.
fast_go="-p=2 '-gcflags=all=-N -l' '-ldflags=-s -w'"
