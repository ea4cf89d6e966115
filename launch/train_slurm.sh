#!/usr/bin/env bash
# Trains on one or more nodes of a SLURM cluster.
#
#   sbatch --nodes=4 --gpus-per-node=8 --ntasks-per-node=8 launch/train_slurm.sh \
#       --data-dir=DIR --workdir=DIR [--flag=value ...]
#
# Submit it from the root of this repository; the folders must be on storage that all nodes share.
# It starts one process per GPU, because jax gives each process of a SLURM job the GPU with its
# number on the node: set --ntasks-per-node to --gpus-per-node, and do not bind GPUs to tasks. (On
# nodes without GPUs: --gpus-per-node=0.)
#
# Two minutes before the time limit the processes save and the job is queued again, as after a
# preemption or the failure of a node; it then resumes. scancel also saves, if that takes less than
# the cluster's KillWait (30 seconds), and ends the job. Options of sbatch, such as --time,
# --partition and --account, precede the script. Optional variable: PYTHON (python).
# --dry-run prints the commands instead of running them.
#SBATCH --job-name=clef-jax
#SBATCH --nodes=1
#SBATCH --gpus-per-node=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
folder=$(dirname "$0")
[ -e "$folder/_command.sh" ] || folder=$SLURM_SUBMIT_DIR/launch  # SLURM runs a copy of this script
# shellcheck source=launch/_command.sh
source "$folder/_command.sh"

read_arguments 1 "$@"
step=(srun --label --kill-on-bad-exit=1 "--cpus-per-task=${SLURM_CPUS_PER_TASK:-8}")
step+=("${PYTHON:-python}" -m clef_jax.train --coordinator-address=auto "${arguments[@]}")
if [ -z "${SLURM_JOB_ID:-}" ]; then
  run sbatch "$0" "${arguments[@]}"
fi
if $dry_run; then
  quoted "${step[@]}"
  exit
fi
gpus=${SLURM_GPUS_ON_NODE:-0} tasks=${SLURM_NTASKS_PER_NODE:-1}
if ((gpus > 0 && gpus != tasks)); then
  echo "A node has $gpus GPUs but $tasks tasks; set sbatch --ntasks-per-node=$gpus." >&2
  exit 2
fi

requeue=false code=0
# The signal is not sent to srun, which would kill the processes at once.
trap 'requeue=true; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
trap : TERM  # if the job is cancelled or preempted, SLURM also sends it to the processes
"${step[@]}" &
child=$!
wait_for "$child" || code=$?
if $requeue; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
