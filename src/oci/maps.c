/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Maps of user and group ids. */
#include <stdlib.h>

#include "base/json.h"
#include "base/own.h"
#include "oci/reader.h"
#include "oci/spec.h"

#define MAPS_MAX 340 /* lines that the kernel takes: user_namespaces(7) */

struct list {
	struct id_map *maps;
	size_t n;
};

static int parse_one(const json_t *j, void *arg, struct err *e)
{
	struct list *l = arg;
	int64_t inside, outside, size;

	if (read_int(j, "containerID", -1, 0, UINT32_MAX - 1, &inside, e) ||
	    read_int(j, "hostID", -1, 0, UINT32_MAX - 1, &outside, e) ||
	    read_int(j, "size", -1, 1, UINT32_MAX, &size, e))
		return -1;
	if (inside < 0 || outside < 0 || size < 0)
		return err_set(e, ERR_INVALID, 0, "containerID, hostID and size are needed");
	l->maps[l->n++] = (struct id_map){ (uint32_t)inside, (uint32_t)outside, (uint32_t)size };
	return 0;
}

static int parse_list(const json_t *obj, const char *key, struct id_map **out, size_t *n, struct err *e)
{
	struct list l = { 0 };

	if (read_count(obj, key) > MAPS_MAX)
		return err_set(e, ERR_LIMIT, 0, "%s: more than %d ranges", key, MAPS_MAX);
	l.maps = xcalloc(read_count(obj, key) + 1, sizeof(*l.maps));
	*out = l.maps;
	if (read_each(obj, key, parse_one, &l, e))
		return -1;
	*n = l.n;
	return 0;
}

int oci_id_maps_parse(const json_t *obj, const char *uids_key, const char *gids_key, struct id_maps *m, struct err *e)
{
	return parse_list(obj, uids_key, &m->uids, &m->n_uids, e) || parse_list(obj, gids_key, &m->gids, &m->n_gids, e)
		       ? -1
		       : 0;
}

void oci_id_maps_fini(struct id_maps *m)
{
	free(m->uids);
	free(m->gids);
	*m = (struct id_maps){ 0 };
}
