/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames of the agent channel (docs/architecture.md): the same bytes in both directions, host and guest share this
 * code. Everything that comes in is hostile until frame_parse() has accepted it.
 */
#ifndef SILO_HYPERV_WIRE_H
#define SILO_HYPERV_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Little-endian: u32 length of the payload, u32 stream, u16 type, u16 flags. */
#define FRAME_HEADER_BYTES 12
#define FRAME_PAYLOAD_MAX (256 * KIB)
/* A control message may be cut into frames (FRAME_MORE on all but the last); this bounds the whole. */
#define FRAME_MESSAGE_MAX (4 * MIB)
/* How much a stream's receiver takes before it has said CREDIT. */
#define STREAM_WINDOW_BYTES (256 * KIB)

#define FRAME_MORE 1u /* flag of control frames: the message goes on in the next control frame */

enum frame_type {
	FRAME_REQUEST = 1, /* stream 0: JSON {"id", "op", ...} */
	FRAME_REPLY,       /* stream 0: JSON {"id", "error": {...} or nothing, ...} */
	FRAME_EVENT,       /* stream 0: JSON {"event", ...} */
	FRAME_DATA,        /* bytes of a process stream */
	FRAME_EOF,         /* no more DATA from this side */
	FRAME_CREDIT,      /* payload u32: this side takes so many bytes more */
	FRAME_CLOSE,       /* this side neither sends nor takes anything more */
	FRAME_TYPES
};

struct frame {
	uint32_t length; /* bytes of payload after the header */
	uint32_t stream;
	uint16_t type; /* enum frame_type */
	uint16_t flags;
};

void frame_pack(unsigned char out[static FRAME_HEADER_BYTES], const struct frame *f);

/**
 * frame_parse - decode and check a header. Pure.
 *
 * Returns 0, or -1 with ERR_INVALID: too long, unknown type or flag, wrong stream for the type, wrong length for it.
 */
int frame_parse(const unsigned char in[static FRAME_HEADER_BYTES], struct frame *f, struct err *e) must_check;

uint32_t wire_get_u32(const unsigned char *p);
void wire_put_u32(unsigned char *p, uint32_t v);

#endif
