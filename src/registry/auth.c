/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <nettle/base64.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "registry/registry.h"

#define AUTH_BYTES_MAX (64 * KIB)

json_t *registry_auth_parse(const char *header, struct err *e)
{
	struct base64_decode_ctx ctx;
	size_t n = header ? strlen(header) : 0, out = 0;

	if (!n)
		return NULL;
	if (n > AUTH_BYTES_MAX)
		return err_set(e, ERR_INVALID, 0, "X-Registry-Auth is too long"), NULL;
	autofree char *text = xstrdup(header);
	autofree uint8_t *plain = xmalloc(BASE64_DECODE_LENGTH(n) + 1);

	for (char *p = text; *p; p++)
		*p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
	while (n && text[n - 1] == '=')
		n--;
	base64_decode_init(&ctx);
	/* Some clients leave out the padding: so does this. */
	if (!base64_decode_update(&ctx, &out, plain, n, text))
		return err_set(e, ERR_INVALID, 0, "invalid X-Registry-Auth header: not base64"), NULL;
	json_t *auth = json_parse((const char *)plain, out, "X-Registry-Auth", e);

	if (auth && !json_is_object(auth)) {
		json_decref(auth);
		return err_set(e, ERR_INVALID, 0, "invalid X-Registry-Auth header: not an object"), NULL;
	}
	return auth;
}
