/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owners. Declare an owner where it is first set; success ends in take_ptr() / take_fd():
 *
 *	autofree char *path = str_dup_printf("%s/x", dir);
 *	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
 *	...
 *	return take_fd(&fd);
 */
#ifndef SILO_BASE_OWN_H
#define SILO_BASE_OWN_H

#include <stddef.h>

void own_free(void *pointer_to_pointer);
void own_close(int *fd);

#define autofree __attribute__((cleanup(own_free)))
#define autoclose __attribute__((cleanup(own_close)))

#define take_ptr(pp) \
	({ \
		__typeof__(*(pp)) taken_ = *(pp); \
		*(pp) = NULL; \
		taken_; \
	})

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* close() if >= 0, then set to -1. errno is kept. */
void close_fd(int *fd);

/* Allocators that never return NULL: out of memory ends the process (the monitor's container is cleaned by silod). */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
