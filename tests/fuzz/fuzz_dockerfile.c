/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Dockerfiles: whatever they say, images have names, and there is an error or an answer. */
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/own.h"
#include "build/dockerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	autofree char *text = xstrndup((const char *)data, n);
	autojson *args = json_pack("{s:s, s:n}", "A", "${A}", "B");
	struct err e = { 0 };
	autojson *images = dockerfile_images(text, args, n % 2 ? "target" : NULL, &e);
	const json_t *image;
	size_t i;

	if (!images != (e.kind == ERR_INVALID))
		abort();
	json_array_foreach(images, i, image)
		if (!*json_string_value(image))
			abort();
	return 0;
}
