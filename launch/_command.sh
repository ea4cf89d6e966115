# shellcheck shell=bash
# Sourced by the scripts of this folder, which are each a command with its settings.

usage() {  # the comment at the top of the script
  sed -n '2,/^[^#]/{/^#/!d;/^#SBATCH/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
}

read_arguments() {  # sets dry_run, and the array arguments; wants at least so many as $1 says
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

need() {  # names of variables that must be set
  local variable
  for variable in "$@"; do
    [ -n "${!variable:-}" ] || { echo "Set $variable; $0 --help says to what." >&2; exit 2; }
  done
}

comma_separated() {
  local IFS=,
  echo "$*"
}

quoted() {  # a command as a shell reads it
  local command
  printf -v command '%q ' "$@"
  echo "${command% }"
}

run() {  # runs a command instead of this script, or prints it
  if $dry_run; then
    quoted "$@"
  else
    exec "$@"
  fi
}

wait_for() {  # returns the exit code of a child, whatever signals this script hears meanwhile
  while kill -0 "$1" 2>/dev/null; do
    wait "$1" || true
  done
  wait "$1"
}
