/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/windows_form.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define BASE_LAYERS_MAX 2 /* of Microsoft's images: one as released, one with updates */

static bool has_feature(const json_t *config)
{
	const json_t *features = json_object_get(config, "os.features"), *v;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)features, i, v)
		if (json_is_string(v) && !strcmp(json_string_value(v), WINDOWS_FORM_FEATURE))
			return true;
	return false;
}

bool windows_form_is(const json_t *config)
{
	return !strcmp(json_str(config, "os", ""), "windows") && !has_feature(config);
}

/* --- which layers are Microsoft's --------------------------------------------------------------------------------------- */

static bool is_base_step(const json_t *step)
{
	const char *text = json_str(step, "created_by", "");

	return str_starts(text, "Apply image ") || str_starts(text, "Install update ");
}

/* By the history, as Microsoft writes it: the steps of the lowest layers. */
static size_t base_by_history(const json_t *config)
{
	const json_t *step;
	size_t i, n = 0;

	json_array_foreach(json_object_get(config, "history"), i, step) {
		if (json_bool(step, "empty_layer", false))
			continue;
		if (!is_base_step(step))
			break;
		n++;
	}
	return n;
}

static bool is_foreign(const struct image_new *n, const struct source_image *src, size_t i)
{
	const json_t *source = json_object_get(src->sources, n->layers[i].diff_id);

	return src->layers[i].foreign || manifest_is_foreign(source);
}

static int count_base(const struct image_new *n, const struct source_image *src, size_t *out, struct err *e)
{
	size_t foreign = 0, missing = 0, history = base_by_history(n->config);

	while (foreign < n->n_layers && is_foreign(n, src, foreign))
		foreign++;
	while (missing < n->n_layers && missing < BASE_LAYERS_MAX && src->layers[missing].missing)
		missing++;
	if (!foreign && !history && missing == n->n_layers)
		return err_set(e, ERR_INVALID, 0, "the archive has no layer of this image");
	*out = foreign > history ? foreign : history;
	/* There is no Windows image without a base. */
	*out = *out ? *out : missing ? missing : 1;
	return *out <= n->n_layers ? 0 : err_set(e, ERR_INVALID, 0, "image config: fewer layers than its history has");
}

/* What says which of Microsoft's bases it was: the addresses of its layers. */
static char *base_hint(const struct source_image *src, const struct image_new *n)
{
	const char *key;
	json_t *source;
	autostr out;

	str_init(&out, 64 * KIB);
	for (size_t i = 0; i < n->n_layers; i++)
		str_printf(&out, "%s ", src->layers[i].urls ? src->layers[i].urls : "");
	json_object_foreach(src->sources, key, source) {
		autofree char *urls = manifest_urls(source);

		str_printf(&out, "%s ", urls ? urls : "");
	}
	str_printf(&out, "%s", src->base_name ? src->base_name : "");
	return str_take(&out);
}

/* --- an image that has been here ---------------------------------------------------------------------------------------- */

static bool same_base(const json_t *config, const json_t *base)
{
	const json_t *have = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
	const json_t *wanted = json_object_get(base, "diff_ids"), *v;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)wanted, i, v)
		if (!json_equal(v, json_array_get(have, i)))
			return false;
	return true;
}

static char *find_converted(struct image_store *s, const char *source, const json_t *base)
{
	autofree char *mark = xasprintf("\"" WINDOWS_FORM_SOURCE "\":\"%s\"", source);
	autojson *rows = db_rows(s->db, NULL, "SELECT config FROM images WHERE instr(config, ?) > 0", "s", mark);
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) {
		const char *text = json_str(row, "config", "");
		autojson *config = json_parse(text, strlen(text), "image config", &(struct err){ 0 });

		if (config && has_feature(config) && same_base(config, base) &&
		    !strcmp(json_str(config, WINDOWS_FORM_SOURCE, ""), source))
			return xstrdup(text);
	}
	return NULL;
}

int windows_form_open(struct image_store *s, const struct image_new *n, const struct source_image *src,
		      struct windows_form *out, struct err *e)
{
	autofree char *hint = NULL;

