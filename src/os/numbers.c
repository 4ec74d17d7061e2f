/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/numbers.h"

#include <limits.h>
#include <stdlib.h>

size_t numbers_read(const char *text, int64_t *out, size_t max)
{
	size_t n = 0;

	while (n < max) {
		char *end;
		unsigned long long v = strtoull(text, &end, 10);

		if (end == text)
			break;
		out[n++] = v > INT64_MAX ? INT64_MAX : (int64_t)v;
		text = end;
	}
	return n;
}

static int read_part(const char **text, char stop, unsigned *out)
{
	char *end;
	unsigned long v;

	if (**text < '0' || **text > '9')
		return -1;
	v = strtoul(*text, &end, 10);
	if (*end != stop || v > UINT_MAX)
		return -1;
	*out = (unsigned)v;
	*text = end + 1;
	return 0;
}

int numbers_read_device(const char *text, unsigned *major, unsigned *minor, const char **rest)
{
	if (read_part(&text, ':', major) || read_part(&text, ' ', minor))
		return -1;
	*rest = text;
	return 0;
}
