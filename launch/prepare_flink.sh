#!/usr/bin/env bash
# Prepares a data set on an Apache Flink cluster whose workers see the folders of raw and prepared
# data under the same paths as this machine (NFS, Lustre, or a mounted bucket).
#
#   launch/prepare_flink.sh DATASET SOURCE_DIR DATA_DIR [--flag=value ...]
#
# Needs clef_jax with the extra `beam`, Java for Beam's job server, and in the environment:
#   FLINK        HOST:PORT of the cluster's REST interface
#   WORKER_POOL  HOST:PORT, as the Flink workers see it, of
#                `python -m apache_beam.runners.worker.worker_pool_main --service_port=50000`
#                (localhost:50000: one beside each Flink worker); or else
#   IMAGE        a container image made from launch/prepare.Dockerfile, that Flink workers start
# and, if wished: PARALLELISM (shards at a time, 16).
# --dry-run prints the command instead of running it.
set -euo pipefail
# shellcheck source=launch/_command.sh
source "$(dirname "$0")/_command.sh"

read_arguments 3 "$@"
need FLINK
if [ -n "${IMAGE:-}" ]; then
  environment=("environment_type=DOCKER" "environment_config=$IMAGE")
else
  environment=("environment_type=EXTERNAL" "environment_config=${WORKER_POOL:-localhost:50000}")
fi
options=(
  "runner=FlinkRunner"
  "flink_master=$FLINK"
  "parallelism=${PARALLELISM:-16}"
  "${environment[@]}"
)
run "${PYTHON:-python}" -m clef_jax.prepare \
  "--dataset=${arguments[0]}" \
  "--source=${arguments[1]}" \
  "--data-dir=${arguments[2]}" \
  "--beam-options=$(comma_separated "${options[@]}")" \
  "${arguments[@]:3}"
