#!/usr/bin/env bash
# Reproduces the README's table of coders: whit (small and fast) against the Deep
# Compression paper's relative indices under Huffman codes, zstd -19, xz -9 and NNCodec,
# on the integer arrays of .npz files. The peers go into a virtual environment outside
# the repository; NNCodec compiles for some minutes.
#   bench/coders/run.sh [--best] [--no-nncodec] [--rounds N] FOLDER|FILE.npz ...
# --best lets NNCodec try all scan orders, row skipping, parameter optimisation and unary
# lengths, as slow as that is, and takes the smallest.
set -euo pipefail
venv=${WHIT_CODERS:-${TMPDIR:-/tmp}/whit-coders}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
cd "$(dirname "$0")/../.."
"$venv/bin/pip" install -q -r bench/coders/requirements.txt
nncodec=yes args=()
for a in "$@"; do
  case $a in
    --no-nncodec) nncodec= ;;
    *) args+=("$a") ;;
  esac
done
if [ -n "$nncodec" ]; then
  # The codec alone, without the frameworks that it binds to.
  "$venv/bin/pip" install -q setuptools==65.5.0 wheel==0.48.0 pybind11==3.1.0 click==8.5.1 tqdm==4.70.1
  "$venv/bin/pip" install -q --no-deps --no-build-isolation nncodec==2.1.3
  args+=(--nncodec)
fi
CGO_ENABLED=0 go build -o whit ./cmd/whit
exec "$venv/bin/python" bench/coders/coders.py --whit ./whit "${args[@]}"
