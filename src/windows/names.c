/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/names.h"

#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "base/str.h"
#include "image/reference.h"

static const struct {
	const char *name;
	bool microsoft, nano;
} repositories[] = {
	{ "docker.io/silo/windows", false, false },
	{ "mcr.microsoft.com/windows/servercore", true, false },
	{ "mcr.microsoft.com/windows/nanoserver", true, true },
};

static int parse_own(const char *tag, struct windows_name *out, struct err *e)
{
	out->version = windows_version_by_build(WINDOWS_DEFAULT_BUILD);
	out->nano = !strcmp(tag, "nanoserver");
	if (out->nano || !strcmp(tag, "servercore"))
		return 1;
	return err_set(e, ERR_NOT_FOUND, 0,
		       "silo/windows:%.100s: there are silo/windows:servercore and "
		       "silo/windows:nanoserver",
		       tag);
}

static int parse_microsoft(const char *name, const char *tag, struct windows_name *out, struct err *e)
{
	out->version = windows_version_by_tag(tag);
	if (out->version)
		return 1;
	return err_set(
		e, ERR_NOT_FOUND, 0,
		"manifest for %.100s:%.100s not found: the Windows base of Silo can be ltsc2016, ltsc2019, ltsc2022, "
		"23h2 and ltsc2025",
		name, tag);
}

int windows_name_parse(const char *reference, struct windows_name *out, struct err *e)
{
	autoreference r = { 0 };

	*out = (struct windows_name){ 0 };
	if (reference_parse(reference, &r, NULL) || r.digest)
		return 0;
	for (size_t i = 0; i < array_len(repositories); i++) {
		if (strcmp(repositories[i].name, r.name) != 0)
			continue;
		out->microsoft = repositories[i].microsoft;
		out->nano = repositories[i].nano;
		snprintf(out->reference, sizeof(out->reference), "%s:%.128s", r.name, r.tag ? r.tag : "latest");
		return out->microsoft ? parse_microsoft(r.name, r.tag ? r.tag : "latest", out, e)
				      : parse_own(r.tag ? r.tag : "latest", out, e);
	}
	return 0;
}
