/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry/pull.h"

int registry_push(struct registry *r, const char *ref, bool all_tags, const struct registry_client *c, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, 0, "pushing is not supported yet");
}

json_t *registry_distribution(struct registry *r, const char *ref, const struct registry_client *c, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, 0, "not supported yet"), NULL;
}
