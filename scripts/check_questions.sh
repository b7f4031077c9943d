#!/usr/bin/env bash
# Asks a finished run everything that can be asked without training: equal answers at one and two threads, exit code 3
# for what nothing can meet, 2 for what makes no sense, and nothing of the run changed.
# usage: scripts/check_questions.sh RUN_FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
sartor=${SARTOR:-target/release/sartor}
run=${1:?usage: scripts/check_questions.sh RUN_FOLDER}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Answers without their times.
ask() { "$sartor" "$@" --run "$run" --json | tail -n 1 | sed -E 's/"seconds":[^,}]*//g'; }
digest() { (cd "$run" && find . -type f ! -name lock -print0 | sort -z | xargs -0 sha256sum); }
code() { local got=0; "$sartor" "$@" --run "$run" >/dev/null 2>&1 || got=$?; echo "$got"; }
expect() { [ "$1" = "$2" ] || { echo "expected exit code $2, got $1: $3"; exit 1; }; }

before=$(digest)
for threads in 1 2; do
  out="$work/$threads"
  mkdir -p "$out"
  {
    ask search --hardware bitfusion-apq --hardware bitfusion-public --threads $threads
    ask retarget --hardware bitfusion-public --threads $threads
    ask portfolio --hardware bitfusion-apq --hardware bitfusion-public --loss 1 --threads $threads
    ask front --out "$work/front" --threads $threads
    ask compare --seeds 2 --evaluations 600 --out "$work/compare" --threads $threads
  } > "$out/answers"
  cp "$work/front/front.csv" "$work/compare/compare.csv" "$out"
done
diff -r "$work/1" "$work/2" || { echo "one and two threads differ"; exit 1; }
[ "$before" = "$(digest)" ] || { echo "a question changed the run"; exit 1; }
expect "$(code search --latency-ms 0.000001)" 3 "an impossible latency"
expect "$(code search --latency-ms 0)" 2 "a latency of zero"
expect "$(code search --energy-mj=-1)" 2 "a negative energy"
expect "$(code search --hardware bitfusion-apq:latency_ms=5,latency_ms=6)" 2 "one metric limited twice"
echo "questions: equal answers at 1 and 2 threads, nothing changed"
