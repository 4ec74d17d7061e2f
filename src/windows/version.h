/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The versions of Windows that a container can have, and how the registry says so. */
#ifndef SILO_WINDOWS_VERSION_H
#define SILO_WINDOWS_VERSION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "windows/registry.h"

struct windows_version {
	unsigned build;      /* 17763 */
	const char *name;    /* ltsc2019 */
	const char *product; /* Windows Server 2019 Datacenter */
	const char *release; /* 1809 */
	const char *display; /* DisplayVersion; NULL: had none yet */
};

#define WINDOWS_REVISION 1 /* of all builds: no update of Microsoft's is in them */
#define WINDOWS_DEFAULT_BUILD 20348

const struct windows_version *windows_version_by_build(unsigned build);
const struct windows_version *windows_version_at(size_t i); /* all of them, oldest first; NULL behind the last */
/* "ltsc2022", also with "-amd64"; NULL for others. */
const struct windows_version *windows_version_by_tag(const char *tag);
/* What `ver`, the registry and the version calls of every program in the container say. */
void windows_version_apply(struct registry *system, const struct windows_version *v, bool nano);

/**
 * windows_version_fits - would a Windows host of this version run this image? Source: Microsoft, "Windows container version
 * compatibility"; containerd's platform matcher.
 *
 * @host, @image  "10.0.20348" or "10.0.20348.1"
 * 0, or -1 with ERR_INVALID and the text that Windows has for it.
 */
int windows_version_fits(const char *host, const char *image, bool hyperv, struct err *e) must_check;

/* "10.0.20348.1" in numbers: 0, or -1 when it isn't of that form. */
int windows_version_parse(const char *os_version, unsigned *build, unsigned *revision);

#endif
