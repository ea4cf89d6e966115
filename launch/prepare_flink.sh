#!/usr/bin/env bash
# Prepares a data set on an Apache Flink cluster. Its workers and this machine must share the
# folders of raw and prepared data under the same paths (NFS, Lustre, or a mounted bucket).
#
#   launch/prepare_flink.sh DATASET SOURCE_DIR DATA_DIR [--flag=value ...]
#
# Requires clef_jax with the extra `beam`, Java for Beam's job server, and environment variables:
#   FLINK        HOST:PORT of the cluster's REST interface
#   WORKER_POOL  HOST:PORT, from the Flink workers, of
#                `python -m apache_beam.runners.worker.worker_pool_main --service_port=50000`
#                (localhost:50000, one on the host of each Flink worker); or instead
#   IMAGE        a container image built from launch/prepare.Dockerfile, which Flink workers start
# Optional variable: PARALLELISM (number of concurrent shards, 16).
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
