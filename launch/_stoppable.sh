#!/usr/bin/env bash
# Runs a command, and tells by the exit code 75 that it was asked to stop and did, with its work
# saved. Without this a preempted training, which saves and ends with 0, would count as finished.
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
