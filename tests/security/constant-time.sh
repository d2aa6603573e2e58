#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# constant-time.sh [PROGRAM PLANTED]: no comparison of a secret branches on its bytes, or looks
# anything up by them, as memcheck sees it; and memcheck does see a memcmp. TAP.
set -u

if [ $# -ne 2 ]; then
	echo "1..0 # SKIP valgrind and its headers are not installed"
	exit 0
fi

# watched PROGRAM: runs it under memcheck; 99 when that has something to report.
watched() {
	valgrind --quiet --error-exitcode=99 --exit-on-first-error=no --track-origins=no "$1" 2>&1
}

echo 1..2
output=$(watched "$1")
status=$?
if [ $status -eq 0 ]; then
	echo "ok 1 - a comparison takes no turn that hangs on a secret's bytes"
else
	echo "$output" | head -40 | sed 's/^/# /'
	echo "not ok 1 - a comparison takes no turn that hangs on a secret's bytes (status $status)"
fi
output=$(watched "$2")
status=$?
if [ $status -eq 99 ]; then
	echo "ok 2 - a planted memcmp is found"
else
	echo "$output" | tail -5 | sed 's/^/# /'
	echo "not ok 2 - a planted memcmp is found (status $status)"
fi