	*out = (struct windows_form){ .n_layers = n->n_layers, .notes = json_array() };
	if (n->n_layers != src->n_layers)
		return err_set(e, ERR_INVALID, 0, "invalid manifest, layers length mismatch: expected %zu, got %zu",
			       n->n_layers, src->n_layers);
	if (!s->o.windows_base)
		return err_set(e, ERR_UNSUPPORTED, 0, "images of Windows are not supported here");
	if (count_base(n, src, &out->n_base, e))
		return -1;
	hint = base_hint(src, n);
	out->base = s->o.windows_base(s->o.windows_arg, n->config, hint, e);
	if (!out->base)
		return -1;
	out->found = find_converted(s, n->id, out->base);
	out->blobs = xcalloc(n->n_layers + 1, sizeof(*out->blobs));
	for (size_t i = 0; i < n->n_layers; i++)
		out->blobs[i] = -1;
	return 0;
}

void windows_form_fini(struct windows_form *f)
{
	for (size_t i = 0; f->blobs && i < f->n_layers; i++)
		close_fd(&f->blobs[i]);
	free(f->blobs);
	free(f->found);
	json_decref(f->base);
	json_decref(f->notes);
	*f = (struct windows_form){ 0 };
}

/* --- layers ------------------------------------------------------------------------------------------------------------- */

