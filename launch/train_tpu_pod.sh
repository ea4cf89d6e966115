#!/usr/bin/env bash
# Trains on all hosts of a TPU slice of TPU VMs.
#
#   launch/train_tpu_pod.sh install
#   launch/train_tpu_pod.sh start --data-dir=DIR --workdir=DIR [--flag=value ...]
#   launch/train_tpu_pod.sh status
#   launch/train_tpu_pod.sh stop
#
# `install` copies the committed state of this repository to each host and installs it. `start`
# starts the training in the background of each host, independent of this connection. `status`
# prints for each host whether it trains, and its last lines. `stop` saves and ends the training.
# `start` again, on the same slice or a new one, resumes. The folders must be on storage that all
# hosts share under the same path, for example Filestore. Requires gcloud with credentials, and
# environment variables:
#   TPU   name of the slice
#   ZONE  zone of the slice, for example us-west4-a
# Optional variables: PROJECT (default of gcloud), PYTHON_VERSION (3.11).
# --dry-run prints the commands instead of running them.
#
# Create the slice first, which may take from an hour to a week:
#   gcloud compute tpus queued-resources create NAME --node-id=NAME --zone=ZONE --spot \
#       --accelerator-type=v5litepod-256 --runtime-version=v2-alpha-tpuv5-lite
# (v5p-128 with v2-alpha-tpuv5, v6e-256 with v2-alpha-tpuv6e). Use GKE for several slices.
set -euo pipefail
# shellcheck source=launch/_command.sh
source "$(dirname "$0")/_command.sh"

read_arguments 1 "$@"
need TPU ZONE
where=("--zone=$ZONE" --worker=all)
if [ -n "${PROJECT:-}" ]; then where+=("--project=$PROJECT"); fi

on_all_hosts() {  # runs $1 on all hosts, instead of this script
  run gcloud compute tpus tpu-vm ssh "$TPU" "${where[@]}" "--command=$1"
}

install() {
  local archive=clef_jax.tar.gz python=${PYTHON_VERSION:-3.11}
  local pack=(git -C "$(dirname "$0")/.." archive --format=tar.gz "--output=${TMPDIR:-/tmp}/$archive" HEAD)
  local copy=(gcloud compute tpus tpu-vm scp "${TMPDIR:-/tmp}/$archive" "$TPU:$archive" "${where[@]}")
  if $dry_run; then
    quoted "${pack[@]}"
    quoted "${copy[@]}"
  else
    "${pack[@]}"
    "${copy[@]}"
  fi
  # uv installs Python, because that of TPU VMs is too old.
  on_all_hosts "set -e; mkdir -p clef_jax; rm -rf clef_jax/clef_jax clef_jax/datasets; \
    tar -xzf $archive -C clef_jax; cd clef_jax; \
    python3 -m pip install --user --quiet uv; export PATH=\$HOME/.local/bin:\$PATH; \
    uv venv --quiet --allow-existing --python $python .venv; \
    uv pip install --quiet --python .venv -c constraints.txt '.[tpu]'; echo \"\$(hostname): installed\""
}

start() {
  local train
  train=$(quoted .venv/bin/python -m clef_jax.train --coordinator-address=auto "${arguments[@]:1}")
  on_all_hosts "cd clef_jax || exit 1; \
    if kill -0 \"\$(cat train.pid 2>/dev/null)\" 2>/dev/null; then \
      echo \"\$(hostname): already training; stop it first\"; exit 1; \
    fi; \
    nohup setsid $train >>train.log 2>&1 </dev/null & echo \$! >train.pid; echo \"\$(hostname): started\""
}

status() {
  on_all_hosts "cd clef_jax || exit 1; \
    if kill -0 \"\$(cat train.pid 2>/dev/null)\" 2>/dev/null; then now=training; else now=ended; fi; \
    echo \"\$(hostname): \$now\"; tail -n 3 train.log"
}

stop() {
  on_all_hosts "cd clef_jax || exit 1; pid=\$(cat train.pid 2>/dev/null) || exit 0; \
    kill -TERM \"\$pid\" 2>/dev/null; \
    for second in \$(seq 300); do \
      kill -0 \"\$pid\" 2>/dev/null || { echo \"\$(hostname): ended\"; exit 0; }; sleep 1; \
    done; echo \"\$(hostname): still training after 300 s\"; exit 1"
}

case "${arguments[0]}" in
  install | start | status | stop) "${arguments[0]}" ;;
  *) usage ;;
esac
