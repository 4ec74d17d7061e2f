/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/template_use.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"

/* True when the verdict of this template was known. */
static bool known_verdict(struct engine *g, const char *path, bool *emulated)
{
	bool known;

	pthread_mutex_lock(&g->lock);
	known = g->template_seen && strcmp(g->template_seen, path) == 0;
	*emulated = g->template_emulated;
	pthread_mutex_unlock(&g->lock);
	return known;
}

static bool look(struct engine *g, const char *path)
{
	struct template_options o = template_options_of(g);
	autojson *report = template_report(&o);
	bool emulated = strcmp(json_str(report, "accelerator", ""), "tcg") == 0;

	pthread_mutex_lock(&g->lock);
	free(g->template_seen);
	g->template_seen = xstrdup(path);
	g->template_emulated = emulated;
	pthread_mutex_unlock(&g->lock);
	return emulated;
}

char *vm_template(struct engine *g, bool *emulated, struct err *e)
{
	struct template_options o = template_options_of(g);
	char *path = template_find(&o);

	if (!path)
		path = template_ensure(&o, e);
	if (path && emulated && !known_verdict(g, path, emulated))
		*emulated = look(g, path);
	return path;
}
