/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/hive_apply.h"

#include <string.h>
#include <strings.h>

#include "base/own.h"
#include "base/str.h"

#define DELETIONS_MAX 50000 /* each of them looks at the whole registry */
#define VALUES_TEXT_MAX (4 * HIVE_BYTES_MAX)
#define TYPE_BINARY 3
#define TYPE_DWORD 4

/* What a program asks for the version: it is the base's, which Wine has to agree with. */
#define VERSION_KEY "Software\\Microsoft\\Windows NT\\CurrentVersion"
static const char *const version_values[] = {
	"BuildLab",
	"BuildLabEx",
	"CSDVersion",
	"CurrentBuild",
	"CurrentBuildNumber",
	"CurrentMajorVersionNumber",
	"CurrentMinorVersionNumber",
	"CurrentVersion",
	"DisplayVersion",
	"EditionID",
	"InstallationType",
	"ProductName",
	"ReleaseId",
	"UBR",
};

struct apply {
	struct registry *registry;
	const char *prefix;
	const struct hive_choice *choice;
	size_t deletions, links;
};

static bool is_version(const char *key, const char *name)
{
	if (strcasecmp(key, VERSION_KEY) != 0)
		return false;
	for (size_t i = 0; i < array_len(version_values); i++)
		if (!strcasecmp(version_values[i], name))
			return true;
	return false;
}

/* As Wine's file has it. Strings in hex, too: Wine reads them, and they stay what they are whatever is in them. */
static void add_value(struct str *out, const struct hive_value *v)
{
	static const char digits[] = "0123456789abcdef";

	if (v->type == TYPE_DWORD && v->n == 4) {
		str_printf(out, "dword:%02x%02x%02x%02x", v->data[3], v->data[2], v->data[1], v->data[0]);
		return;
	}
	if (v->type == TYPE_BINARY)
		str_puts(out, "hex:");
	else
		str_printf(out, "hex(%x):", v->type);
	for (size_t i = 0; i < v->n; i++) {
		const char byte[] = { digits[v->data[i] >> 4], digits[v->data[i] & 15], ',' };

		str_add(out, byte, i + 1 < v->n ? 3 : 2);
	}
}

static void set_values(struct apply *a, const char *path, const struct hive_key *key)
{
	autofree struct registry_value *values = xcalloc(key->n_values + 1, sizeof(*values));
	autofree struct str *texts = xcalloc(key->n_values + 1, sizeof(*texts));
	size_t n = 0;

	for (size_t i = 0; i < key->n_values; i++) {
		const struct hive_value *v = &key->values[i];

		if (is_version(path, v->name))
			continue;
		str_init(&texts[n], VALUES_TEXT_MAX);
		if (!v->deleted)
			add_value(&texts[n], v);
		values[n] = (struct registry_value){ .name = v->name, .text = v->deleted ? NULL : texts[n].s };
		n++;
	}
	registry_set_all(a->registry, path, values, n);
	while (n)
		str_fini(&texts[--n]);
}

static int count_deletion(struct apply *a, struct err *e)
{
	return ++a->deletions > DELETIONS_MAX
		       ? err_set(e, ERR_LIMIT, 0, "registry hive: more than %d keys are deleted", DELETIONS_MAX)
		       : 0;
}

static bool is_below(const char *path, const char *const *keys)
{
	for (; *keys; keys++) {
		size_t n = strlen(*keys);

		if (!strncasecmp(path, *keys, n) && (!path[n] || path[n] == '\\'))
			return true;
	}
	return false;
}

static int apply_key(void *arg, const struct hive_key *key, struct err *e)
{
	struct apply *a = arg;
	autofree char *path = xasprintf("%s%s%s", a->prefix, *a->prefix && *key->path ? "\\" : "", key->path);
	/* The root of a file without a prefix has no section, and no values. */
	if (!*path)
		return 0;
	if (a->choice && (!is_below(key->path, a->choice->only) || is_below(key->path, a->choice->but)))
		return 0;
	/* The root of a hive and the key with the version can't go. */
	bool stays = !*key->path || !strcasecmp(path, VERSION_KEY);

	if (key->link) {
		a->links++;
		return 0;
	}
	if (!stays && (key->layering == HIVE_TOMBSTONE || key->layering == HIVE_SUPERSEDE_TREE)) {
		if (count_deletion(a, e))
			return -1;
		registry_delete(a->registry, path);
	}
	if (!stays && key->layering == HIVE_SUPERSEDE_LOCAL)
		registry_clear(a->registry, path);
	if (key->layering != HIVE_TOMBSTONE)
		set_values(a, path, key);
	return 0;
}

int hive_apply(struct registry *r, const char *prefix, const struct hive_choice *choice, const uint8_t *data, size_t n,
	       size_t *links, struct err *e)
{
	struct apply a = { .registry = r, .prefix = prefix, .choice = choice };

	if (hive_walk(data, n, apply_key, &a, e))
		return -1;
	*links += a.links;
	return 0;
}
