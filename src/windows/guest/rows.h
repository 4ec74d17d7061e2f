/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows as the programs of Windows print them with /fo: a table with underlined titles, a list, or CSV. */
#ifndef SILO_GUEST_ROWS_H
#define SILO_GUEST_ROWS_H

#include <windows.h>

enum rows_format { ROWS_TABLE, ROWS_LIST, ROWS_CSV };

struct rows_column {
	const char *title;
	int width;  /* in a table; longer values are cut */
	BOOL right; /* numbers are */
};

struct rows {
	const struct rows_column *columns;
	int n;
	enum rows_format format;
	BOOL no_header;
	int printed;
};

/* "table", "list" or "csv" without regard to case; FALSE for others. */
BOOL rows_parse_format(const char *text, enum rows_format *out);
/* One row: n values. The first one prints the titles before it. */
void rows_print(struct rows *r, const char *const *values);
/* "1234567" -> "1,234,567". */
const char *rows_number(unsigned long long n, char out[static 32]);

#endif
