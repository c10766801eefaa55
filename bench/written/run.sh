#!/usr/bin/env bash
# Shows that the ONNX files that whit writes mean the same elsewhere: networks with a third of their channels
# removed, and quantised to 8 bits, loaded by ONNX Runtime and compared with whit's outputs. Prints a table; exit 1 where
# any differs. The peers go into a virtual environment outside the repository.
#   bench/written/run.sh [MODEL.onnx ...]
# Without models it takes the nine networks of bench/peers/networks.py, written into $WHIT_NETWORKS (default: a
# folder of $TMPDIR) if they are not there, and a ResNet-20 that whit makes.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/../.."
venv=${WHIT_PEERS:-${TMPDIR:-/tmp}/whit-peers}
[ -x "$venv/bin/python" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install -q -r bench/peers/requirements.txt; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
models=()
for m in "$@"; do models+=("$(cd "$here" && realpath "$m")"); done
if [ $# = 0 ]; then
  nets=${WHIT_NETWORKS:-${TMPDIR:-/tmp}/whit-networks}
  "$venv/bin/python" bench/peers/networks.py "$nets"
  for name in lenet5 squeezenet1_1 mobilenetv2 shufflenetv2 resnet18 resnet50 vgg16 edsr pnet; do models+=("$nets/$name.onnx"); done
  CGO_ENABLED=0 go run ./bench/written -zoo resnet20 -out "$work/zoo"
  models+=("$work/zoo/resnet20.onnx")
fi
mkdir -p "$work/files"
for m in "${models[@]}"; do # one at a time: the files are large
  CGO_ENABLED=0 go run ./bench/written -out "$work/files" "$m"
done
"$venv/bin/python" bench/written/compare.py "$work/files"
