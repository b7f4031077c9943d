#!/usr/bin/env bash
# Runs configs/tiny.toml on two threads and on one: both must leave the same bytes, and the real runtime must agree
# with the integer executor. scripts/check_resume.sh does the same for a run that is killed.
set -euo pipefail
cd "$(dirname "$0")/.."
sartor=${SARTOR:-target/release/sartor}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# usage: run FOLDER THREADS
run() { "$sartor" run configs/tiny.toml --set "run.folder='$work/$1'" --threads "$2"; }

# Every file but the ones that hold times (timings, and the page that shows them) and the lock's process number.
digest() {
  (cd "$work/$1" && find . -type f ! -name timings.json ! -name report.html ! -name lock -print0 | sort -z | xargs -0 sha256sum)
}

begin=$SECONDS
run two 2
echo "tiny pipeline: $((SECONDS - begin)) s on two threads"
run one 1

diff <(digest two) <(digest one)    || { echo "one and two threads differ"; exit 1; }
verify=$(find "$work/two/models" -name verify.json)
[ -n "$verify" ] || { echo "no verify.json"; exit 1; }
for file in $verify; do
  grep -Eq '"same": *true' "$file" || { echo "not the same network in the runtime: $file"; cat "$file"; exit 1; }
done
# Every format whose runtime computes what the file says; a missing runtime is an error, as is another network. (LiteRT's fast
# int4 kernels round differently from its reference kernels, which flips near-ties of networks as barely trained as these.)
"$sartor" export --run "$work/one" --format onnx --format onnx-compact --format tflite --format c
"$sartor" verify --run "$work/one" --set verify.required=true
[ -s "$work/two/report.html" ] || { echo "no report"; exit 1; }
echo "end to end: artefacts equal at 1 and 2 threads; the runtime computes the same network"
