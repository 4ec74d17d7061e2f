/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POST /images/create for the names of the Windows base, which is made here and not pulled. */
#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"
#include "base/own.h"

static int show(void *arg, const json_t *line)
{
	struct request *r = arg;

	if (!r->streaming && stream_begin(r, "application/json") < 0)
		return -1;
	return stream_json(r, line);
}

int api_windows_pull(struct request *r, const char *reference, struct err *e)
{
	int rc = engine_windows_pull(r->engine, reference, show, r, e);

	if (rc >= 0 || !r->streaming)
		return rc;
	/* The head has been sent: Docker's form of an error in a stream. */
	autojson *line = json_pack("{s:{s:s}, s:s}", "errorDetail", "message", e->msg, "error", e->msg);

	(void)stream_json(r, line);
	return 1;
}
