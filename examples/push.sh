#!/bin/sh
# push.sh INTAKE-URL [FILE] - sends a file, or standard input, as one message: one or more JSON documents.
#
#   spreaderd
#   echo '{"predicate":"UN.EXAMPLE.created"}' | examples/push.sh tcp://127.0.0.1:7710
#
# nngcat is in Debian's package nng-utils.
exec nngcat --push --dial "${1:?an intake URL}" --file "${2:--}"
