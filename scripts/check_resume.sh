#!/usr/bin/env bash
# Runs configs/tiny.toml undisturbed, and killed (kill -9) while it trains, samples and searches: the same bytes?
set -euo pipefail
cd "$(dirname "$0")/.."
sartor=${SARTOR:-target/release/sartor}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# usage: run FOLDER
run() { "$sartor" run configs/tiny.toml --set "run.folder='$work/$1'" --threads 2; }

# Every file but the ones that hold times (timings, and the page that shows them) and the lock's process number.
digest() {
  (cd "$work/$1" && find . -type f ! -name timings.json ! -name report.html ! -name lock -print0 | sort -z | xargs -0 sha256sum)
}

run undisturbed
for delay in ${DELAYS:-5 10 16 24}; do
  "$sartor" run configs/tiny.toml --set "run.folder='$work/killed'" --threads 2 & pid=$!
  sleep "$delay"
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
done
run killed
diff <(digest undisturbed) <(digest killed) || { echo "a killed and resumed run differs"; exit 1; }
echo "resume: the same bytes"
