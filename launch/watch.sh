#!/usr/bin/env bash
# Ends a process when its time is up or its owner is gone, and what it leaves behind. For slice.sh.
#   launch/watch.sh PROCESS SECONDS OWNER        all three numbers; PROCESS leads a process group
set -uo pipefail

alive() {  # whether a process runs; one that ended and that nobody waits for does not
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null && [[ ! $stat =~ \)\ Z ]]
}

watch() {
  local process=$1 seconds=$2 owner=$3
  trap 'exit 0' TERM
  while alive "$process" && alive "$owner" && [ "$SECONDS" -lt "$seconds" ]; do
    sleep 0.2
  done
  kill -TERM "$process" 2>/dev/null  # a training saves itself and ends
  while alive "$process"; do
    sleep 0.2
  done
  kill -TERM -- "-$process" 2>/dev/null
}

# On one line: the file may be replaced in the meantime, and bash reads as it goes.
watch "$@"; exit 0
