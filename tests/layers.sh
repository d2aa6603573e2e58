#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# layers.sh [ROOT]: the shape of the house. Who may include whom, which file may see which library,
# and how a file begins. Each finding is "file:line: rule: what is wrong"; then one TAP line a rule.
#
# layers.sh --self-test [ROOT]: breaks every rule in a copy of the tree and looks whether it is
# found.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
RULES='spdx layer library loop generated rank cycle own-header order whole-path guard platform length'

# Every source file of ours, as a path from the root.
sources() {
	(cd "$1" && find common daemon client tests -type f -name '*.[ch]' | LC_ALL=C sort)
}

# Scripts and build files: they have only to carry the licence and to stay short.
scripts() {
	(cd "$1" && {
		find . -path './build*' -prune -o -path ./.git -prune -o -type f \
			\( -name meson.build -o -name '*.py' -o -name '*.sh' \) -print
		find tests/run packaging/try packaging/ensure packaging/build .ci/run -type f 2>/dev/null
	} | sed 's,^\./,,' | LC_ALL=C sort -u)
}

check() {
	{
		sources "$1" | sed 's/^/c /'
		scripts "$1" | sed 's/^/s /'
	} | awk -v root="$1" "$program"
}

# shellcheck disable=SC2016 # awk's own dollars
program='
function fail(rule, text) {
	printf "%s:%d: %s: %s\n", file, line, rule, text
	broken = 1
}

