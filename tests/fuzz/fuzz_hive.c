/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A hive over a small registry: whatever it says it ends, and what comes out is a registry that can be read again. The
 * checksum is put right, so that the fuzzer gets past it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "windows/hive_apply.h"

#define SUM_AT 508

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void fix_sum(uint8_t *data)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < SUM_AT; i += 4)
		sum ^= (uint32_t)data[i] | (uint32_t)data[i + 1] << 8 | (uint32_t)data[i + 2] << 16 |
		       (uint32_t)data[i + 3] << 24;
	sum = sum == UINT32_MAX ? UINT32_MAX - 1 : sum ? sum : 1;
	for (int i = 0; i < 4; i++)
		data[SUM_AT + i] = (uint8_t)(sum >> (8 * i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct registry *r = registry_parse(
		"WINE REGISTRY Version 2\n\n[Software\\\\A] 1\n\"x\"=\"y\"\n\n[Software\\\\A\\\\B] 1\n\n");
	struct registry *again;
	autofree uint8_t *copy = xcalloc(n + 1, 1);
	size_t links = 0;
	struct err e = { 0 };
	autostr text = { 0 };

	memcpy(copy, data, n);
	if (n > SUM_AT + 4)
		fix_sum(copy);
	if (hive_apply(r, "Software", NULL, copy, n, &links, &e) && e.kind == ERR_NONE)
		abort();
	if (!registry_text(r, &text, &e)) {
		again = registry_parse(text.s);
		if (!again)
			abort();
		registry_free(again);
	}
	registry_free(r);
	return 0;
}
