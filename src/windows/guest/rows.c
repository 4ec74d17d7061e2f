/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/guest/rows.h"

#include <stdio.h>
#include <string.h>

BOOL rows_parse_format(const char *text, enum rows_format *out)
{
	static const char *const names[] = { "table", "list", "csv" };

	for (int i = 0; i < 3; i++) {
		if (!_stricmp(text, names[i])) {
			*out = (enum rows_format)i;
			return TRUE;
		}
	}
	return FALSE;
}

static void print_line(const struct rows *r, const char *const *values)
{
	for (int i = 0; i < r->n; i++) {
		const struct rows_column *c = &r->columns[i];
		const char *value = values ? values[i] : c->title;

		if (r->format == ROWS_CSV)
			printf("%s\"%s\"", i ? "," : "", value);
		else if (c->right)
			printf("%s%*.*s", i ? " " : "", c->width, c->width, value);
		else
			printf("%s%-*.*s", i ? " " : "", c->width, c->width, value);
	}
	printf("\n");
}

static void print_titles(const struct rows *r)
{
	if (r->format == ROWS_TABLE)
		printf("\n");
	print_line(r, NULL);
	if (r->format == ROWS_CSV)
		return;
	for (int i = 0; i < r->n; i++) {
		if (i)
			printf(" ");
		for (int k = 0; k < r->columns[i].width; k++)
			printf("=");
	}
	printf("\n");
}

static void print_list(const struct rows *r, const char *const *values)
{
	int width = 0;

	for (int i = 0; i < r->n; i++)
		width = max(width, (int)strlen(r->columns[i].title) + 2);
	printf("\n");
	for (int i = 0; i < r->n; i++) {
		printf("%s:%*s%s\n", r->columns[i].title, width - (int)strlen(r->columns[i].title) - 1, "", values[i]);
	}
}

void rows_print(struct rows *r, const char *const *values)
{
	if (r->format == ROWS_LIST) {
		print_list(r, values);
	} else {
		if (!r->printed && !r->no_header)
			print_titles(r);
		print_line(r, values);
	}
	r->printed++;
}

const char *rows_number(unsigned long long n, char out[static 32])
{
	char digits[24];
	int count = sprintf(digits, "%llu", n), at = 0;

	for (int i = 0; i < count; i++) {
		if (i && (count - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
	return out;
}
