/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/template_use.h"

char *vm_template(struct engine *g, struct err *e)
{
	struct template_options o = template_options_of(g);
	char *path = template_find(&o);

	return path ? path : template_ensure(&o, e);
}
