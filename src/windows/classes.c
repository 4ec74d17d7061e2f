/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each start of a container reads the whole registry: classes, type libraries and interfaces whose program isn't in the
 * base are left out of it, and when summer began in years gone by.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/own.h"
#include "base/str.h"
#include "windows/build.h"
#include "windows/registry.h"

#define CLASSES "Software\\Classes\\"
#define CLASS CLASSES "CLSID\\"
#define LIBRARY CLASSES "Typelib\\"
#define INTERFACE CLASSES "Interface\\"
#define TIME_ZONES "Software\\Microsoft\\Windows NT\\CurrentVersion\\Time Zones\\"
#define SYSTEM32 "C:\\windows\\system32\\"

struct classes {
	struct registry *r;
	struct {
		char **keys;
		size_t n;
	} useless;
};

/* Only what is said to be in system32, or to be found there, can be missed. */
static bool is_missing(const char *program)
{
	const char *name = program + (*program == '"');
	size_t n;

	if (!strncasecmp(name, SYSTEM32, strlen(SYSTEM32)))
		name += strlen(SYSTEM32);
	n = strcspn(name, "\" \\");
	if (!n || name[n] == '\\' || strchr(name, ':') || !memchr(name, '.', n))
		return false;
	autofree char *path = xasprintf(BUILD_SYSTEM32 "/%.*s", (int)n, name);

	for (char *at = path + strlen(BUILD_SYSTEM32); *at; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at += 'a' - 'A';
	return access(path, F_OK) != 0;
}

/* Whether the default value of PREFIX{id}SUFFIX is a program that isn't there. */
static bool lacks_program(struct classes *c, const char *prefix, const char *id, const char *suffix)
{
	autofree char *key = xasprintf("%s%s%s", prefix, id, suffix);
	autofree char *program = registry_default(c->r, key);

	return program && is_missing(program);
}

static bool class_is_useless(struct classes *c, const char *id)
{
	return lacks_program(c, CLASS, id, "\\InProcServer32") || lacks_program(c, CLASS, id, "\\LocalServer32");
}

/* By version; the language is 0 in all that Wine registers. */
static bool library_is_useless(struct classes *c, const char *id)
{
	static const char *const versions[] = { "1.0", "1.1", "1.2", "2.0", "2.6", "2.8",
						"3.0", "4.0", "5.1", "5.4", "5.5", "6.0" };

	for (size_t i = 0; i < array_len(versions); i++) {
		autofree char *suffix = xasprintf("\\%s\\0\\win64", versions[i]);

		if (lacks_program(c, LIBRARY, id, suffix))
			return true;
	}
	return false;
}

static bool interface_is_useless(struct classes *c, const char *id)
{
	autofree char *library_key = xasprintf(INTERFACE "%s\\TypeLib", id);
	autofree char *proxy_key = xasprintf(INTERFACE "%s\\ProxyStubClsid32", id);
	autofree char *library = registry_default(c->r, library_key);
	autofree char *proxy = registry_default(c->r, proxy_key);

	return (library && library_is_useless(c, library)) || (proxy && class_is_useless(c, proxy));
}

static const struct {
	const char *prefix;
	bool (*useless)(struct classes *c, const char *id);
} kinds[] = { { INTERFACE, interface_is_useless }, { LIBRARY, library_is_useless }, { CLASS, class_is_useless } };

static void add_useless(struct classes *c, const char *key)
{
	c->useless.keys = xrealloc(c->useless.keys, (c->useless.n + 1) * sizeof(char *));
	c->useless.keys[c->useless.n++] = xstrdup(key);
}

static bool judge(const char *key, void *arg)
{
	struct classes *c = arg;

	if (str_starts(key, TIME_ZONES) && str_ends(key, "\\Dynamic DST"))
		add_useless(c, key);
	for (size_t i = 0; i < array_len(kinds); i++) {
		size_t n = strlen(kinds[i].prefix);

		if (strncasecmp(key, kinds[i].prefix, n) != 0 || strchr(key + n, '\\') || !kinds[i].useless(c, key + n))
			continue;
		add_useless(c, key);
	}
	return false;
}

int build_prune_classes(void *arg, struct err *e)
{
	static const char path[] = BUILD_PREFIX "/system.reg";
	struct classes c = { .r = registry_load(AT_FDCWD, path, e) };
	int rc;

	if (!c.r)
		return -1;
	registry_each(c.r, judge, &c);
	for (size_t i = 0; i < c.useless.n; i++) {
		registry_delete(c.r, c.useless.keys[i]);
		free(c.useless.keys[i]);
	}
	free(c.useless.keys);
	rc = registry_save(c.r, AT_FDCWD, path, e);
	registry_free(c.r);
	return rc;
}
