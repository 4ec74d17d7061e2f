/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Windows images in Microsoft's layer format: which of Silo's bases they get, and which are refused. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "engine/state.h"
#include "engine/windows.h"
#include "windows/images.h"
#include "windows/version.h"

static int find_version(const struct engine *g, const json_t *config, const struct windows_version **out, struct err *e)
{
	const char *version = json_str(config, "os.version", ""), *arch = json_str(config, "architecture", "");
	const char *host = json_str(g->config, "windows-host-version", NULL);
	unsigned build;

	if (windows_platform_check(arch, version, &build, e))
		return -1;
	if (host && windows_version_fits(host, version, true, e))
		return -1;
	*out = windows_version_by_build(build);
	return *out ? 0
		    : err_set(e, ERR_NOT_FOUND, 0,
			      "the image is based on Windows 10.0.%u: the Windows base of Silo can be 10.0.14393, "
			      "17763, "
			      "20348, 25398 and 26100",
			      build);
}

json_t *windows_base_for(void *engine, const json_t *config, const char *hint, struct err *e)
{
	struct engine *g = engine;
	autofree char *dir = xasprintf("%s/windows", g->vm_dir);
	/* nanoserver is a part of servercore: where nothing says which, the larger one has it all. */
	struct windows_name name = { .nano = strstr(hint, "windows/nanoserver") != NULL };

	if (!json_bool(g->config, "windows-base-names", true)) {
		err_set(e, ERR_NOT_FOUND, 0,
			"the image lies over Microsoft's base, which Silo may not use, and \"windows-base-names\": "
			"false in "
			"daemon.json keeps its own from taking that place");
		return NULL;
	}
	if (find_version(g, config, &name.version, e))
		return NULL;
	return windows_image_base(dir, g->lib_dir, &name, e);
}
