#!/usr/bin/env bash
# Starts the three processes with the bundled model, asks true questions about a bundled image, stops.
set -euo pipefail
cd "$(dirname "$0")/.."
stack_name=demo
. scripts/stack.sh

trap stack_down EXIT
trap 'exit 130' INT TERM

images=(models/demo/samples/*.png)
image=${images[0]}
stack_say "starting vision_service, language_service and gateway with ${MODEL:-models/demo}"
stack_up
stack_say "the gateway answers on $GATEWAY; the image is $image"

# ask HEADING OPTION…: one streamed answer
ask() {
  printf '\n\033[1m> %s\033[0m\n' "$1"
  "$stack_bin/diptych" ask --server "$GATEWAY" --image "$image" --stream "${@:2}"
}
ask "(no question: the caption)"
for question in "How many shapes are there?" "What color is the circle?"; do
  ask "$question" --question "$question"
done

printf '\nEvery sample image:\n'
"$stack_bin/diptych" ask --server "$GATEWAY" --image "${images[@]}" \
  --question "What color is the circle?" --question "How many shapes are there?"

printf '\n'
stack_say "done. make serve keeps it running; README.md says what to try next."
