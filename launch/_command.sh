# shellcheck shell=bash
# Sourced by the scripts of this folder, which are each a command with its settings.

usage() {  # the comment at the top of the script
  sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$0" >&2
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
  local name
  for name in "$@"; do
    [ -n "${!name:-}" ] || { echo "Set $name; $0 --help says to what." >&2; exit 2; }
  done
}

comma_separated() {
  local IFS=,
  echo "$*"
}

run() {  # runs a command, or prints it
  if $dry_run; then
    printf '%q ' "$@"
    echo
  else
    exec "$@"
  fi
}
