/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/attr.h"

_Static_assert(sizeof(struct err) <= 512, "struct err travels in one write()");

static const char *const kind_names[] = {
	[ERR_NONE] = "none",
	[ERR_SYSTEM] = "system",
	[ERR_INVALID] = "invalid",
	[ERR_NOT_FOUND] = "not_found",
	[ERR_CONFLICT] = "conflict",
	[ERR_NOT_MODIFIED] = "not_modified",
	[ERR_FORBIDDEN] = "forbidden",
	[ERR_UNSUPPORTED] = "unsupported",
	[ERR_UNAVAILABLE] = "unavailable",
	[ERR_TIMEOUT] = "timeout",
	[ERR_LIMIT] = "limit",
	[ERR_NO_COMMAND] = "no_command",
	[ERR_NOT_EXECUTABLE] = "not_executable",
};

void err_fill(struct err *e, enum err_kind kind, int sys, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return;
	/* Formatted aside: an argument may point into *e. */
	char text[sizeof e->msg];

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	e->kind = kind;
	e->sys = sys;
	memcpy(e->msg, text, sizeof text);
	if (sys) {
		size_t used = strlen(e->msg);

		snprintf(e->msg + used, sizeof e->msg - used, ": %s", strerror(sys));
	}
}

void err_put_before(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return;
	char text[sizeof e->msg];

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	size_t used = strlen(text);

	snprintf(text + used, sizeof text - used, ": %s", e->msg);
	memcpy(e->msg, text, sizeof text);
}

const char *err_kind_name(enum err_kind kind)
{
	if ((size_t)kind >= array_len(kind_names))
		return kind_names[ERR_SYSTEM];
	return kind_names[kind];
}

enum err_kind err_kind_parse(const char *name)
{
	for (size_t i = 0; name && i < array_len(kind_names); i++)
		if (!strcmp(kind_names[i], name))
			return (enum err_kind)i;
	return ERR_SYSTEM;
}
