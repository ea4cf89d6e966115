#!/usr/bin/env bash
# Prepares a data set on Google Cloud Dataflow. The recordings are in a bucket; the tables, and
# finally the prepared data set, are on this machine.
#
#   launch/prepare_dataflow.sh DATASET TABLES_DIR gs://BUCKET/RECORDINGS DATA_DIR [--flag=value ...]
#
# Requires clef_jax with the extra `dataflow`, credentials of gcloud, and environment variables:
#   PROJECT   the Google Cloud project
#   REGION    region of the job, best that of the bucket, for example europe-west4
#   SCRATCH   gs://BUCKET/FOLDER, an empty folder for temporary files of the job
#   IMAGE     a container image built from launch/prepare.Dockerfile
# Optional variables: WORKERS (maximum number, 32), MACHINE (n2-standard-4).
# --dry-run prints the command instead of running it.
set -euo pipefail
# shellcheck source=launch/_command.sh
source "$(dirname "$0")/_command.sh"

read_arguments 4 "$@"
need PROJECT REGION SCRATCH IMAGE
options=(
  "runner=DataflowRunner"
  "project=$PROJECT"
  "region=$REGION"
  "temp_location=$SCRATCH/dataflow"
  "sdk_container_image=$IMAGE"
  "experiments=use_runner_v2"
  "max_num_workers=${WORKERS:-32}"
  "worker_machine_type=${MACHINE:-n2-standard-4}"
  "job_name=clef-jax-prepare-$(date +%Y%m%d-%H%M%S)"
)
run "${PYTHON:-python}" -m clef_jax.prepare \
  "--dataset=${arguments[0]}" \
  "--source=${arguments[1]}" \
  "--remote-source=${arguments[2]}" \
  "--remote-scratch=$SCRATCH/shards" \
  "--data-dir=${arguments[3]}" \
  "--beam-options=$(comma_separated "${options[@]}")" \
  "${arguments[@]:4}"
