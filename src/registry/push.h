/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of one push: push.c makes the documents, push_layers.c sends the layers. */
#ifndef SILO_REGISTRY_PUSH_H
#define SILO_REGISTRY_PUSH_H

#include "image/add.h"
#include "registry/pull.h"

struct push_layer {
	char id[13]; /* for the progress: of the diff id */
	char diff_id[DIGEST_MAX];
	char digest[DIGEST_MAX]; /* of what is sent */
	char media_type[100];    /* of OCI */
	int64_t bytes;
	int fd;       /* the blob */
	bool plain;   /* to be compressed first */
	bool foreign; /* registries must not have it */
	char *from;   /* repository of the same registry that may have it, or NULL */
	/* With the crew's lock. */
	char status[200];
	int64_t done_bytes;
	/* Of the main thread. */
	char told[200];
	int64_t told_bytes;
};

struct push {
	struct registry *r;
	const struct registry_client *client;
	struct session *s;
	const struct reference *ref; /* with a tag */
	char id[DIGEST_MAX];         /* the image */
	struct image_add *add;
	char *manifest; /* as it came, or what is made of the layers; NULL: not made yet */
	char media_type[128];
	struct push_layer *layers; /* lowest first */
	size_t n_layers;
	struct crew crew; /* sends them */
};

/* Send what the registry doesn't have, compressed where it isn't: digest, bytes and media_type are set then. */
int push_layers(struct push *p, struct err *e) must_check;
/* Send a small blob unless it is there. */
int push_text(struct push *p, const char *digest, const char *text, size_t n, struct err *e) must_check;
/* A file without a name that holds the text. -1 with *e. */
int push_text_file(const char *text, size_t n, struct err *e) must_check;

#endif
