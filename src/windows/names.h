/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of images that the Windows base answers to. Pure. */
#ifndef SILO_WINDOWS_NAMES_H
#define SILO_WINDOWS_NAMES_H

#include <stdbool.h>

#include "base/err.h"
#include "windows/version.h"

struct windows_name {
	bool nano;      /* nanoserver, else servercore */
	bool microsoft; /* one of the names below mcr.microsoft.com */
	const struct windows_version *version;
	char reference[256]; /* normalised: "mcr.microsoft.com/windows/servercore:ltsc2019" */
};

/**
 * windows_name_parse - silo/windows:servercore|nanoserver, mcr.microsoft.com/windows/servercore|nanoserver:TAG.
 *
 * Returns 1, 0 for a name that is none of these, or -1 with ERR_NOT_FOUND for a tag that the base can't be.
 */
int windows_name_parse(const char *reference, struct windows_name *out, struct err *e) must_check;

#endif
