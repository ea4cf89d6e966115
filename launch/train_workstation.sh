#!/usr/bin/env bash
# Trains on the GPUs of this machine, or on its CPU if it has none.
#
#   launch/train_workstation.sh --data-dir=DIR --workdir=DIR [--flag=value ...]
#
# The flags are those of `python -m clef_jax.train`. Ctrl-C and SIGTERM save before they stop, and
# the same command resumes. In the environment, if wished:
#   PROCESSES      so many processes share the GPUs evenly (1, which drives all of them). More than
#                  one try out on this machine what runs on a cluster; CPUs count as one device each
#   GRACE_SECONDS  how long the others may go on once a process has failed (30)
#   SAVE_SECONDS   how long saving at the end, or when asked to stop, may take (300)
#   PORT           at which the processes meet, on this machine only (any that is free)
#   PYTHON         the interpreter (python)
# With several processes each line begins with the number of its process. The exit code is that of
# the process that failed first, else 0. --dry-run prints the commands instead of running them.
set -euo pipefail
# shellcheck source=launch/_command.sh
source "$(dirname "$0")/_command.sh"

read_arguments 1 "$@"
num_processes=${PROCESSES:-1} save_seconds=${SAVE_SECONDS:-300}
if ! [[ $num_processes =~ ^[1-9][0-9]*$ ]]; then
  echo "PROCESSES=$num_processes: this is a number of processes, 1 or more." >&2
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
    echo "${#gpus[@]} GPUs cannot be shared evenly by $num_processes processes; set PROCESSES." >&2
    exit 2
  fi
}

free_port() {  # sets port, below those that systems give to outgoing connections
  port=${PORT:-}
  while [ -z "$port" ]; do
    port=$((20000 + RANDOM % 12000))
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then port=; fi
  done
}

compose() {  # sets command to that of process number $1
  local share=$((${#gpus[@]} / num_processes))
  command=("${PYTHON:-python}" -m clef_jax.train)
  if ((num_processes > 1)); then
    command+=("--coordinator-address=127.0.0.1:$port")
    command+=("--num-processes=$num_processes" "--process-id=$1")
    # By default jax listens to the whole network.
    command=("JAX_COORDINATOR_BIND_ADDRESS=127.0.0.1:$port" "${command[@]}")
    if ((share)); then
      command=("CUDA_VISIBLE_DEVICES=$(comma_separated "${gpus[@]:$1 * share:share}")" "${command[@]}")
    fi
    command=(env "${command[@]}")
  fi
  command+=("${arguments[@]}")
}

limit() {  # gives all that still run at most $1 seconds more
  local last=$((SECONDS + $1))
  if ((last < deadline)); then deadline=$last; fi
}

stop() {  # asks all to save and end, within $1 seconds
  limit "$1"
  kill -TERM "${children[@]}" 2>/dev/null || true
}

start() {  # a child hears no Ctrl-C, since bash starts it with &, but does hear our SIGTERM
  compose "$1"
  if ((num_processes > 1)); then
    "${command[@]}" > >(exec sed -u "s/^/[$1] /") 2>&1 &
  else
    "${command[@]}" &
  fi
  children[$1]=$!
}

watch() {  # until all have ended
  local i code alarm=
  while ((${#children[@]})); do
    # Wakes up for a child that ended, for a signal, and for the time.
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
      limit "$save_seconds"  # all end together, or something is wrong
      if ((code && !first_failure)); then
        first_failure=$code
        echo "Process $i ended with code $code; the others are stopped." >&2
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
