/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Image references: what is accepted must be its own normal form. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "image/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	autofree char *text = xstrndup((const char *)data, n);
	autoreference r = { 0 }, again = { 0 };
	struct err e;

	if (reference_parse(text, &r, &e))
		return 0;
	reference_default_tag(&r);
	autofree char *normal = reference_text(&r, false), *familiar = reference_text(&r, true);

	if (strlen(normal) > REFERENCE_MAX)
		return 0;
	if (reference_parse(normal, &again, &e))
		abort();
	autofree char *twice = reference_text(&again, false);

	if (strcmp(normal, twice) || strcmp(reference_familiar(normal), familiar))
		abort();
	return 0;
}
