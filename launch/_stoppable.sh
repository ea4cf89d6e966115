#!/usr/bin/env bash
# Runs a command, and returns the exit code 75 if it was asked to stop and ended with its work
# saved. Otherwise a preempted training, which saves and returns 0, would count as finished.
#
#   launch/_stoppable.sh COMMAND [ARGUMENT ...]
set -euo pipefail
# shellcheck source=launch/_command.sh
source "$(dirname "$0")/_command.sh"

stopped=0 code=0
"$@" &
child=$!
trap 'stopped=75; kill -TERM "$child" 2>/dev/null' TERM INT
wait_for "$child" || code=$?
exit $((code ? code : stopped))
