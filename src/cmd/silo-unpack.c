/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unpacks one archive into the one directory that it is given: see image/unpack.h. */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "image/unpack.h"
#include "windows/layer.h"

static int send_record(enum unpack_record_type type, const void *payload, size_t n)
{
	const struct unpack_record head = { .type = type, .length = (uint32_t)n };

	return io_write_all(STDOUT_FILENO, &head, sizeof(head)) || io_write_all(STDOUT_FILENO, payload, n);
}

static int parse_args(char **argv, enum unpack_mode *mode, struct unpack_limits *limits)
{
	char *end[2];
	size_t i;

	for (i = 0; i < array_len(unpack_mode_names) && strcmp(argv[1], unpack_mode_names[i]) != 0; i++)
		;
	if (i == array_len(unpack_mode_names))
		return -1;
	*mode = (enum unpack_mode)i;
	limits->entries = strtoull(argv[2], &end[0], 10);
	limits->bytes = strtoull(argv[3], &end[1], 10);
	return *end[0] || *end[1] ? -1 : 0;
}

/* No archive for us: only the compression goes. */
static int pass_stream(uint64_t max_bytes)
{
	struct unpack_stream *s = unpack_stream_new(STDIN_FILENO, false);
	uint64_t bytes = 0;
	const void *data;
	struct err e;
	ssize_t n;

	while ((n = unpack_stream_next(s, &data, &e)) > 0) {
		bytes += (uint64_t)n;
		if ((max_bytes && bytes > max_bytes) || io_write_all(STDOUT_FILENO, data, (size_t)n))
			break;
	}
	unpack_stream_free(s);
	return n ? 1 : 0;
}

static int unpack(enum unpack_mode mode, const struct unpack_limits *limits, struct unpack_result *result,
		  struct err *e)
{
	if (unpack_jail(mode, e))
		return -1;
	return unpack_run(STDIN_FILENO, UNPACK_TARGET_FD, STDOUT_FILENO, mode, limits, result, e);
}

static int convert(const struct unpack_limits *limits, struct unpack_result *result, struct err *e)
{
	autoclose int below = windows_layer_below(e);

	/* Names are compared without regard to case: of all characters, not of ASCII only. */
	setlocale(LC_CTYPE, "C.UTF-8");
	if (below < 0 || unpack_jail(UNPACK_WINDOWS, e))
		return -1;
	return windows_layer_convert(STDIN_FILENO, UNPACK_TARGET_FD, below, STDOUT_FILENO, limits, result, e);
}

int main(int argc, char **argv)
{
	struct unpack_limits limits;
	struct unpack_result result;
	struct err e = { 0 };
	enum unpack_mode mode;

	log_init("silo-unpack", LOG_LEVEL_WARN);
	if (argc != 4 || parse_args(argv, &mode, &limits)) {
		log_error("usage: silo-unpack layer|hashed|archive|context|windows|stream MAX_ENTRIES MAX_BYTES");
		return 2;
	}
	if (syscall(SYS_close_range, UNPACK_TARGET_FD + 1, ~0U, 0) && errno != ENOSYS)
		return 2;
	if (mode == UNPACK_STREAM)
		return unpack_jail(mode, &e) || pass_stream(limits.bytes);
	if (mode == UNPACK_WINDOWS ? convert(&limits, &result, &e) : unpack(mode, &limits, &result, &e)) {
		send_record(UNPACK_ERROR, &e, sizeof(e));
		return 1;
	}
	return send_record(UNPACK_RESULT, &result, sizeof(result)) ? 1 : 0;
}
