/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/wire.h"

#include <stdbool.h>

/* What each type may look like. control: on stream 0 and only there. */
static const struct frame_rule {
	bool control;
	uint32_t length_min, length_max;
} rules[FRAME_TYPES] = {
	[FRAME_REQUEST] = { true, 1, FRAME_PAYLOAD_MAX }, [FRAME_REPLY] = { true, 1, FRAME_PAYLOAD_MAX },
	[FRAME_EVENT] = { true, 1, FRAME_PAYLOAD_MAX },   [FRAME_DATA] = { false, 1, FRAME_PAYLOAD_MAX },
	[FRAME_EOF] = { false, 0, 0 },                    [FRAME_CREDIT] = { false, 4, 4 },
	[FRAME_CLOSE] = { false, 0, 0 },
};

uint32_t wire_get_u32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void wire_put_u32(unsigned char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

void frame_pack(unsigned char out[static FRAME_HEADER_BYTES], const struct frame *f)
{
	wire_put_u32(out, f->length);
	wire_put_u32(out + 4, f->stream);
	out[8] = (unsigned char)f->type;
	out[9] = (unsigned char)(f->type >> 8);
	out[10] = (unsigned char)f->flags;
	out[11] = (unsigned char)(f->flags >> 8);
}

int frame_parse(const unsigned char in[static FRAME_HEADER_BYTES], struct frame *f, struct err *e)
{
	*f = (struct frame){
		.length = wire_get_u32(in),
		.stream = wire_get_u32(in + 4),
		.type = (uint16_t)(in[8] | in[9] << 8),
		.flags = (uint16_t)(in[10] | in[11] << 8),
	};
	if (f->type < FRAME_REQUEST || f->type >= FRAME_TYPES)
		return err_set(e, ERR_INVALID, 0, "unknown frame type %u", f->type);
	const struct frame_rule *rule = &rules[f->type];

	if (f->length < rule->length_min || f->length > rule->length_max)
		return err_set(e, ERR_INVALID, 0, "frame type %u with %u bytes", f->type, f->length);
	if (rule->control != (f->stream == 0))
		return err_set(e, ERR_INVALID, 0, "frame type %u on stream %u", f->type, f->stream);
	if (f->flags & ~(rule->control ? FRAME_MORE : 0u))
		return err_set(e, ERR_INVALID, 0, "frame type %u with flags %#x", f->type, f->flags);
	return 0;
}
