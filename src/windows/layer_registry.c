/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/layer_registry.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/own.h"
#include "base/str.h"
#include "os/root.h"
#include "windows/hive_apply.h"
#include "windows/layout.h"

#define REGISTRY_BYTES_MAX (128 * MIB)
#define FILE_TIME 1700000000

/* Wine's files. */
static const char *const files[] = { "system.reg", "userdef.reg", "user.reg" };
#define FILE_OF_USER 2

/* Of a user's hive: what programs and users have put there. The rest is what Windows makes for each user. */
static const char *const profile_keys[] = { "Environment", "Software", NULL };
static const char *const profile_own[] = { "Software\\Microsoft",   "Software\\Classes", "Software\\Policies",
					   "Software\\Wow6432Node", "Software\\Wine",    NULL };

/* Which hive is what in them: userdef.reg is HKEY_USERS\.Default, and its keys have no prefix. */
static const struct {
	const char *name, *prefix;
	size_t file;
} hives[] = {
	{ "System_Delta", "System", 0 },   { "Software_Delta", "Software", 0 },  { "Sam_Delta", "SAM", 0 },
	{ "Security_Delta", "SECURITY", 0 }, { "DefaultUser_Delta", "", 1 },
};

struct layer_registry {
	int below;
	struct registry *loaded[array_len(files)];
};

struct layer_registry *layer_registry_new(int below)
{
	struct layer_registry *r = xcalloc(1, sizeof(*r));

	r->below = below;
	return r;
}

void layer_registry_free(struct layer_registry *r)
{
	for (size_t i = 0; r && i < array_len(files); i++)
		registry_free(r->loaded[i]);
	free(r);
}

static struct registry *load(struct layer_registry *r, size_t file, struct err *e)
{
	autofree char *path = xasprintf(WINDOWS_PREFIX "/%s", files[file]);
	autostr text;

	str_init(&text, REGISTRY_BYTES_MAX);
	if (r->loaded[file])
		return r->loaded[file];
	if (r->below >= 0 && root_read_file(r->below, path, &text, e))
		return NULL;
	r->loaded[file] = registry_parse(text.s ? text.s : "");
	if (!r->loaded[file])
		err_set(e, ERR_SYSTEM, 0, "the Windows base has no %s", files[file]);
	return r->loaded[file];
}

uint8_t *layer_registry_read(const struct tar_entry *t, struct tar_reader *reader, struct err *e)
{
	autofree uint8_t *out = NULL;
	const void *data;
	uint64_t at;
	ssize_t n;

	if (t->size > HIVE_BYTES_MAX) {
		err_set(e, ERR_LIMIT, 0, "larger than %llu bytes", HIVE_BYTES_MAX);
		return NULL;
	}
	out = xcalloc(t->size + 1, 1);
	while ((n = tar_data(reader, &data, &at, e)) > 0)
		memcpy(out + at, data, (size_t)n);
	return n < 0 ? NULL : take_ptr(&out);
}

int layer_registry_profile(struct layer_registry *r, const uint8_t *data, size_t n, size_t *links, struct err *e)
{
	const struct hive_choice choice = { .only = profile_keys, .but = profile_own };
	struct registry *target = load(r, FILE_OF_USER, e);

	return target ? hive_apply(target, "", &choice, data, n, links, e) : -1;
}

int layer_registry_add(struct layer_registry *r, const char *name, const struct tar_entry *t, struct tar_reader *reader,
		       size_t *links, struct err *e)
{
	for (size_t i = 0; i < array_len(hives); i++) {
		struct registry *target;

		if (strcasecmp(hives[i].name, name) != 0)
			continue;
		target = load(r, hives[i].file, e);
		autofree uint8_t *data = target ? layer_registry_read(t, reader, e) : NULL;

		return !data || hive_apply(target, hives[i].prefix, NULL, data, (size_t)t->size, links, e) ? -1 : 1;
	}
	return 0;
}

int layer_registry_finish(struct layer_registry *r, struct layer_out *out, struct err *e)
{
	for (size_t i = 0; i < array_len(files); i++) {
		autofree char *path = xasprintf("%s/%s", &WINDOWS_PREFIX[1], files[i]);
		struct tar_entry t = { .name = path, .type = S_IFREG, .mode = 0644, .mtime = FILE_TIME };
		autostr text = { 0 };

		if (!r->loaded[i])
			continue;
		if (registry_text(r->loaded[i], &text, e))
			return -1;
		t.size = text.len;
		if (layer_out_entry(out, &t, e) || layer_out_data(out, text.s, text.len, e) ||
		    layer_out_padding(out, text.len, e))
			return -1;
	}
	return 0;
}
