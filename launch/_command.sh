# shellcheck shell=bash
# Functions and variables for the scripts in this folder, which source this file.

# JAX reserves three quarters of a GPU's memory unless this variable states another fraction.
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}
# On GPUs exchanges run beside the kernels; other platforms ignore the flag.
export XLA_FLAGS=${XLA_FLAGS:---xla_gpu_enable_latency_hiding_scheduler=true}

usage() {  # prints the comment at the top of the script, and exits
  sed -n '2,/^[^#]/{/^#/!d;/^#SBATCH/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
}

read_arguments() {  # sets dry_run and the array arguments; requires at least $1 arguments
  local least=$1 argument
  shift
  dry_run=false
  arguments=()
  for argument in "$@"; do
    case "$argument" in
      --dry-run) dry_run=true ;;
      --help | -h) usage ;;
      *) arguments+=("$argument") ;;
    esac
  done
  [ "${#arguments[@]}" -ge "$least" ] || usage
}

need() {  # exits unless all variables with these names are set
  local variable
  for variable in "$@"; do
    [ -n "${!variable:-}" ] || { echo "Set $variable; $0 --help describes it." >&2; exit 2; }
  done
}

comma_separated() {  # prints its arguments, separated by commas
  local IFS=,
  echo "$*"
}

quoted() {  # prints a command, quoted for a shell
  local command
  printf -v command '%q ' "$@"
  echo "${command% }"
}

run() {  # replaces this script by a command, or prints the command
  if $dry_run; then
    quoted "$@"
  else
    exec "$@"
  fi
}

wait_for() {  # returns the exit code of a child, even if this script receives signals
  while kill -0 "$1" 2>/dev/null; do
    wait "$1" || true
  done
  wait "$1"
}
