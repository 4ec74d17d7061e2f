/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container's output and a client's typing meet first: the log's line splitter and the detach keys. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "monitor/jsonlog.h"
#include "monitor/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct joined {
	char *text;
	size_t n;
};

static void join(void *arg, const char *piece, size_t n)
{
	struct joined *j = arg;
	const char *newline = memchr(piece, '\n', n);

	/* A newline ends a piece; no piece is empty or too long. */
	if (n == 0 || n > LOG_PIECE_MAX + 1 || (newline && newline != piece + n - 1))
		abort();
	memcpy(j->text + j->n, piece, n);
	j->n += n;
}

/* The pieces are the text, whatever the chunks were. */
static void split(const uint8_t *data, size_t n, size_t chunk)
{
	struct log_lines l;
	autofree char *text = xmalloc(n + 1);
	struct joined j = { text, 0 };

	log_lines_init(&l);
	for (size_t at = 0; at < n; at += chunk)
		log_lines_feed(&l, (const char *)data + at, n - at < chunk ? n - at : chunk, join, &j);
	log_lines_finish(&l, join, &j);
	if (j.n != n || memcmp(text, data, n))
		abort();
}

/* What is delivered and held back is what was typed, up to the sequence. */
static void type(struct keys *k, const uint8_t *data, size_t n)
{
	autofree unsigned char *out = xmalloc(n + KEYS_MAX);
	size_t n_out;
	bool leave = keys_filter(k, data, n, out, &n_out);
	size_t end = leave ? n_out + k->n : n_out + k->seen;

	if (n_out > n || memcmp(out, data, n_out))
		abort();
	if (end > n || (!leave && end != n))
		abort();
	if (memcmp(k->code, data + n_out, end - n_out))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct keys k;
	struct err e;
	char text[65];
	size_t n_text = n < 64 ? n : 64;

	memcpy(text, data, n_text);
	text[n_text] = 0;
	if (keys_parse(text, &k, &e) == 0)
		type(&k, data + strlen(text), n - strlen(text));
	if (n > 1)
		split(data + 1, n - 1, (size_t)data[0] * 97 + 1);
	return 0;
}
