#!/usr/bin/env bash
# Installs ONNX Runtime, the ONNX checker and LiteRT into a folder of the project's own.
# usage: scripts/install_runtime.sh FOLDER
set -euo pipefail
folder=${1:?usage: install_runtime.sh FOLDER}
if [ ! -x "$folder/bin/python" ]; then
  python3 -m venv "$folder" || {
    apt-get update -q && apt-get install -y -q python3-venv
    python3 -m venv "$folder"
  }
fi
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "onnxruntime==1.31.*" "onnx==1.23.*" "ai-edge-litert==2.3.*" numpy
