/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packages of Wine, from the host's own mirror: fetched and verified by apt, without a trace in the host's apt. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "os/run.h"
#include "windows/build.h"

#define SUITE "trixie" /* Wine 10.0, whatever the host's own release */
#define KEYRING "/usr/share/keyrings/debian-archive-keyring.gpg"
#define DEFAULT_MIRROR "http://deb.debian.org/debian"
#define APT_TIMEOUT_MS (20 * 60 * 1000)
#define APT_CONFIG "packages/apt.conf" /* in BUILD_PACKAGES */

static const char *const packages[] = { "libc6",       "libc-bin", "libgcc-s1", "libunwind8",
					"liblzma5",    "wine64",   "libwine",   "libz-mingw-w64" };

/* The first source of the host that is Debian's archive itself. It doesn't matter when there is none. */
static void find_mirror(char *out, size_t size)
{
	static const char *const argv[] = { "apt-get",     "indextargets",         "--format",
					    "$(REPO_URI)", "Created-By: Packages", "Origin: Debian",
					    NULL };
	char *save = NULL;
	autostr list;

	snprintf(out, size, "%s", DEFAULT_MIRROR);
	str_init(&list, MIB);
	if (run_capture(argv, APT_TIMEOUT_MS, &list, NULL) || !list.s)
		return;
	for (char *line = strtok_r(list.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool plain = strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:/_~+-") ==
			     strlen(line);

		if (plain && !strstr(line, "security") && strlen(line) < size &&
		    (str_starts(line, "http://") || str_starts(line, "https://"))) {
			snprintf(out, size, "%s", line);
			return;
		}
	}
}

static int write_config(const char *mirror, struct err *e)
{
	autofree char *here = getcwd(NULL, 0);
	autostr conf, sources;

	if (!here)
		return err_set(e, ERR_SYSTEM, errno, "working directory");
	str_init(&conf, 64 * KIB);
	str_init(&sources, 64 * KIB);
	str_printf(&conf,
		   "Dir::State \"%s/" BUILD_PACKAGES "/state\";\nDir::State::status \"%s/" BUILD_PACKAGES "/status\";\n"
		   "Dir::Cache \"%s/" BUILD_PACKAGES "/cache\";\nDir::Etc::sourcelist \"%s/" BUILD_PACKAGES
		   "/wine.sources\";\nDir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n"
		   "Dir::Etc::preferences \"/dev/null\";\nAPT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\n"
		   "APT::Default-Release \"\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n"
		   "APT::Update::Error-Mode \"any\";\n",
		   here, here, here, here);
	str_printf(&sources,
		   "Types: deb\nURIs: %s\nSuites: " SUITE "\nComponents: main\nArchitectures: amd64\n"
		   "Signed-By: " KEYRING "\n",
		   mirror);
	if (io_mkdir_all(BUILD_PACKAGES "/state/lists/partial", 0755, e) ||
	    io_mkdir_all(BUILD_PACKAGES "/cache/archives/partial", 0755, e) ||
	    io_write_file(AT_FDCWD, BUILD_PACKAGES "/status", "", 0, 0644, false, e) ||
	    io_write_file(AT_FDCWD, BUILD_PACKAGES "/wine.sources", sources.s, sources.len, 0644, false, e))
		return -1;
	return io_write_file(AT_FDCWD, APT_CONFIG, conf.s, conf.len, 0644, false, e);
}

static int run_apt(const char *const *argv, struct err *e)
{
	autostr out;

	str_init(&out, MIB);
	return run_capture(argv, APT_TIMEOUT_MS, &out, e);
}

int build_fetch(void *arg, struct err *e)
{
	static const char *const update[] = { "apt-get", "-c", APT_CONFIG, "-qq", "update", NULL };
	const char *download[array_len(packages) + 6] = { "apt-get", "-c", APT_CONFIG, "-qq", "download" };
	char mirror[512];

	if (access(KEYRING, R_OK))
		return err_set(e, ERR_SYSTEM, errno, KEYRING " (install debian-archive-keyring)");
	find_mirror(mirror, sizeof(mirror));
	memcpy(download + 5, packages, sizeof(packages));
	if (write_config(mirror, e))
		return -1;
	if (run_apt(update, e) || run_apt(download, e))
		return err_prefix(e, "packages of " SUITE " from %s", mirror);
	return 0;
}

int build_unpack(void *arg, struct err *e)
{
	glob_t found;
	int failed = 0;

	if (glob("*.deb", 0, NULL, &found))
		return err_set(e, ERR_SYSTEM, 0, "apt-get has fetched nothing");
	if (found.gl_pathc != array_len(packages))
		failed = err_set(e, ERR_SYSTEM, 0, "%zu packages instead of %zu", found.gl_pathc, array_len(packages));
	for (size_t i = 0; !failed && i < found.gl_pathc; i++) {
		const char *const argv[] = { "dpkg-deb", "-x", found.gl_pathv[i], BUILD_UNPACKED, NULL };

		failed = build_run(argv, e);
		unlink(found.gl_pathv[i]);
	}
	globfree(&found);
	return failed;
}
