/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Texts in the resources of a Windows program: what Wine's cmd calls itself. Source: Microsoft, "PE Format", .rsrc. */
#ifndef SILO_WINDOWS_RESOURCE_H
#define SILO_WINDOWS_RESOURCE_H

#include <stddef.h>

#include "base/err.h"

/**
 * resource_replace_string - give a string of the string table another text, of any length, in one language.
 *
 * @file, @n     a 64-bit PE image, changed in place. Its size stays: a longer block of 16 strings takes the place of the
 *               largest one of another language, which is lost.
 * @id           of the string
 * @language     1033 = English (United States)
 * @from, @to    ASCII; the string has to be what it was
 * ERR_INVALID: no such file, string or room.
 */
int resource_replace_string(unsigned char *file, size_t n, unsigned id, unsigned language, const char *from,
			    const char *to, struct err *e) must_check;

#endif
