/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Docker's multiplexed stream: before each chunk {stream, 0, 0, 0, length as big-endian u32}. Source: Engine API, attach. */
#ifndef SILO_MONITOR_FRAME_H
#define SILO_MONITOR_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEAD 8

/* @stream  STREAM_STDOUT or STREAM_STDERR (jsonlog.h); on the wire 1 and 2. */
static inline void frame_head(int stream, size_t n, unsigned char head[static FRAME_HEAD])
{
	uint32_t length = (uint32_t)n;

	head[0] = (unsigned char)(stream + 1);
	head[1] = head[2] = head[3] = 0;
	for (int i = 0; i < 4; i++)
		head[4 + i] = (unsigned char)(length >> (24 - 8 * i));
}

#endif