/* The store links blobs: they have to be files of its own file system. */
static int copy_in(struct work *w, const char *path, struct err *e)
{
	autoclose int in = open(path, O_RDONLY | O_CLOEXEC);
	autoclose int out = in < 0 ? -1 : openat(w->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	autofree char *buf = xmalloc(MIB);
	ssize_t n;

	if (out < 0)
		return err_set(e, ERR_SYSTEM, errno, "%s", path);
	while ((n = read(in, buf, MIB)) > 0)
		if (io_write_all(out, buf, (size_t)n))
			return err_set(e, ERR_SYSTEM, errno, "copy %s", path);
	if (n < 0 || lseek(out, 0, SEEK_SET))
		return err_set(e, ERR_SYSTEM, errno, "%s", path);
	return take_fd(&out);
}

static int base_layer(struct work *w, const struct windows_form *f, size_t i, struct layer *l, struct err *e)
{
	const char *path = json_string_value(json_array_get(json_object_get(f->base, "archives"), i));

	if (layer_known(w->store, l->chain))
		return 0;
	l->blob_fd = copy_in(w, path ? path : "", e);
	return l->blob_fd < 0 || layer_unpack(w, l->blob_fd, NULL, "", l, e) ? -1 : 0;
}

/* Where a layer's files are: in the store, or still in the work directory. */
static char *layer_path(const struct work *w, const struct layer *l)
{
	const char *root = w->store->o.root;

	return l->dir[0] ? xasprintf("%s/tmp/images/%s/%s/diff", root, w->name, l->dir)
			 : xasprintf("%s/layers/%s/diff", root, digest_hex(l->chain));
}

/* The target directory of the helper, as image/unpack.h has it. */
static int prepare(struct work *w, const char *name, const struct layer *layers, size_t n, struct err *e)
{
	autoclose int dir = -1;

	if (mkdirat(w->fd, name, 0700))
		return err_set(e, ERR_SYSTEM, errno, "work directory");
	dir = openat(w->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || mkdirat(dir, UNPACK_EMPTY, 0700) || mkdirat(dir, UNPACK_MERGED, 0700))
		return err_set(e, ERR_SYSTEM, errno, "work directory");
	for (size_t i = 0; i < n; i++) {
		autofree char *path = layer_path(w, &layers[n - 1 - i]);
		char number[16];

		snprintf(number, sizeof(number), "%zu", i);
		if (symlinkat(path, dir, number))
			return err_set(e, ERR_SYSTEM, errno, "layer link");
	}
	return take_fd(&dir);
}

/* One layer over the n below it. */
static int convert_layer(struct work *w, struct windows_form *f, const char *diff_id, int blob, struct layer *layers,
			 size_t n, struct err *e)
{
	struct layer *l = &layers[n];
	char name[32], got[DIGEST_MAX];

	snprintf(name, sizeof(name), "windows%u", __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED));
	autoclose int dir = prepare(w, name, layers, n, e);

	if (dir < 0 || layer_convert(w->store, blob, dir, f->notes, got, e))
		return -1;
	if (strcmp(diff_id, got) != 0)
		return err_set(e, ERR_INVALID, 0, "expected %s, got %s", diff_id, got);
	l->blob_fd = openat(dir, UNPACK_CONVERTED, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (l->blob_fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "converted layer");
	if (layer_unpack(w, l->blob_fd, NULL, "", l, e))
		return -1;
	layer_chain(n ? layers[n - 1].chain : NULL, l->diff_id, l->chain);
	return 0;
}

static int make_layers(struct work *w, struct windows_form *f, const struct image_new *n, struct layer *layers,
		       size_t n_base, struct err *e)
{
	for (size_t i = 0; i < n_base; i++) {
		const char *id = json_string_value(json_array_get(json_object_get(f->base, "diff_ids"), i));

		snprintf(layers[i].diff_id, DIGEST_MAX, "%s", id ? id : "");
		layer_chain(i ? layers[i - 1].chain : NULL, layers[i].diff_id, layers[i].chain);
		if (base_layer(w, f, i, &layers[i], e))
			return err_prefix(e, "Windows base");
	}
	for (size_t i = f->n_base; i < n->n_layers; i++)
		if (convert_layer(w, f, n->layers[i].diff_id, f->blobs[i], layers, n_base + i - f->n_base, e))
			return err_prefix(e, "layer %zu", i);
	return 0;
}

/* --- config ------------------------------------------------------------------------------------------------------------- */

/* Microsoft's steps become Silo's, the others stay. */
static json_t *new_history(const struct windows_form *f, const json_t *old)
{
	json_t *out = json_deep_copy(json_object_get(f->base, "history"));
	size_t i, layers = 0;
	json_t *step;

	json_array_foreach((json_t *)(uintptr_t)old, i, step) {
		bool empty = json_bool(step, "empty_layer", false);

		if (empty || layers >= f->n_base)
			json_array_append(out, step);
		layers += !empty;
	}
	return out;
}

static char *new_config(const struct windows_form *f, const struct image_new *n, const struct layer *layers,
			size_t count)
{
	autojson *doc = json_deep_copy(n->config);
	json_t *ids = json_array(), *features = json_object_get(doc, "os.features");

	for (size_t i = 0; i < count; i++)
		json_array_append_new(ids, json_string(layers[i].diff_id));
	if (!json_is_array(features)) {
		features = json_array();
		json_object_set_new(doc, "os.features", features);
	}
	json_array_append_new(features, json_string(WINDOWS_FORM_FEATURE));
	json_object_set_new(doc, "history", new_history(f, json_object_get(n->config, "history")));
	json_object_set_new(doc, "rootfs", json_pack("{s:s, s:o}", "type", "layers", "diff_ids", ids));
	json_object_set_new(doc, WINDOWS_FORM_SOURCE, json_string(n->id));
	return json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
}

static int take_config(struct image_new *out, char *text, struct err *e)
{
	return text ? image_new_config(out, text, strlen(text), e)
		    : err_set(e, ERR_INVALID, 0, "the image's config is not UTF-8");
}

int windows_form_convert(struct work *w, struct windows_form *f, const struct image_new *n, struct image_new *out,
			 struct err *e)
{
	size_t n_base = json_array_size(json_object_get(f->base, "diff_ids")), count = n_base + n->n_layers - f->n_base;
	struct layer *layers;
	int rc;

	if (f->found)
		return take_config(out, xstrdup(f->found), e);
	if (count > IMAGE_LAYERS_MAX)
		return err_set(e, ERR_INVALID, 0, "max depth exceeded");
	layers = xcalloc(count + 1, sizeof(*layers));
	for (size_t i = 0; i < count; i++)
		layers[i].blob_fd = -1;
	rc = make_layers(w, f, n, layers, n_base, e) || take_config(out, new_config(f, n, layers, count), e) ? -1 : 0;
	if (!rc)
		memcpy(out->layers, layers, count * sizeof(*layers));
	for (size_t i = 0; rc && i < count; i++)
		close_fd(&layers[i].blob_fd);
	free(layers);
	return rc;
}
