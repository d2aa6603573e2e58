#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# manual.sh [ROOT]: the manual says what the library is. Every function of mgclient.map has one page
# that names it, no page names a function that does not exist, what a SYNOPSIS declares stands like
# that in a public header, every member of a structure is described, every EXAMPLE compiles, and every
# page is whole.
#
# manual.sh --self-test [ROOT]: breaks each rule in a copy and looks whether it is found.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
RULES='page once exists synopsis declared member link sections example render'
work=$(mktemp -d "${TMPDIR:-/tmp}/memguardd-manual.XXXXXX")
trap 'rm -rf "$work"' EXIT

# C from a file as statements, one a line: without comments, directives and needless blanks.
statements() {
	awk '
	/^[ \t]*#/ || directive { directive = /\\$/; next }
	{ text = text " " $0 }
	END {
		while (match(text, /\/\*([^*]|\*+[^*\/])*\*+\//))
			text = substr(text, 1, RSTART - 1) " " substr(text, RSTART + RLENGTH)
		sub(/extern "C" \{/, "", text)
		count = split(text, part, ";")
		for (i = 1; i < count; i++) {
			gsub(/[ \t]+/, " ", part[i])
			gsub(/\( /, "(", part[i])
			gsub(/^ | $/, "", part[i])
			print part[i]
		}
	}' "$1"
}

# section NAME PAGE: its lines.
section() {
	awk -v name="# $1" '/^# /{ inside = $0 == name; next } inside' "$2"
}

# The blocks of code among lines, as a compiler sees them: \\ is what scdoc makes of it.
code() {
	awk '/^```/{ inside = !inside; next } inside' | sed 's/\\\(.\)/\1/g'
}

# The names in the first lines of pages: "a, b - words".
named() {
	awk '
	function say() {
		sub(/ - .*/, "", text)
		gsub(/ /, "", text)
		gsub(/,+/, "\n", text)
		if (text != "")
			print text
		text = ""
	}
	FNR == 1 { say(); inside = 0 }
	/^# /{ inside = $0 == "# NAME"; next }
	inside { text = text $0 " " }
	END { say() }' "$@"
}

# The functions that a list of statements declares.
functions() {
	grep -v '^typedef' | grep -o '\<mg_[a-z0-9_]*(' | tr -d '('
}

# The members of the structures that a list of statements declares: "type members".
members() {
	awk '
	/^struct [a-z_]+ \{/ { type = $2; sub(/^struct [a-z_]+ \{/, "") }
	/^\}/ { type = "" }
	type {
		sub(/(\[[^\]]*\])+$/, "")
		sub(/.*[ *]/, "")
		print type, $0
	}' "$1"
}

lines_without() {
	grep -Fxv -f "$2" "$1" || true
}

check_names() {
	title=$1
	named "$2" >"$work/named"
	grep -Fxq "$title" "$work/named" || echo "$2: exists: the page's own name is not in NAME"
	grep -Fxv -e "$title" "$work/named" >"$work/functions" || true
	case $title in
	mgclient) ;;
	*) grep -q "^struct $title\$" "$work/header" || echo "$title" >>"$work/functions" ;;
	esac
	lines_without "$work/functions" "$work/map" | sed "s|.*|$2: exists: & is no function|"
}

check_synopsis() {
	section SYNOPSIS "$2" | code >"$work/synopsis.h"
	statements "$work/synopsis.h" >"$work/synopsis"
	lines_without "$work/synopsis" "$work/header" |
		sed "s|.*|$2: synopsis: no header says: &|"
	functions <"$work/synopsis" >"$work/declares" || true
	lines_without "$work/functions" "$work/declares" |
		sed "s|.*|$2: declared: & is not in SYNOPSIS|"
}

# What a page speaks of: functions with (), pages of ours with (3).
check_links() {
	grep -o '\*mg_[a-z0-9_]*\*(3\{0,1\})' "$1" | tr -d '*()3' | LC_ALL=C sort -u >"$work/spoken"
	lines_without "$work/spoken" "$work/pages" | sed "s|.*|$1: link: & has no page|"
}

# Stands on a page as an item of a list does: *name*, or *lifetime.name*.
check_members() {
	grep -Eoh '\*([a-z_]+\.)?[a-z_]+\*' "$1"/*.3.scd | tr -d '*' | sed 's/.*\.//' >"$work/items"
	members "$work/header" | awk -v items="$work/items" -v manual="$1" '
	BEGIN { while ((getline item < items) > 0) described[item] = 1 }
	!($2 in described) { print manual ": member: " $2 " of struct " $1 " is on no page" }'
}

check_sections() {
	wanted='NAME SYNOPSIS DESCRIPTION RETURN-VALUE EXAMPLE SEE-ALSO'
	[ "$1" != mgclient ] || wanted='NAME SYNOPSIS DESCRIPTION EXAMPLE ERRORS SEE-ALSO'
	awk -v wanted="$wanted" -v page="$2" '
	/^# /{ name = substr($0, 3); next }
	/./{ filled[name] = 1 }
	END {
		count = split(wanted, names, " ")
		for (i = 1; i <= count; i++) {
			gsub(/-/, " ", names[i])
			if (!(names[i] in filled))
				print page ": sections: there is no " names[i]
		}
	}' "$2"
}

check_example() {
	section EXAMPLE "$2" | code >"$work/example.c"
	cc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-function -Wno-unused-variable \
		-fsyntax-only -I "$1/client/lib" "$work/example.c" 2>&1 |
		sed "s|^|$2: example: |"
	grep -q mg_ "$work/example.c" || echo "$2: example: it does not use the library"
}

check_render() {
	command -v scdoc >/dev/null || return 0
	scdoc <"$1" 2>&1 >/dev/null | sed "s|^|$1: render: |"
}

# check ROOT [NAME]: all findings, or those of one page: "PAGE: RULE: what is wrong".
check() {
	manual=$1/client/lib/man
	only=${2:-*}
	for header in mgclient.h mgclient-audit.h mgclient-backup.h mgclient-memory.h mgclient-token.h; do
		statements "$1/client/lib/$header"
	done >"$work/header"
	sed -n 's/^[[:space:]]*\(mg_[a-z0-9_]*\);$/\1/p' "$1/client/lib/mgclient.map" >"$work/map"
	named "$manual"/*.3.scd | LC_ALL=C sort >"$work/pages"
	lines_without "$work/map" "$work/pages" | sed "s|.*|$manual: page: & has no page|"
	uniq -d "$work/pages" | sed "s|.*|$manual: once: & has two pages|"
	check_members "$manual"
	# shellcheck disable=SC2231 # a pattern
	for page in "$manual"/$only.3.scd; do
		title=$(basename "$page" .3.scd)
		check_names "$title" "$page"
		check_synopsis "$title" "$page"
		check_links "$page"
		check_sections "$title" "$page"
		check_example "$1" "$page"
		check_render "$page"
	done
}

# report FINDINGS: one case a rule.
report() {
	number=0
	broken=0
	for rule in $RULES; do
		number=$((number + 1))
		if grep "^[^ ]*: $rule: " "$1" | sed 's/^/# /' | grep .; then
			echo "not ok $number - $rule"
			broken=1
		else
			echo "ok $number - $rule"
		fi
	done
	# A check that finds nothing to check would pass, too.
	number=$((number + 1))
	if [ -s "$work/map" ] && [ "$(wc -l <"$work/map")" -le "$(wc -l <"$work/header")" ]; then
		echo "ok $number - there are functions"
	else
		echo "not ok $number - there are functions"
		broken=1
	fi
	echo "1..$number"
	return $broken
}

# plant RULE FILE SED-SCRIPT: changes a file of the copy, checks the page that most are planted in,
# and puts the file back.
plant() {
	planted=$((planted + 1))
	cp "$copy/client/lib/$2" "$work/saved"
	sed "$3" "$work/saved" >"$copy/client/lib/$2"
	check "$copy" mg_touch >"$work/found"
	if cmp -s "$work/saved" "$copy/client/lib/$2" || ! grep -q "^[^ ]*: $1: " "$work/found"; then
		echo "not ok $planted - $1 is found in $2, change $planted"
		missed=1
	else
		echo "ok $planted - $1 is found in $2, change $planted"
	fi
	cp "$work/saved" "$copy/client/lib/$2"
}

self_test() {
	copy=$work/tree
	planted=0
	missed=0
	mkdir -p "$copy/client/lib"
	cp -r "$1/client/lib/man" "$1/client/lib"/mgclient*.h "$1/client/lib/mgclient.map" \
		"$copy/client/lib"
	plant page mgclient.map 's/mg_ping;/mg_ping; mg_pong;/; s/; mg_/;\n\tmg_/'
	plant page man/mg_status_of.3.scd 's/^mg_status_of, mg_ping, /mg_status_of, /'
	plant once man/mg_touch.3.scd 's/^mg_touch - /mg_touch, mg_get - /'
	plant exists man/mg_touch.3.scd 's/^mg_touch - /mg_touch, mg_stroke - /'
	plant synopsis man/mg_touch.3.scd 's/uint64_t ttl_ms/uint32_t ttl_ms/'
	plant synopsis mgclient.h 's/uint64_t ttl_ms,/uint64_t ttl_seconds,/'
	plant synopsis man/mg_touch.3.scd 's/^int mg_touch/typedef int (*mg_touching)(int);\n&/'
	plant declared man/mg_touch.3.scd 's/^mg_touch - /mg_touch, mg_stroke - /'
	plant member mgclient.h 's/^	unsigned timeout_ms;/	int *planted[2][2];\n&/'
	plant member man/mg_status_of.3.scd 's/\*rekey_ms\*/rekey_ms/'
	plant link man/mg_touch.3.scd 's/\*mg_list\*(3)/*mg_lists*(3)/'
	plant link man/mg_touch.3.scd 's/See \*mg_set\*(3)/See *mg_sets*()/'
	plant sections man/mg_touch.3.scd 's/^# RETURN VALUE/# RETURNS/'
	plant example man/mg_touch.3.scd 's/1000, NULL)/1000)/'
	if command -v scdoc >/dev/null; then
		plant render man/mg_touch.3.scd 's/^\*MG_NOT_FOUND\*/*MG_NOT_FOUND/'
	fi
	echo "1..$planted"
	return $missed
}

if [ "${1:-}" = --self-test ]; then
	self_test "${2:-$here/..}"
	exit
fi
check "${1:-$here/..}" >"$work/findings"
report "$work/findings"
