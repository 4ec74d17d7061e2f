/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "image/make.h"
#include "registry/internal.h"
#include "windows/version.h"

/* --- platforms ------------------------------------------------------------------------------------------------- */
static const char *normal_architecture(const char *name)
{
	static const char *const aliases[][2] = { { "x86_64", "amd64" }, { "x86-64", "amd64" }, { "aarch64", "arm64" },
						  { "i386", "386" },     { "armhf", "arm" } };

	for (size_t i = 0; i < array_len(aliases); i++)
		if (!strcmp(aliases[i][0], name))
			return aliases[i][1];
	return name;
}

static bool is_word(const char *s)
{
	return *s && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == strlen(s);
}

/* "linux" alone is a system, any other word alone an architecture of linux. */
int platform_parse(const char *text, struct platform *out, struct err *e)
{
	static const char *const systems[] = { "linux", "windows", "darwin", "freebsd" };
	char buf[128], *save = NULL, *parts[3] = { 0 };
	size_t n = 0;
	bool alone_is_os = false;

	memset(out, 0, sizeof(*out));
	snprintf(out->os, sizeof(out->os), "linux");
	snprintf(out->architecture, sizeof(out->architecture), "%s", architecture_name());
	out->any = !text || !*text;
	if (out->any)
		return 0;
	snprintf(buf, sizeof(buf), "%s", text);
	for (char *p = strtok_r(buf, "/", &save); p; p = strtok_r(NULL, "/", &save), n++)
		if (n < array_len(parts))
			parts[n] = p;
	for (size_t i = 0; i < n && i < array_len(parts); i++)
		if (!is_word(parts[i]))
			n = 0;
	if (!n || n > 3 || strlen(text) >= sizeof(buf))
		return err_set(e, ERR_INVALID, 0,
			       "\"%.100s\": unknown operating system or architecture: invalid argument", text);
	for (size_t i = 0; i < array_len(systems); i++)
		alone_is_os |= !strcmp(parts[0], systems[i]);
	if (n > 1 || alone_is_os)
		snprintf(out->os, sizeof(out->os), "%s", parts[0]);
	if (n > 1 || !alone_is_os)
		snprintf(out->architecture, sizeof(out->architecture), "%s", normal_architecture(parts[n > 1]));
	if (n > 2)
		snprintf(out->variant, sizeof(out->variant), "%s", parts[2]);
	return 0;
}

void platform_format(const struct platform *p, char out[static 96])
{
	snprintf(out, 96, "%s/%s%s%s", p->os, p->architecture, *p->variant ? "/" : "", p->variant);
}

static bool matches(const json_t *o, const struct platform *p)
{
	return !strcmp(json_str(o, "os", ""), p->os) && !strcmp(json_str(o, "architecture", ""), p->architecture) &&
	       (!*p->variant || !*json_str(o, "variant", "") || !strcmp(json_str(o, "variant", ""), p->variant));
}

bool platform_is(const json_t *config, const struct platform *p)
{
	/* Old images don't say what they are. */
	return !*json_str(config, "architecture", "") || matches(config, p) ||
	       (p->any && !strcmp(json_str(config, "os", ""), "windows"));
}

/* The better of two versions for this host: none that is newer, then the host's own, then the first. */
static const json_t *better_windows(const json_t *a, const json_t *b, const char *host)
{
	const char *version = json_str(json_object_get(b, "platform"), "os.version", "");
	unsigned build = 0, revision, wanted = 0, best = 0;

	if (windows_version_parse(version, &build, &revision) || !windows_version_by_build(build) ||
	    (host && windows_version_fits(host, version, true, NULL)))
		return a;
	if (!a || !host || windows_version_parse(host, &wanted, &revision))
		return a ? a : b;
	(void)windows_version_parse(json_str(json_object_get(a, "platform"), "os.version", ""), &best, &revision);
	return best != wanted && build == wanted ? b : a;
}

static const json_t *pick_windows(const json_t *list, const struct platform *p)
{
	struct platform windows = *p;
	const json_t *d, *best = NULL, *any = NULL;
	size_t i;

	snprintf(windows.os, sizeof(windows.os), "windows");
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		const json_t *platform = json_object_get(d, "platform");

		if (!json_is_object(platform) || !matches(platform, &windows))
			continue;
		any = any ? any : d;
		best = better_windows(best, d, p->windows_host);
	}
	/* None that fits: the first one, for whose config there is a text that says why. */
	return best ? best : any;
}

const json_t *platform_pick(const json_t *index, const struct platform *p, struct err *e)
{
	const json_t *list = json_object_get(index, "manifests"), *d, *any = NULL;
	char text[96];
	size_t i;

	if (!strcmp(p->os, "windows") && pick_windows(list, p))
		return pick_windows(list, p);
	json_array_foreach(list, i, d) {
		const json_t *platform = json_object_get(d, "platform");

		if (json_is_object(platform) && matches(platform, p))
			return d;
		if (json_is_object(d) && !platform && !any)
			any = d;
	}
	if (!any && p->any)
		any = pick_windows(list, p);
	if (any)
		return any;
	platform_format(p, text);
	return err_set(e, ERR_NOT_FOUND, 0, "no matching manifest for %s in the manifest list entries", text), NULL;
}

/* --- errors --------------------------------------------------------------------------------------------------------- */
void explain_pull(const char *code, const char *ref, const char *name, struct err *e)
{
	static const struct {
		const char *code, *format;
		bool tag; /* names the reference rather than the repository */
	} texts[] = {
		{ "MANIFEST_UNKNOWN", "manifest for %s not found", true },
		{ "NAME_UNKNOWN", "repository %s not found", false },
		{ "DENIED",
		  "pull access denied for %s, repository does not exist or may require 'docker login'", false },
	};

	for (size_t i = 0; i < array_len(texts); i++) {
		char text[400];

		if (strcmp(texts[i].code, code) != 0)
			continue;
		snprintf(text, sizeof(text), texts[i].format, texts[i].tag ? ref : name);
		e->kind = ERR_NOT_FOUND;
		err_prefix(e, "%.300s", text);
		return;
	}
}
