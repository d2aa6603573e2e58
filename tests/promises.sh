#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# promises.sh: the table of MemGuard's promises (tests/conformance/PROMISES.md) names what there is.
# Its second column says what is done here, its third how that is tested: files of this tree, names
# of public headers, rows of README.md beside it, claims of the tests that stand before them.
#
# promises.sh --self-test: breaks the table in each way and looks whether it is found.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
table=$root/tests/conformance/PROMISES.md
work=$(mktemp -d "${TMPDIR:-/tmp}/memguardd-promises.XXXXXX")
trap 'rm -rf "$work"' EXIT
RULES='column file name row claim untested'

# One finding a line: "line: rule: what is wrong". Names that are looked for come out as
# "line: want: kind: what", for the shell to look.
# shellcheck disable=SC2016 # awk's own dollars
read_table='
function want(kind, what) {
	printf "%d: want: %s: %s\n", NR, kind, what
}

# What stands in backticks, one after the other.
function read_names(cell, text, path, found) {
	path = ""
	found = 0
	while (match(cell, /`[^`]*`/)) {
		text = substr(cell, RSTART + 1, RLENGTH - 2)
		cell = substr(cell, RSTART + RLENGTH)
		if (text ~ /\//) {
			path = text
			want("file", path)
			found++
		} else if (text ~ /^(mg|MG)_/) {
			want("name", text)
		} else {
			want("claim", path " " text)
		}
	}
	return found
}

# Numbers of rows stand first, before any file.
function read_rows(cell, found) {
	sub(/`.*/, "", cell)
	found = 0
	while (match(cell, /[0-9]+/)) {
		want("row", substr(cell, RSTART, RLENGTH))
		cell = substr(cell, RSTART + RLENGTH)
		found++
	}
	return found
}

/^\|/ {
	if (split($0, cell, "|") != 5)
		printf "%d: column: a row has three columns\n", NR
	else if (cell[4] !~ /tested by|---/) {
		read_names(cell[3])
		if (read_rows(cell[4]) + read_names(cell[4]) == 0)
			printf "%d: untested: no test is named\n", NR
	}
}
'

# A claim is a word of the file that stands before it.
exists() {
	case $1 in
	file) [ -e "$root/$2" ] ;;
	name) grep -qw -- "$2" "$root"/client/lib/mgclient*.h ;;
	row) grep -q "^| $2 |" "$root/tests/conformance/README.md" ;;
	claim) [ -f "$root/${2% *}" ] && grep -qw -- "${2##* }" "$root/${2% *}" ;;
	esac
}

# check TABLE: prints the findings.
check() {
	awk "$read_table" "$1" | while IFS= read -r line; do
		case $line in
		*': want: '*)
			wanted=${line#*: want: }
			exists "${wanted%%: *}" "${wanted#*: }" ||
				echo "${line%%:*}: ${wanted%%: *}: there is no ${wanted#*: }"
			;;
		*) echo "$line" ;;
		esac
	done
}

report() {
	number=0
	broken=0
	for rule in $RULES; do
		number=$((number + 1))
		if grep "^[0-9]*: $rule: " "$1" | sed 's/^/# PROMISES.md:/' | grep .; then
			echo "not ok $number - $rule"
			broken=1
		else
			echo "ok $number - $rule"
		fi
	done
	echo "1..$number"
	return $broken
}

# plant RULE ROW: a row that breaks the rule.
plant() {
	planted=$((planted + 1))
	echo "$2" >"$work/planted.md"
	check "$work/planted.md" >"$work/found"
	if grep -q "^[0-9]*: $1: " "$work/found"; then
		echo "ok $planted - $1 is found: $2"
	else
		echo "not ok $planted - $1 is found: $2"
		missed=1
	fi
}

self_test() {
	planted=0
	missed=0
	plant column '| `New` | a \| b | 1 | 2 |'
	plant file '| `New` | `common/planted.h` | 1 |'
	plant file '| `New` | nothing | `tests/unit/test-planted.c`: `planted` |'
	plant name '| `New` | `mg_planted` | 1 |'
	plant name '| `New` | `MG_PLANTED` | 1 |'
	plant row '| `New` | `mg_get` | 49 |'
	plant claim '| `New` | `mg_get` | `tests/unit/test-secret.c`: `a_planted_claim` |'
	plant claim '| `New` | `mg_get` | `a_claim_without_a_file` |'
	plant untested '| `New` | `mg_get` | some day |'
	echo "1..$planted"
	return $missed
}

if [ "${1:-}" = --self-test ]; then
	self_test
	exit
fi
[ -s "$table" ] || { echo "not ok 1 - there is a table" && exit 1; }
check "$table" >"$work/findings"
report "$work/findings"
