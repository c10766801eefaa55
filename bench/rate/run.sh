#!/usr/bin/env bash
# Rate against distortion without retraining: whit's method rdo and NNCodec's dependent quantisation on the same pruned networks. The peer goes into
# a virtual environment outside the repository (it compiles for a minute); it is pinned, and swept over its parameters.
#   bench/rate/run.sh OUT [MODEL.onnx ...]
# Without models it takes LeNet-300-100 and LeNet-5 as whit demo trains them, pruned by the recipes that come with whit, less their last step.
# OUT/NAME.peer/kl.csv, OUT/NAME.whit.csv and, of rdo with dependent levels, OUT/NAME.dependent.csv hold bytes, divergence in nats, test error, setting; table.py prints the comparison.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$1
shift
mkdir -p "$out"
venv=${WHIT_NNCODEC:-${TMPDIR:-/tmp}/whit-nncodec}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q -r bench/rate/requirements.txt
"$venv/bin/pip" install -q --no-deps --no-build-isolation nncodec==2.1.3
export CGO_ENABLED=0
go build -o "$out/whit" ./cmd/whit
go build -o "$out/rate" ./bench/rate
if [ $# = 0 ]; then
  for arch in lenet300 lenet5; do
    "$out/whit" demo --arch "$arch" --seed 1 --dir "$out/$arch.demo"
    sed '/method: rdo/,/^paper:/d; /^  \(source\|stages\):/,$d' "recipes/deep-compression-$arch.yaml" >"$out/$arch.yaml"
    "$out/whit" compress "$out/$arch.demo/dense.onnx" --data mnist --recipe "$out/$arch.yaml" --seed 1 -o "$out/$arch.pruned.whit" --onnx "$out/$arch.onnx"
    set -- "$@" "$out/$arch.onnx"
  done
fi
for model; do
  name=$(basename "$model" .onnx)
  "$out/rate" dump "$model" "$out/$name.npz"
  "$venv/bin/python" bench/rate/peer.py "$out/$name.npz" "$out/$name.peer"
  "$out/rate" kl "$model" "$out/$name.peer"
  "$out/rate" rdo "$model" 5e-5 1e-4 3e-4 1e-3 >"$out/$name.whit.csv"
  "$out/rate" rdo "$model" dependent=1 5e-5 1e-4 3e-4 1e-3 >"$out/$name.dependent.csv"
  for form in whit dependent; do
    echo "$name, $form"
    python3 bench/rate/table.py "$out/$name.peer/kl.csv" "$out/$name.$form.csv"
  done
done
