#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# find-tests.sh FOLDER PATTERN: the names in FOLDER that match, without folder, one a line, sorted.
set -eu
cd "$1"
find . -maxdepth 1 -type f -name "$2" | sed 's,^\./,,' | LC_ALL=C sort
