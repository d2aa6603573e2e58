/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/peer_place.h"
#include "tests/unit/claims.h"

#define USER 1000

static struct peer_place place;

/* What was there before is to leave no trace. */
static void set_up(void)
{
	memset(&place, 'x', sizeof(place));
}

static void read_as(const char *path, uid_t uid)
{
	char *copy = malloc(strlen(path) + 1);

	ck_assert_ptr_nonnull(copy);
	/* No end behind it: what reads on is found by the sanitizers. */
	memcpy(copy, path, strlen(path));
	copy = realloc(copy, strlen(path) ? strlen(path) : 1);
	ck_assert_ptr_nonnull(copy);
	peer_place_read(&place, span_of(copy, strlen(path)), uid);
	free(copy);
}

static void is_read_as(
	const char *path, const char *unit, const char *slice, const char *userunit, uid_t uid)
{
	read_as(path, uid);
	ck_assert_msg(place.known, "%s", path);
	ck_assert_msg(strcmp(place.unit, unit) == 0, "%s: unit %s", path, place.unit);
	ck_assert_msg(strcmp(place.slice, slice) == 0, "%s: slice %s", path, place.slice);
	ck_assert_msg(
		strcmp(place.userunit, userunit) == 0, "%s: userunit %s", path, place.userunit);
}

/* -- what systemd makes -------------------------------------------------------------------- */

