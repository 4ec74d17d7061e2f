/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UTF-8 of names that are UTF-16 elsewhere: halves of a pair that stand alone are encoded like characters. Pure. */
#ifndef SILO_WINDOWS_UTF_H
#define SILO_WINDOWS_UTF_H

#include <stdint.h>

#include "base/str.h"

/* The character at text, which isn't empty: its bytes. A byte that begins none is a character itself. */
size_t utf_decode(const char *text, uint32_t *c);
void utf_add(struct str *out, uint32_t c);
/* n bytes of UTF-16, little-endian. -1: a character 0 in it, or an odd number. */
int utf_add_utf16(struct str *out, const uint8_t *data, size_t n) must_check;

#endif
