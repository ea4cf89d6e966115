#!/usr/bin/env bash
# Runs an installed clef-jax in a folder of its own, which holds nothing of this repository.
# Usage: try_wheel.sh BIN, the folder of the environment's programs.
set -euo pipefail
clef_jax="$1/clef-jax"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$clef_jax" --version
"$clef_jax" demo --help
"$clef_jax" simulate --patients=16 --records-per-patient=1.5 --out=raw
"$clef_jax" prepare --dataset=mimic_iv_ecg --source=raw --data-dir=data --workers=1
"$clef_jax" train --size=tiny --data-dir=data --workdir=run --num-steps=4 --global-batch-size=8
"$clef_jax" embed --model=run --input raw/files --out=embeddings.parquet
test -s embeddings.parquet
