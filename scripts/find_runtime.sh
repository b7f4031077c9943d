#!/usr/bin/env bash
# Prints the path of libonnxruntime.so inside a folder made by install_runtime.sh.
# usage: scripts/find_runtime.sh FOLDER
set -euo pipefail
folder=$(cd "${1:?usage: find_runtime.sh FOLDER}" && pwd)
library=$(find "$folder" -name 'libonnxruntime.so*' -not -name '*providers*' | sort | tail -n 1)
[ -n "$library" ] || { echo "no libonnxruntime.so under $folder" >&2; exit 1; }
echo "$library"