# The part of a module that is the same on every platform: peer_linux is peer.
function module_of(path, name) {
	name = path
	sub(/.*\//, "", name)
	sub(/\.[ch]$/, "", name)
	sub(/_(linux|posix|windows|bsd|darwin|other|unix)$/, "", name)
	return name
}

function base_of(path) {
	sub(/.*\//, "", path)
	return path
}

function room_of(path) {
	if (path ~ /^common\/memory\//) return "common/memory"
	if (path ~ /^common\/wire\//) return "common/wire"
	if (path ~ /^common\/audit\//) return "common/audit"
	if (path ~ /^common\//) return "common"
	if (path ~ /^daemon\//) return "daemon"
	if (path ~ /^client\/lib\/examples\//) return "client/lib/examples"
	if (path ~ /^client\/lib\//) return "client/lib"
	if (path ~ /^client\/cli\//) return "client/cli"
	if (path ~ /^tests\//) return "tests"
	return "elsewhere"
}

BEGIN {
	# Who may include which of our own files.
	may["common"] = "^common/[^/]*$"
	may["common/memory"] = "^common/(memory/.*|(span|status|cleanup|bytes)\\.h)$"
	may["common/wire"] = "^common/"
	may["common/audit"] = "^common/(audit/.*|(span|status|cleanup|bytes)\\.h)$"
	may["daemon"] = "^(daemon|common)/"
	may["client/lib"] = "^(client/lib|common)/"
	may["client/lib/examples"] = "^client/lib/mgclient\\.h$"
	may["client/cli"] = "^client/(cli/.*|lib/mgclient\\.h)$"
	may["tests"] = "."

	# Which headers of other projects; the loop and the generated header have rules of their own.
	sees["common"] = "^$"
	sees["common/memory"] = "^sodium\\.h$"
	sees["common/wire"] = "^(sodium|protobuf-c/protobuf-c)\\.h$"
	sees["common/audit"] = "^sodium\\.h$"
	sees["daemon"] = "^(sodium|uv|ini)\\.h$"
	sees["client/lib"] = "^(sodium|mgclient(-memory)?)\\.h$"
	sees["client/lib/examples"] = "^mgclient(-backup)?\\.h$"
	sees["client/cli"] = "^(jansson|mgclient(-audit|-backup|-token)?)\\.h$"
	sees["tests"] = "."
	system_header = "^((assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale" \
		"|math|search|setjmp|signal|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib" \
		"|stdnoreturn|string|tgmath|threads|time|uchar|wchar|wctype" \
		"|dirent|dlfcn|err|fcntl|fnmatch|getopt|glob|grp|langinfo|libgen|link|malloc|netdb" \
		"|paths|poll|pthread|pwd|regex|sched|semaphore|spawn|strings|syslog|termios|ucontext" \
		"|unistd|utime|elf|cpuid|immintrin|x86intrin)\\.h" \
		"|(sys|linux|asm|asm-generic|net|netinet|arpa|bits|sanitizer)/.*)$"

	# The codec is parted into readers and a writer.
	codec = "^common/wire/message_[a-z]+\\.[ch]$"

	# Inside the daemon a file includes only from the rows below its own; the files that serve a
	# request also one another. Peer is a leaf.
	split("peer backlog heap users quantity bitmap block failpoint line config_fault bundle_setting policy_right;log admin_file ini_text;notify harden inherited;answers;config;listener companion;index term tally;ledger;policy vault audit repeat penalty alarm wait process;tokens;" \
		"daemon outbox;request desk transfer lifetime upload waiter walk sweep trial flow petition watch restore quota showing unlock;serve signals reload estate;session handover store bundle_load;server keeper;main", row, ";")
	serving = "^(request|desk|transfer|lifetime|upload|waiter|walk|sweep|trial|flow|petition|watch|restore|quota|showing|unlock)$"
	for (r in row) {
		n = split(row[r], names, " ")
		for (i = 1; i <= n; i++)
			rank[names[i]] = r + 0
	}

	platforms = "__linux__|__linux|__gnu_linux__|_WIN32|_WIN64|__MINGW32__|__CYGWIN__" \
		"|__APPLE__|__MACH__|__FreeBSD__|__OpenBSD__|__NetBSD__|__DragonFly__|__unix__" \
		"|__unix|__sun|__ANDROID__|__GLIBC__|BSD"
	machines = "__x86_64__|__amd64__|__i386__|__aarch64__|__arm__|__riscv|__s390x__|__powerpc"
}

{ kind[$2] = $1; order[++count] = $2 }

function check_layer(what) {
	if (what ~ /^tests\// && room != "tests")
		fail("layer", "nothing includes what is in tests: " what)
	else if (what !~ may[room])
		fail("layer", room " may not include " what)
	else
		check_rank(what)
	if (file ~ /\.h$/) {
		edge_line[++edges] = line
		edge_from[edges] = file
		edge_to[edges] = what
	}
}

# A module may be parted: session_input stands where session stands.
function place_of(name) {
	if (!(name in rank) && index(name, "_"))
		sub(/_.*/, "", name)
	return name
}

function check_rank(what, from, to) {
	if (room != "daemon" || what !~ /^daemon\//)
		return
	from = place_of(module)
	to = place_of(module_of(what))
	if (to == from)
		return
	if (!(from in rank) || !(to in rank))
		fail("rank", "daemon/" (from in rank ? to : from) \
			" has no place in the order of the daemon (tests/layers.sh)")
	else if (rank[to] > rank[from])
		fail("rank", "daemon/" from " stands below " to " and may not include it")
	else if (rank[to] == rank[from] && from !~ serving)
		fail("rank", "daemon/" from " stands beside " to " and may not include it")
}

function check_library(what) {
	if (what ~ /\.pb-c\.h$/) {
		if (file !~ codec && room != "tests")
			fail("generated", "only common/wire/message* sees the generated header " what)
	} else if (what ~ system_header) {
		return
	} else if (what ~ /^uv(\.h|\/)/) {
		if (room != "tests" && file !~ /^daemon\/((server|listener|session)[^\/]*|main\.c)$/)
			fail("loop", "only daemon/server, listener, session and main know the loop")
	} else if (what ~ /^protobuf-c\// && room == "common/wire") {
		if (file !~ codec)
			fail("generated", "only common/wire/message* sees " what)
	} else if (what !~ sees[room]) {
		fail("library", room " may not see <" what ">")
	}
}

# peer_linux.c begins with peer.h, or with a header that only the platforms share: peer_platform.h.
function is_own(what, stem) {
	stem = own
	sub(/\.h$/, "_", stem)
	return what == own || (module_of(file) ".c" != base_of(file) && index(what, stem) == 1)
}

function check_include(text, what, quoted) {
	what = text
	quoted = text ~ /^[ \t]*#[ \t]*include[ \t]*"/
	if (text !~ /^[ \t]*#[ \t]*include[ \t]*["<]/)
		return
	sub(/^[^"<]*["<]/, "", what)
	sub(/[">].*/, "", what)
	includes++
	if (includes == 1 && own != "" && !is_own(what))
		fail("own-header", "the first include is the own header, \"" own "\"")
	if (!quoted && ours)
		fail("order", "the headers of the system come before ours: <" what ">")
	ours = ours || (quoted && includes > 1 && file ~ /\.c$/ && room != "tests")
	if (!quoted || what ~ /\.pb-c\.h$/)
		check_library(what)
	else if (what !~ /\// || what ~ /^\.\.?\// || what ~ /\/\.\.?\//)
		fail("whole-path", "name it with its folder from the root: \"" what "\"")
	else
		check_layer(what)
}

# A condition may run over several lines.
function check_condition(text) {
	if (text ~ /^[ \t]*#[ \t]*(if|ifdef|ifndef|elif)([ \t(!]|$)/)
		condition = 1
	if (condition) {
		if (file !~ /_(linux|posix|windows|bsd|other|unix)\.[ch]$/ &&
		    text ~ ("(^|[^A-Za-z0-9_])(" platforms ")([^A-Za-z0-9_]|$)"))
			fail("platform", "a platform has a file of its own: " text)
		if (module != "locked_stack" && room != "tests" &&
		    text ~ ("(^|[^A-Za-z0-9_])(" machines ")([^A-Za-z0-9_]|$)"))
			fail("platform", "only locked_stack knows the machine: " text)
	}
	if (text !~ /\\$/)
		condition = 0
}

function begin_c(path) {
	file = path
	line = 0
	room = room_of(path)
	module = module_of(path)
	includes = ours = once = classic = condition = 0
	own = path
	sub(/[^\/]*$/, module ".h", own)
	if (path !~ /\.c$/ || !(own in kind))
		own = ""
}

function end_c() {
	if (own != "" && !includes)
		fail("own-header", "the first include is the own header, \"" own "\"")
	if (file ~ /^client\/lib\/mgclient(-audit|-backup|-memory|-token)?\.h$/) {
		if (!classic || once)
			fail("guard", "a public header has a classic guard, #ifndef MGCLIENT_H")
	} else if (file ~ /\.h$/ && !once) {
		fail("guard", "a header has #pragma once")
	}
}

function read_c(path, text) {
	begin_c(path)
	while ((getline text < (root "/" path)) > 0) {
		line++
		if (line == 1 && text != "/* SPDX-License-Identifier: Apache-2.0 */")
			fail("spdx", "the first line is /* SPDX-License-Identifier: Apache-2.0 */")
		once = once || text ~ /^#pragma once/
		classic = classic || text ~ /^#ifndef MGCLIENT(_AUDIT|_BACKUP|_MEMORY|_TOKEN)?_H$/
		check_include(text)
		check_condition(text)
	}
	close(root "/" path)
	if (line == 0)
		fail("spdx", "the file is empty")
	end_c()
}

function read_script(path, text, licensed) {
	file = path
	line = licensed = 0
	while ((getline text < (root "/" path)) > 0)
		if (++line <= 2 && text == "# SPDX-License-Identifier: Apache-2.0")
			licensed = 1
	close(root "/" path)
	if (!licensed)
		fail("spdx", "one of the first two lines is # SPDX-License-Identifier: Apache-2.0")
}

# Whether one header leads to another, by whatever way round.
function reaches(from, to, i) {
	if (from == to)
		return 1
	if (from in seen)
		return 0
	seen[from] = 1
	for (i = 1; i <= edges; i++)
		if (edge_from[i] == from && reaches(edge_to[i], to))
			return 1
	return 0
}

function find_cycles(i) {
	for (i = 1; i <= edges; i++) {
		split("", seen)
		if (reaches(edge_to[i], edge_from[i])) {
			file = edge_from[i]
			line = edge_line[i]
			fail("cycle", edge_to[i] " leads back here")
		}
	}
}

END {
	for (n = 1; n <= count; n++) {
		if (kind[order[n]] == "c")
			read_c(order[n])
		else
			read_script(order[n])
		most = file ~ /^tests\// ? 900 : 600
		if (line > most)
			fail("length", "a file has at most " most " lines here, this one " line)
	}
	find_cycles()
	printf "# %d files checked\n", count
	exit broken
}
'

# report FINDINGS: one case a rule.
report() {
	number=0
	for rule in $RULES; do
		number=$((number + 1))
		if grep -q "^[^ ]*:[0-9]*: $rule: " "$1"; then
			echo "not ok $number - $rule"
		else
			echo "ok $number - $rule"
		fi
	done
	echo "1..$number"
}

# plant RULE FILE TEXT...: appends lines to a file of the copy (or makes it), checks, and takes them
# away again.
plant() {
	rule=$1
	file=$2
	shift 2
	first=$(printf '%s\n' "$1" | head -n 1)
	planted=$((planted + 1))
	existed=no
	if [ -f "$copy/$file" ]; then
		existed=yes
		cp "$copy/$file" "$work/saved"
	else
		mkdir -p "$(dirname "$copy/$file")"
		case $file in
		*.[ch]) echo '/* SPDX-License-Identifier: Apache-2.0 */' >"$copy/$file" ;;
		esac
	fi
	printf '%s\n' "$@" >>"$copy/$file"
	check "$copy" >"$work/found" || true
	if grep -q "^$file:[0-9]*: $rule: " "$work/found"; then
		echo "ok $planted - $rule is found in $file: $first"
	else
		echo "not ok $planted - $rule is found in $file: $first"
		missed=1
	fi
	if [ $existed = yes ]; then
		cp "$work/saved" "$copy/$file"
	else
		rm "$copy/$file"
	fi
}

plant_layers() {
	plant layer common/span.h '#include "common/memory/guard.h"'
	plant layer common/memory/planted.c '#include "common/wire/frame.h"'
	plant layer common/wire/planted.c '#include "daemon/config.h"'
	plant layer daemon/planted.c '#include "client/lib/mgclient.h"'
	plant layer client/lib/planted.c '#include "daemon/config.h"'
	plant layer client/cli/planted.c '#include "common/span.h"'
	plant layer client/cli/planted.c '#include "client/lib/connection.h"'
	plant layer client/lib/examples/planted.c '#include "common/span.h"'
	plant layer daemon/planted.c '#include "tests/integration/harness.h"'
	plant library common/memory/planted.c '#include <uv/planted.h>' '#include <jansson.h>'
	plant library common/status.h '#include <sodium.h>'
	plant library client/cli/planted.c '#include <sodium.h>'
	plant library daemon/planted.c '#include <jansson.h>'
	plant loop daemon/request/request.c '#include <uv.h>'
	plant loop common/wire/planted.c '#include <uv.h>'
	plant generated daemon/planted.c '#include "memguard.pb-c.h"'
	plant generated common/wire/channel.c '#include <protobuf-c/protobuf-c.h>'
}

plant_daemon() {
	plant rank daemon/vault/vault.h '#include "daemon/session.h"'
	plant rank daemon/peer.h '#include "daemon/log.h"'
	plant rank daemon/policy/policy.c '#include "daemon/vault/vault.h"'
	plant rank daemon/planted.c '#include "daemon/config.h"'
	printf '%s\n' '#pragma once' '#include "daemon/planted.h"' >"$copy/daemon/second.h"
	plant cycle daemon/planted.h '#include "daemon/second.h"'
	rm "$copy/daemon/second.h"
}

plant_form() {
	mkdir -p "$copy/daemon"
	echo '#pragma once' >"$copy/daemon/first.h"
	plant own-header daemon/first.c '#include <stdio.h>'
	plant own-header daemon/first_linux.c '#include <stdio.h>' '#include "daemon/first.h"'
	rm "$copy/daemon/first.h"
	plant order daemon/planted.c '#include "common/bytes.h"' '#include "common/span.h"' \
		'#include <stdio.h>'
	plant whole-path daemon/planted.c '#include "config.h"'
	plant whole-path daemon/planted.c '#include "../common/span.h"'
	plant guard daemon/planted.h 'int planted;'
	plant guard client/lib/mgclient.h '#pragma once'
	plant platform daemon/planted.c '#ifdef __linux__' '#endif'
	plant platform daemon/planted.c '#if defined(PLANTED) || \
	defined(__FreeBSD__)' '#endif'
	plant platform common/memory/planted.c '#if defined(__x86_64__)' '#endif'
	plant spdx tests/planted.sh '#!/bin/sh'
	: >"$copy/daemon/planted.c"
	plant spdx daemon/planted.c '#include <stdio.h>'
	rm "$copy/daemon/planted.c"
	plant length daemon/planted.c "$(awk 'BEGIN { for (i = 0; i < 600; i++) print ";" }')"
}

# What is allowed must not be called a violation, or the check above would prove nothing.
spare() {
	planted=$((planted + 1))
	mkdir -p "$copy/common/memory"
	printf '%s\n' '/* SPDX-License-Identifier: Apache-2.0 */' '#include <sodium.h>' \
		'#include <sys/mman.h>' '' '#include "common/span.h"' >"$copy/common/memory/planted.c"
	check "$copy" >"$work/found" || true
	if grep -q '^common/memory/planted.c:' "$work/found"; then
		echo "not ok $planted - what is allowed is left alone"
		missed=1
	else
		echo "ok $planted - what is allowed is left alone"
	fi
}

self_test() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/memguardd-layers.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	copy=$work/tree
	mkdir "$copy"
	(cd "$1" && cp -r common daemon client tests packaging "$copy")
	planted=0
	missed=0
	plant_layers
	plant_daemon
	plant_form
	spare
	echo "1..$planted"
	exit $missed
}

if [ "${1:-}" = --self-test ]; then
	self_test "${2:-$here/..}"
fi
findings=$(mktemp)
trap 'rm -f "$findings"' EXIT
status=0
check "${1:-$here/..}" >"$findings" || status=$?
cat "$findings"
report "$findings"
exit $status
