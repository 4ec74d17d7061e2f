/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What registries answer: headers, error bodies, indexes; and what clients say about them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "registry/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

const char *architecture_name(void);
const char *architecture_name(void)
{
	return "amd64";
}

static void try_headers(const char *text)
{
	struct challenge c;

	challenge_parse(text, &c);
	if (c.scheme == CHALLENGE_BEARER && !c.realm)
		__builtin_trap();
	challenge_fini(&c);
	if (retry_after(text, 1700000000) < -1 || content_range_start(text) < -1)
		__builtin_trap();
	free(link_next(text));
	header_safe(text);
}

static void try_errors(const char *text, size_t n)
{
	char code[ANSWER_CODE_MAX];
	struct err e;

	answer_error(500, text, n, "Get \"https://x/\"", code, &e);
	for (const char *p = e.msg; *p; p++)
		if ((unsigned char)*p < ' ')
			__builtin_trap();
	explain_pull(code, text, text, &e);
}

static void try_index(const json_t *doc, const char *text)
{
	struct platform p;
	struct err e;
	char out[96];

	if (!platform_parse(text, &p, &e))
		platform_format(&p, out);
	platform_parse(NULL, &p, &e) ? __builtin_trap() : (void)0;
	if (doc && !platform_pick(doc, &p, &e) && e.kind != ERR_NOT_FOUND)
		__builtin_trap();
	if (doc)
		platform_is(doc, &p);
}

static void try_settings(const json_t *doc, const char *text)
{
	struct settings s;
	struct err e;

	if (!settings_read(&s, doc, &e)) {
		autojson *config = settings_helper(&s, "docker.io/library/x", true, NULL);
		autojson *other = settings_helper(&s, text, false, doc);

		if (!config)
			__builtin_trap();
		settings_is_insecure(&s, text);
	}
	settings_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	autofree char *text = xstrndup((const char *)data, n);
	struct err e = { 0 };
	autojson *doc = json_parse((const char *)data, n, "input", &e);
	autojson *auth = registry_auth_parse(text, &e);

	try_headers(text);
	try_errors(text, strlen(text));
	try_index(doc, text);
	try_settings(doc, text);
	return 0;
}
