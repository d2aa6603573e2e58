#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# constant-time.sh [COMPARING PLANTED STRANGER PLANTED]: no comparison of a secret branches on its
# bytes, or looks anything up by them, and nothing is looked up for a stranger, as memcheck sees it;
# and memcheck does see a memcmp, and a look. TAP.
set -u

if [ $# -ne 4 ]; then
	echo "1..0 # SKIP valgrind and its headers are not installed"
	exit 0
fi

# judge NUMBER STATUS PROGRAM WHAT: whether memcheck ends with this; 99 when it has something to
# report.
judge() {
	output=$(valgrind --quiet --error-exitcode=99 --exit-on-first-error=no --track-origins=no \
		"$3" 2>&1)
	status=$?
	if [ $status -eq "$2" ]; then
		echo "ok $1 - $4"
	else
		echo "$output" | head -40 | sed 's/^/# /'
		echo "not ok $1 - $4 (status $status)"
	fi
}

echo 1..4
judge 1 0 "$1" "a comparison takes no turn that hangs on a secret's bytes"
judge 2 99 "$2" "a planted memcmp is found"
judge 3 0 "$3" "nothing is looked up for a stranger"
judge 4 99 "$4" "a planted look is found"
