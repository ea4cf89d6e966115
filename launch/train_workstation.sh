#!/usr/bin/env bash
# Trains on the GPUs of this machine, or on its CPU if it has no GPU.
#
#   launch/train_workstation.sh --data-dir=DIR --workdir=DIR [--flag=value ...]
#
# The flags are those of `python -m clef_jax.train`. On Ctrl-C and SIGTERM it saves and stops, and
# the same command resumes. Optional variables:
#   PROCESSES      number of processes sharing the GPUs (1). More than one test on this machine what
#                  runs on a cluster; without GPUs each has one CPU device
#   GRACE_SECONDS  time limit for the other processes after one has failed (30)
#   SAVE_SECONDS   time limit for saving, at the end or when asked to stop (300)
#   PORT           local port that connects the processes (any free port)
#   PYTHON         the Python interpreter (python)
# With several processes each line begins with the number of its process. The exit code is that of
# the process that failed first, else 0. --dry-run prints the commands instead of running them.
set -euo pipefail
# shellcheck source=launch/_command.sh
source "$(dirname "$0")/_command.sh"

read_arguments 1 "$@"
num_processes=${PROCESSES:-1} save_seconds=${SAVE_SECONDS:-300}
if ! [[ $num_processes =~ ^[1-9][0-9]*$ ]]; then
  echo "PROCESSES=$num_processes must be a number of at least 1." >&2
  exit 2
fi

list_gpus() {  # sets gpus
  gpus=()
  if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
    IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
  elif command -v nvidia-smi >/dev/null; then
    mapfile -t gpus < <(nvidia-smi --query-gpu=index --format=csv,noheader)
  fi
  if ((${#gpus[@]} % num_processes)); then
    echo "${#gpus[@]} GPUs cannot be split evenly over $num_processes processes; change PROCESSES." >&2
    exit 2
  fi
}

free_port() {  # sets port, below the ports that systems use for outgoing connections
  port=${PORT:-}
  while [ -z "$port" ]; do
    port=$((20000 + RANDOM % 12000))
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then port=; fi
  done
}

compose() {  # sets command to that of process number $1
  local own count=$((${#gpus[@]} / num_processes))
  command=("${PYTHON:-python}" -m clef_jax.train)
  if ((num_processes > 1)); then
    command+=("--coordinator-address=127.0.0.1:$port")
    command+=("--num-processes=$num_processes" "--process-id=$1")
    # By default jax accepts connections from the whole network.
    command=("JAX_COORDINATOR_BIND_ADDRESS=127.0.0.1:$port" "${command[@]}")
    if ((count)); then
      own=$(comma_separated "${gpus[@]:$1 * count:count}")
      command=("CUDA_VISIBLE_DEVICES=$own" "${command[@]}")
    fi
    command=(env "${command[@]}")
  fi
  command+=("${arguments[@]}")
}

limit() {  # sets the deadline of all processes to $1 seconds from now, if that is earlier
  local last=$((SECONDS + $1))
  if ((last < deadline)); then deadline=$last; fi
}

stop() {  # asks all processes to save and end within $1 seconds
  limit "$1"
  kill -TERM "${children[@]}" 2>/dev/null || true
}

start() {  # starts process $1, which ignores Ctrl-C because of &, but receives our SIGTERM
  compose "$1"
  if ((num_processes > 1)); then
    "${command[@]}" > >(exec sed -u "s/^/[$1] /") 2>&1 &
  else
    "${command[@]}" &
  fi
  children[$1]=$!
}

watch() {  # waits until all processes have ended
  local i code alarm=
  while ((${#children[@]})); do
    # Returns when a child ends, a signal arrives, or a second has passed.
    if ! kill -0 "$alarm" 2>/dev/null; then
      sleep 1 >/dev/null 2>&1 &
      alarm=$!
    fi
    wait -n "$alarm" "${children[@]}" || true
    for i in "${!children[@]}"; do
      if kill -0 "${children[i]}" 2>/dev/null; then continue; fi
      code=0
      wait_for "${children[i]}" || code=$?
      unset "children[i]"
      limit "$save_seconds"  # the others should end at the same time
      if ((code && !first_failure)); then
        first_failure=$code
        echo "Process $i ended with code $code; stopping the others." >&2
        stop "${GRACE_SECONDS:-30}"
      fi
    done
    if ((SECONDS > deadline)); then kill -KILL "${children[@]}" 2>/dev/null || true; fi
  done
}

list_gpus
free_port
if $dry_run; then
  for ((i = 0; i < num_processes; i++)); do
    compose "$i"
    quoted "${command[@]}"
  done
  exit
fi
children=() first_failure=0 deadline=$((1 << 62)) asked=false
trap 'asked=true; stop "$save_seconds"' TERM INT
for ((i = 0; i < num_processes; i++)); do
  if ! $asked; then start "$i"; fi
done
watch
exit "$first_failure"
