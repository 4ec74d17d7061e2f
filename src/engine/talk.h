/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A talk with the one who works on a container's files (isolation/process/files.h), wherever that is: beside the running
 * container, or, for one that doesn't run, in a container prepared for this only. hyperv: in its virtual machine; what
 * comes from there is taken for hostile.
 */
#ifndef SILO_ENGINE_TALK_H
#define SILO_ENGINE_TALK_H

#include <jansson.h>
#include <stdbool.h>

#include "base/str.h"
#include "engine/record.h"

struct engine;

struct talk {
	struct engine *g;
	struct container *c;
	bool held; /* c->op: it doesn't run, and nobody may start it meanwhile */
	int sock;
	size_t left;     /* bytes of the present frame that have not been read */
	bool is_result;  /* the frame is of the result line, not of the data */
	struct str result, rest; /* rest: data that came with the head */
	bool ended;
};

/* Begin; *head receives the answer's head, a new reference. input: bytes will be sent with talk_send(). On failure
 * nothing is open; talk_close() is allowed then too. */
int talk_open(struct talk *t, struct engine *g, struct container *c, const json_t *request, bool input, json_t **head,
	      struct err *e) must_check;
/* At most n bytes of data: their number, 0 at the end (the work is complete then), -1. */
ssize_t talk_read(struct talk *t, void *data, size_t n, struct err *e) must_check;
/* Send what fd gives up to its end, then wait for the result. */
int talk_send(struct talk *t, int fd, struct err *e) must_check;
void talk_close(struct talk *t);

#endif
