/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/names_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "base/own.h"
#include "base/str.h"
#include "base/tar.h"
#include "os/root.h"
#include "windows/utf.h"

struct name {
	struct name *next; /* in its bucket */
	struct name *parent;
	char *text;
	char *folded;
	bool own, scanned;
};

struct names_tree {
	int lower;
	struct name root;
	struct name **buckets;
	size_t n, n_buckets; /* a power of two */
};

/* The form in which names are compared. */
static char *names_fold(const char *text)
{
	autostr out;

	str_init(&out, 4 * TAR_NAME_MAX);
	while (*text) {
		uint32_t c;

		text += utf_decode(text, &c);
		utf_add(&out, (uint32_t)towlower((wint_t)c));
	}
	return str_take(&out);
}

static size_t hash_of(const struct name *parent, const char *folded)
{
	uint64_t h = (uint64_t)(uintptr_t)parent * 0x9e3779b97f4a7c15ull;

	for (; *folded; folded++)
		h = (h ^ (unsigned char)*folded) * 1099511628211ull;
	return (size_t)(h ^ (h >> 29));
}

struct names_tree *names_tree_new(int lower, const char *start)
{
	struct names_tree *t = xcalloc(1, sizeof(*t));

	t->lower = lower;
	t->root.text = xstrdup(start);
	return t;
}

void names_tree_free(struct names_tree *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_buckets; i++) {
		for (struct name *n = t->buckets[i], *next; n; n = next) {
			next = n->next;
			free(n->text);
			free(n->folded);
			free(n);
		}
	}
	free(t->buckets);
	free(t->root.text);
	free(t);
}

struct name *names_root(struct names_tree *t)
{
	return &t->root;
}

static void grow(struct names_tree *t)
{
	size_t n = t->n_buckets ? 2 * t->n_buckets : 4096;
	struct name **buckets = xcalloc(n, sizeof(struct name *));

	for (size_t i = 0; i < t->n_buckets; i++) {
		for (struct name *at = t->buckets[i], *next; at; at = next) {
			size_t b = hash_of(at->parent, at->folded) & (n - 1);

			next = at->next;
			at->next = buckets[b];
			buckets[b] = at;
		}
	}
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n;
}

static struct name *look(const struct names_tree *t, const struct name *dir, const char *folded)
{
	struct name *n = t->n_buckets ? t->buckets[hash_of(dir, folded) & (t->n_buckets - 1)] : NULL;

	while (n && (n->parent != dir || strcmp(n->folded, folded) != 0))
		n = n->next;
	return n;
}

static struct name *add(struct names_tree *t, struct name *dir, const char *text, char *folded)
{
	struct name *n = xcalloc(1, sizeof(*n));
	size_t b;

	if (t->n == t->n_buckets)
		grow(t);
	b = hash_of(dir, folded) & (t->n_buckets - 1);
	*n = (struct name){ .next = t->buckets[b], .parent = dir, .text = xstrdup(text), .folded = folded };
	t->buckets[b] = n;
	t->n++;
	return n;
}

char *names_path(const struct name *n)
{
	if (!n->parent)
		return xstrdup(n->text);
	autofree char *dir = names_path(n->parent);

	return xasprintf("%s/%s", dir, n->text);
}

/* What the directory has below the layer. One that isn't there has nothing. */
static void scan(struct names_tree *t, struct name *dir)
{
	autofree char *path = names_path(dir);
	autoclose int fd = t->lower < 0 ? -1 : root_try_open(t->lower, path, O_RDONLY | O_DIRECTORY, 0, 0);
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);

	dir->scanned = true;
	if (!entries)
		return;
	take_fd(&fd);
	for (struct dirent *d; (d = readdir(entries));) {
		autofree char *folded = names_fold(d->d_name);

		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 && !look(t, dir, folded))
			add(t, dir, d->d_name, take_ptr(&folded));
	}
	closedir(entries);
}

int names_find(struct names_tree *t, struct name *dir, const char *text, struct name **out, struct err *e)
{
	autofree char *folded = names_fold(text);

	if (!dir->scanned)
		scan(t, dir);
	*out = look(t, dir, folded);
	return t->n > NAMES_MAX ? err_set(e, ERR_LIMIT, 0, "more than %d names", NAMES_MAX) : 0;
}

struct name *names_get(struct names_tree *t, struct name *dir, const char *text, struct err *e)
{
	struct name *n = NULL;

	if (names_find(t, dir, text, &n, e))
		return NULL;
	return n ? n : add(t, dir, text, names_fold(text));
}

bool names_is_own(const struct name *n)
{
	return n->own;
}

void names_set_own(struct name *n, bool own)
{
	n->own = own;
}
