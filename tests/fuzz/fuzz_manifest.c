/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* manifest.json, OCI index and manifest, and the instructions of docker import. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "image/filter.h"
#include "image/make.h"
#include "image/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void try_images(const json_t *doc)
{
	struct source_image image;
	struct part part;
	struct err e;

	if (manifest_docker(doc, &image, &e) == 0 && !image.config.path)
		__builtin_trap();
	source_image_fini(&image);
	(void)!manifest_oci(doc, &image, &e);
	source_image_fini(&image);
	if (manifest_descriptor(doc, &part, &e) == 0 && !digest_check(part.digest))
		__builtin_trap();
	part_fini(&part);
	free(manifest_name(doc));
	manifest_is_index(doc);
	manifest_pick(doc, "amd64");
}

static void try_changes(const char *line)
{
	autojson *list = json_array(), *config = json_object();
	struct timespec t, now = { 0 };
	struct err e;

	json_array_append_new(list, json_string(line));
	(void)!changes_apply(list, config, &e);
	(void)!filter_time(line, now, &t, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	autofree char *line = xstrndup((const char *)data, n);
	struct err e;
	autojson *doc = json_parse((const char *)data, n, "input", &e);

	try_changes(line);
	if (!doc)
		return 0;
	try_images(doc);
	try_images(json_array_get(doc, 0));
	return 0;
}