START_TEST(a_service_is_the_unit_below_system_slice)
{
	static const struct {
		const char *path, *unit, *slice;
	} known[] = {
		{ "/system.slice/nginx.service", "nginx.service", "system.slice" },
		{ "/system.slice/nginx.service/", "nginx.service", "system.slice" },
		{ "/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service",
			"system-getty.slice" },
		{ "/system.slice/system-a.slice/system-a-b.slice/x.scope", "x.scope",
			"system-a-b.slice" },
		{ "/system.slice/dev-hugepages.mount", "dev-hugepages.mount", "system.slice" },
		{ "/system.slice/a\\x2db.socket", "a\\x2db.socket", "system.slice" },
		{ "/system.slice/swap.swap", "swap.swap", "system.slice" },
		{ "/system.slice/docker-0123.scope/container", "docker-0123.scope",
			"system.slice" },
		/* systemd puts a mark in front of what would be a file of the kernel's. */
		{ "/system.slice/_cpu.service", "cpu.service", "system.slice" },
		{ "/system.slice/__x.service", "_x.service", "system.slice" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		is_read_as(known[i].path, known[i].unit, known[i].slice, "", 0);
}
END_TEST

START_TEST(a_slice_is_the_innermost_above_a_unit)
{
	is_read_as("/ci.slice/ci-a.slice/build.service", "", "ci-a.slice", "", USER);
	is_read_as("/ci.slice/x.service/ci-b.slice", "", "ci.slice", "", USER);
	is_read_as("/user.slice/user-1000.slice/session-2.scope", "", "user-1000.slice", "", USER);
	is_read_as("/machine.slice/systemd-nspawn@a.service/payload/system.slice/nginx.service", "",
		"machine.slice", "", 0);
	is_read_as("/system.slice", "", "system.slice", "", 0);
	is_read_as("/system.slice/system-a.slice", "", "system-a.slice", "", 0);
}
END_TEST

#define MANAGER "/user.slice/user-1000.slice/user@1000.service"

START_TEST(a_user_unit_is_one_of_the_users_own_manager)
{
	is_read_as(
		MANAGER "/app.slice/agent.service", "", "user-1000.slice", "agent.service", USER);
	is_read_as(MANAGER "/app.slice/app-x.slice/a.scope/deep.service", "", "user-1000.slice",
		"a.scope", USER);
	is_read_as(MANAGER "/init.scope", "", "user-1000.slice", "init.scope", USER);
	is_read_as(MANAGER, "", "user-1000.slice", "", USER);
	/* Another user's process in it, such as one with root's rights. */
	is_read_as(MANAGER "/app.slice/agent.service", "", "user-1000.slice", "", 0);
	is_read_as(MANAGER "/app.slice/agent.service", "", "user-1000.slice", "", 100);
	is_read_as(MANAGER "/app.slice/agent.service", "", "user-1000.slice", "", 10000);
	/* Another user's manager in the slice of this one, or anywhere else. */
	is_read_as("/user.slice/user-1000.slice/user@1001.service/app.slice/a.service", "",
		"user-1000.slice", "", USER);
	is_read_as("/user.slice/user@1000.service/app.slice/a.service", "", "user.slice", "", USER);
	is_read_as("/system.slice/user@1000.service/app.slice/a.service", "user@1000.service",
		"system.slice", "", USER);
	is_read_as(
		"/user.slice/user-1000.slice/session-1.scope/user@1000.service/app.slice/a.service",
		"", "user-1000.slice", "", USER);
	is_read_as("/user.slice/user-1000.slice/user@01000.service/app.slice/a.service", "",
		"user-1000.slice", "", USER);
}
END_TEST

/* -- what somebody else makes -------------------------------------------------------------- */

START_TEST(a_name_further_down_is_never_a_system_unit)
{
	static const char *const paths[] = {
		MANAGER "/system.slice/nginx.service",
		MANAGER "/app.slice/system.slice/nginx.service",
		"/user.slice/user-1000.slice/system.slice/nginx.service",
		"/user.slice/system.slice/nginx.service",
		"/docker/0123/system.slice/nginx.service",
		"/lxc.payload.a/system.slice/nginx.service",
		"/init.scope/system.slice/nginx.service",
		"/nginx.service",
		"/nginx.service/system.slice/nginx.service",
		"/x.slice/system.slice/nginx.service",
		"/system.slice.x/nginx.service",
		"/xsystem.slice/nginx.service",
		"/_system.slice/nginx.service",
		"/System.slice/nginx.service",
		"/system.slice/a/nginx.service",
		"/system.slice/x.slice/nginx.service",
		"/system.slice/systemx.slice/nginx.service",
		"/system.slice/system-.slice/nginx.service",
		"/system.slice/system-a-b.slice/nginx.service",
		"/system.slice/system-a.slice/system-b-c.slice/nginx.service",
		"/system.slice/-.slice/nginx.service",
		"/system.slice//nginx.service",
		"//system.slice/nginx.service",
		"/./system.slice/nginx.service",
		"/system.slice/../system.slice/nginx.service",
		"/system.slice/./nginx.service",
		"/",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		read_as(paths[i], USER);
		ck_assert_msg(place.known && place.unit[0] == '\0', "%s: %s", paths[i], place.unit);
	}
	/* The first one counts, whatever is below it. */
	read_as("/system.slice/build.service/system.slice/nginx.service", USER);
	ck_assert_str_eq(place.unit, "build.service");
	read_as("/system.slice/build.service/nginx.service", USER);
	ck_assert_str_eq(place.unit, "build.service");
}
END_TEST

START_TEST(what_is_no_units_name_is_no_unit)
{
	static const char *const names[] = {
		"nginx",
		"nginx.servicex",
		"nginx.service (deleted)",
		" nginx.service",
		"nginx.service ",
		"nginx.service\\",
		"nginx\001.service",
		"nginx\x7f.service",
		"nginx\xff.service",
		"ng%69nx.service",
		"nginx.timer",
		"nginx.target",
		"nginx.slice",
		".service",
		".scope",
		"_",
		"_.service",
		"service",
	};
	char path[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		strcpy(path, "/system.slice/");
		strcat(path, names[i]);
		read_as(path, 0);
		ck_assert_msg(place.known && place.unit[0] == '\0', "%s: %s", path, place.unit);
		ck_assert_str_eq(place.slice, "system.slice");
	}
	peer_place_read(&place, span_of("/system.slice/a\0b.service", 25), 0);
	ck_assert_str_eq(place.unit, "");
}
END_TEST

START_TEST(what_lies_outside_of_our_root_is_not_known)
{
	static const char *const paths[] = {
		"/..",
		"/../nginx.service",
		"/../system.slice/nginx.service",
		"/../../../system.slice/nginx.service",
		"",
		"system.slice/nginx.service",
		"..",
		" /system.slice/nginx.service",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		read_as(paths[i], 0);
		ck_assert_msg(!place.known, "%s", paths[i]);
		ck_assert_str_eq(place.unit, "");
		ck_assert_str_eq(place.slice, "");
		ck_assert_str_eq(place.userunit, "");
	}
	/* A name that only begins so is one like others. */
	is_read_as("/..a/system.slice/nginx.service", "", "", "", 0);
}
END_TEST

/* -- the text that it stands in ------------------------------------------------------------ */

START_TEST(the_path_is_that_of_the_unified_hierarchy)
{
	static const struct {
		const char *text, *path;
	} texts[] = {
		{ "0::/a/b\n", "/a/b" },
		{ "0::/\n", "/" },
		{ "2:cpu,cpuacct:/x\n1:name=systemd:/y\n0::/z\n", "/z" },
		{ "1:name=systemd:/x:y\n0::/a:b\n", "/a:b" },
		{ "0::/../a\n", "/../a" },
		/* What somebody has called a cgroup of another hierarchy. */
		{ "1:name=systemd:/x\n0::/system.slice/nginx.service\n0::/z\n", "/z" },
		{ "1:name=systemd:/x\n0::/system.slice/nginx.service\n1:cpu:/z\n", "" },
		{ "1:name=systemd:0::/a\n", "" },
		{ "1:name=systemd:/a\n", "" },
		{ "10::/a\n", "" },
		{ "0:x:/a\n", "" },
		{ "0::a\n", "" },
		{ "0::\n", "" },
		{ "0::/cut", "" },
		{ "0::/a\n\n", "" },
		{ "\n", "" },
		{ "", "" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct span path = peer_place_path(span_text(texts[i].text));

		ck_assert_msg(span_equal(path, span_text(texts[i].path)), "%s", texts[i].text);
	}
}
END_TEST

/* A name as long as a cgroup's can be, and what the kernel has no room for. */
START_TEST(a_name_of_any_length_is_taken_whole_or_not_at_all)
{
	static char path[5000];
	size_t begin = strlen("/system.slice/");

	for (size_t size = 9; size < 4900; size += size == 300 ? 4500 : 1) {
		memcpy(path, "/system.slice/", begin);
		memset(path + begin, 'a', size);
		strcpy(path + begin + size - strlen(".service"), ".service");
		read_as(path, 0);
		ck_assert_uint_eq(strlen(place.unit), size < PEER_UNIT_MAX ? size : 0);
		ck_assert_str_eq(place.slice, "system.slice");
	}
}
END_TEST

START_TEST(a_deep_path_is_read_to_its_end)
{
	static char path[5000];

	strcpy(path, "/system.slice/x.service");
	while (strlen(path) < 4000)
		strcat(path, "/d");
	read_as(path, 0);
	ck_assert_str_eq(place.unit, "x.service");
	strcpy(path, "");
	while (strlen(path) < 4000)
		strcat(path, "/s.slice");
	read_as(path, 0);
	ck_assert_str_eq(place.slice, "s.slice");
	ck_assert_str_eq(place.unit, "");
}
END_TEST

int main(void)
{
	TCase *claims = tcase_create("peer_place");

	tcase_add_checked_fixture(claims, set_up, NULL);
	tcase_add_test(claims, a_service_is_the_unit_below_system_slice);
	tcase_add_test(claims, a_slice_is_the_innermost_above_a_unit);
	tcase_add_test(claims, a_user_unit_is_one_of_the_users_own_manager);
	tcase_add_test(claims, a_name_further_down_is_never_a_system_unit);
	tcase_add_test(claims, what_is_no_units_name_is_no_unit);
	tcase_add_test(claims, what_lies_outside_of_our_root_is_not_known);
	tcase_add_test(claims, the_path_is_that_of_the_unified_hierarchy);
	tcase_add_test(claims, a_name_of_any_length_is_taken_whole_or_not_at_all);
	tcase_add_test(claims, a_deep_path_is_read_to_its_end);
	return claims_run(claims, "peer_place");
}
