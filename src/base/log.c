/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* The one mutable global: where log lines go and which ones. */
static struct {
	const char *program;
	enum log_level max;
} sink = { "silo", LOG_LEVEL_INFO };

void log_init(const char *program, enum log_level max)
{
	sink.program = program;
	sink.max = max;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	char line[1024];
	va_list ap;

	if (level > sink.max)
		return;
	int n = snprintf(line, sizeof line, "%s: %s: ", sink.program, names[level]);

	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	va_end(ap);
	size_t len = (size_t)n + (m > 0 ? (size_t)m : 0);

	if (len > sizeof line - 2)
		len = sizeof line - 2;
	line[len] = '\n';
	if (write(STDERR_FILENO, line, len + 1) < 0)
		return; /* nowhere to complain about it */
}
