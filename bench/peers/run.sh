#!/usr/bin/env bash
# Reproduces the README's table of latencies: whit against ONNX Runtime and OpenVINO
# on the same files, interleaved, one thread and two. The peers go into a virtual
# environment outside the repository.
#   bench/peers/run.sh MODEL.onnx [MODEL.onnx|MODEL.whit ...]
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${WHIT_PEERS:-${TMPDIR:-/tmp}/whit-peers}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q -r bench/peers/requirements.txt
CGO_ENABLED=0 go build -o whit ./cmd/whit
exec "$venv/bin/python" bench/peers/latency.py --whit ./whit "$@"
