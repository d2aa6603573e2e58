#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# symbols.sh BUILD: the front door. libmgclient exports what its public headers declare, no more and
# no less; each header stands alone, in C and in C++; what is linked keeps its promises: bound at
# start (lazy binding would save vector registers, and what is in them, on the ordinary stack),
# position-independent, read-only after relocation, without an executable stack.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$1
headers=$here/../client/lib
work=$(mktemp -d "${TMPDIR:-/tmp}/memguardd-symbols.XXXXXX")
header=$work/all.h
trap 'rm -rf "$work"' EXIT
number=0
broken=0
printf '#include <%s>\n' mgclient-audit.h mgclient-backup.h mgclient-token.h >"$header"

# claim NAME COMMAND...: one TAP line; what the command says is shown when it fails.
claim() {
	name=$1
	shift
	number=$((number + 1))
	if "$@" >"$work/output" 2>&1; then
		echo "ok $number - $name"
	else
		sed 's/^/# /' "$work/output"
		echo "not ok $number - $name"
		broken=1
	fi
}

spare() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# The names of functions in the header, without comments, types and attributes.
declared() {
	cc -E -P -I "$headers" "$header" | grep -o '\<mg_[a-z0-9_]*[[:space:]]*(' | tr -d '( \t' | LC_ALL=C sort -u
}

exported() {
	nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
		LC_ALL=C sort -u
}

same_names() {
	declared >"$work/declared"
	exported "$1" >"$work/exported"
	[ -s "$work/declared" ] || { echo "the header declares nothing" && return 1; }
	comm -23 "$work/declared" "$work/exported" | sed 's/$/: declared, not exported/'
	comm -13 "$work/declared" "$work/exported" | sed 's/$/: exported, not declared/'
	cmp -s "$work/declared" "$work/exported"
}

ours_alone() {
	! exported "$1" | grep -v '^mg_'
}

alone() {
	for name in mgclient.h mgclient-audit.h mgclient-backup.h mgclient-memory.h mgclient-token.h; do
		"$@" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I "$headers" "$headers/$name"
	done
}

dynamic() {
	readelf -dW "$1" | grep -E "$2"
}

bound_at_start() {
	dynamic "$1" '\((BIND_NOW|FLAGS|FLAGS_1)\).*(BIND_NOW|NOW)'
}

position_independent() {
	readelf -hW "$1" | grep -E 'Type: +DYN' && dynamic "$1" '\(FLAGS_1\).*PIE'
}

readonly_relocations() {
	readelf -lW "$1" | grep GNU_RELRO
}

plain_stack() {
	readelf -lW "$1" | grep -E 'GNU_STACK.* RW '
}

no_text_relocations() {
	! dynamic "$1" TEXTREL
}

linked() {
	claim "$2 is bound at start" bound_at_start "$1"
	claim "$2 is read-only after relocation" readonly_relocations "$1"
	claim "$2 has no executable stack" plain_stack "$1"
	claim "$2 has no text relocations" no_text_relocations "$1"
}

program() {
	[ -x "$1" ] || { claim "$2 is built" false && return; }
	linked "$1" "$2"
	claim "$2 is position-independent" position_independent "$1"
}

library=$(find "$build/client" -name 'libmgclient.so*' -type f | head -n 1)
if [ -n "$library" ]; then
	claim "libmgclient exports what its headers declare" same_names "$library"
	claim "libmgclient exports nothing but mg_" ours_alone "$library"
	linked "$library" libmgclient
else
	claim "a shared libmgclient is built" false
fi
claim "each header stands alone in C" alone cc -x c -std=c11
if command -v c++ >/dev/null; then
	claim "each header stands alone in C++" alone c++ -x c++ -std=c++11
else
	spare "each header stands alone in C++" "there is no C++ compiler"
fi
program "$build/daemon/memguardd" memguardd
program "$build/client/cli/mgctl" mgctl
echo "1..$number"
exit $broken
