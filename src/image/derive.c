/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker commit: a new image from an old one and a layer. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "image/make.h"
#include "image/reference.h"

/* Two blocks of zeros: a tar of nothing. */
#define EMPTY_DIFF_ID "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

int image_apply_changes(const json_t *changes, json_t *config, struct err *e)
{
	return changes_apply(changes, config, e);
}

static json_t *array_of(json_t *object, const char *key)
{
	json_t *list = json_object_get(object, key);

	if (!json_is_array(list)) {
		list = json_array();
		json_object_set_new(object, key, list);
	}
	return list;
}

/* The parent's config with a new "config", one step more, and the layer unless it is empty. */
static char *derived_text(json_t *doc, const struct image_derived *d, const char *diff_id)
{
	static const char *const of_parent[] = { "id",      "parent",           "container", "container_config",
						 "comment", WINDOWS_FORM_SOURCE };
	bool empty = !strcmp(diff_id, EMPTY_DIFF_ID);
	json_t *rootfs = json_object_get(doc, "rootfs"), *step;
	struct timespec now = time_now();
	char created[TIME_TEXT_MAX];

	time_format(&now, created);
	step = json_pack("{s:s, s:s}", "created", created, "created_by", d->created_by);
	if (d->author && *d->author)
		json_object_set_new(step, "author", json_string(d->author));
	if (d->comment && *d->comment)
		json_object_set_new(step, "comment", json_string(d->comment));
	if (empty)
		json_object_set_new(step, "empty_layer", json_true());
	json_array_append_new(array_of(doc, "history"), step);
	for (size_t i = 0; i < array_len(of_parent); i++)
		json_object_del(doc, of_parent[i]);
	if (!rootfs) {
		rootfs = json_pack("{s:s}", "type", "layers");
		json_object_set_new(doc, "rootfs", rootfs);
	}
	if (!empty)
		json_array_append_new(array_of(rootfs, "diff_ids"), json_string(diff_id));
	json_object_set(doc, "config", (json_t *)(uintptr_t)d->config);
	json_object_set_new(doc, "created", json_string(created));
	if (d->author && *d->author)
		json_object_set_new(doc, "author", json_string(d->author));
	return json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
}

static int derive_name(const struct image_derived *d, json_t *names, struct err *e)
{
	autoreference r = { 0 };

	if (!d->ref || !*d->ref)
		return 0;
	if (reference_parse(d->ref, &r, e))
		return -1;
	if (r.digest)
		return err_set(e, ERR_INVALID, 0, "cannot create a tag with a digest reference");
	reference_default_tag(&r);
	autofree char *name = reference_text(&r, false);

	json_array_append_new(names, json_string(name));
	return 0;
}

int image_derive(struct image_store *s, const struct image_derived *d, image_source_fn *source, void *arg,
		 char id[static IMAGE_ID_MAX], struct err *e)
{
	autojson *doc = image_config(s, d->parent, e);
	autojson *names = json_array();
	struct layer layer = { .blob_fd = -1 };
	autoimage n = { .parent = d->parent };
	autowork w = { 0 };
	char *text;

	if (!doc || derive_name(d, names, e) || work_open(s, "commit", &w, e))
		return -1;
	autoclose int tar = make_spool_from(&w, source, arg, e);

	if (tar < 0 || layer_unpack(&w, tar, NULL, "", &layer, e))
		return -1;
	text = derived_text(doc, d, layer.diff_id);
	if (!text)
		return err_set(e, ERR_INVALID, 0, "the image's config is not UTF-8");
	if (image_new_config(&n, text, strlen(text), e))
		return -1;
	if (strcmp(layer.diff_id, EMPTY_DIFF_ID) != 0) {
		struct layer *top = &n.layers[n.n_layers - 1];

		memcpy(layer.chain, top->chain, sizeof(layer.chain));
		*top = layer;
		top->blob_fd = fcntl(tar, F_DUPFD_CLOEXEC, 3);
	}
	if (image_commit(&w, &n, names, e))
		return -1;
	snprintf(id, IMAGE_ID_MAX, "%s", n.id);
	return 0;
}
