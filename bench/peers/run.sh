#!/usr/bin/env bash
# Reproduces the README's tables of latencies: whit against ONNX Runtime and OpenVINO
# on the same files, interleaved, one thread and two. The peers go into a virtual
# environment outside the repository.
#   bench/peers/run.sh [--prune|--more] [--svg PLOT.svg] [MODEL.onnx|MODEL.whit ...]
# Without models it writes the nine networks of networks.py and their int8 forms into
# $WHIT_NETWORKS (default: a folder of $TMPDIR, about 900 MB) and times those; with
# --prune it prunes three of them to 90% zeros and times these; with --more it writes and
# times twelve others of the same kinds.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${WHIT_PEERS:-${TMPDIR:-/tmp}/whit-peers}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q -r bench/peers/requirements.txt
CGO_ENABLED=0 go build -o whit ./cmd/whit
models= pruned= more=
case ${1:-} in
--prune) pruned=yes && shift ;;
--more) more=--more && shift ;;
esac
for a in "$@"; do
  case $a in *.onnx | *.whit) models=given ;; esac
done
if [ -z "$models" ]; then
  nets=${WHIT_NETWORKS:-${TMPDIR:-/tmp}/whit-networks}
  if [ -n "$pruned" ]; then
    "$venv/bin/python" bench/peers/networks.py --prune "$nets" resnet50 mobilenetv2 vgg16
    set -- "$@" "$nets"/{resnet50,mobilenetv2,vgg16}.pruned.onnx
  else
    names="lenet5 squeezenet1_1 mobilenetv2 shufflenetv2 resnet18 resnet50 vgg16 edsr pnet"
    [ -z "$more" ] || names="squeezenet1_0 mobilenetv1 mobilenetv3 efficientnetb0 resnet34 resnet20 vgg11 densenet121 rnet onet espcn srcnn"
    "$venv/bin/python" bench/peers/networks.py $more "$nets" $names
    for name in $names; do
      set -- "$@" "$nets/$name.onnx" "$nets/$name.int8.onnx"
    done
  fi
fi
exec "$venv/bin/python" bench/peers/latency.py --whit ./whit "$@"
