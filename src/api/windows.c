/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POST /images/create for the names of the Windows base, which is made here and not pulled. */
#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"
#include "base/own.h"

int api_windows_pull(struct request *r, const char *reference, struct err *e)
{
	int rc = engine_windows_pull(r->engine, reference, progress_line, r, e);

	if (rc >= 0)
		return rc;
	return progress_end(r, rc, 0, e) < 0 ? -1 : 1;
}
