/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The documents of a bundle: config.json and silo.json in one object {"config": ..., "silo": ...}. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "oci/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err e = { 0 };
	autojson *both = json_parse((const char *)data, n, "fuzz", &e);
	json_t *config = json_object_get(both, "config");
	json_t *silo = json_object_get(both, "silo");
	struct bundle *b;

	/* A path would make it read files of this machine. */
	if (!config || !silo || json_object_get(silo, "seccomp"))
		return 0;
	json_incref(config);
	json_incref(silo);
	b = bundle_new(config, silo, &e);
	if (!b) {
		if (e.kind == ERR_NONE || !e.msg[0])
			abort();
		json_decref(config);
		json_decref(silo);
	}
	bundle_free(b);
	return 0;
}
