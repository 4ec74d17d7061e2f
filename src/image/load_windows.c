/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "image/beneath.h"
#include "image/load.h"
#include "image/windows_form.h"

/* Microsoft's layers needn't be in the archive. */
static void mark_missing(struct load *l, struct source_image *src)
{
	for (size_t i = 0; i < src->n_layers; i++) {
		autoclose int fd = beneath_open(l->archive, src->layers[i].path, O_PATH);

		src->layers[i].missing = fd < 0 && errno == ENOENT;
	}
}

static int open_blob(struct load *l, const struct part *p, int *fd, struct err *e)
{
	char digest[DIGEST_MAX];
	uint64_t bytes;

	*fd = load_open_part(l, p, e);
	if (*fd < 0 || !p->digest[0])
		return *fd < 0 ? -1 : 0;
	if (digest_of_file(*fd, digest, &bytes, e))
		return -1;
	return strcmp(digest, p->digest)
		       ? err_set(e, ERR_INVALID, 0, "blob %s: digest mismatch, got %s", p->digest, digest)
		       : 0;
}

/* No progress: it is said to whoever wants none of that, too. */
static int tell(struct load *l, const char *text, struct err *e)
{
	return load_line(l, json_pack("{s:o}", "stream", json_sprintf("%s\n", text)), e);
}

static int convert(struct load *l, const struct source_image *src, const struct image_new *n, struct windows_form *f,
		   struct image_new *made, struct err *e)
{
	json_t *note;
	size_t i;

	if (tell(l, json_str(f->base, "comment", ""), e))
		return -1;
	for (i = f->n_base; !f->found && i < n->n_layers; i++)
		if (open_blob(l, &src->layers[i], &f->blobs[i], e))
			return -1;
	if (windows_form_convert(&l->work, f, n, made, e))
		return -1;
	json_array_foreach(f->notes, i, note)
		if (tell(l, json_string_value(note), e))
			return -1;
	return 0;
}

int load_windows(struct load *l, struct source_image *src, const struct image_new *n, struct image_new *made,
		 struct err *e)
{
	struct windows_form f;
	int rc;

	mark_missing(l, src);
	rc = windows_form_open(l->work.store, n, src, &f, e) || convert(l, src, n, &f, made, e) ? -1 : 0;
	windows_form_fini(&f);
	return rc;
}
