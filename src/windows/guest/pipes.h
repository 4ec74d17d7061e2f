/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named pipes that the container shares with its host. Behind each there is a unix socket: WINDOWS_PIPES/client/NAME leads to
 * a server on the host; on WINDOWS_PIPES/server/NAME the launcher waits for clients of the host, one connection a client,
 * which begins with one byte when the client has come.
 *
 * What one side writes is what the other one reads, in order. A pipe that the host serves is of type message, so that
 * both kinds of clients can open it; a message without bytes is the end of that direction, as many programs have it.
 */
#ifndef SILO_WINDOWS_PIPES_H
#define SILO_WINDOWS_PIPES_H

#include <windows.h>

struct pipes;

struct pipes *pipes_new(void);
/* Programs of the container may open \\.\pipe\name from now on: the server is on the host. */
BOOL pipes_use(struct pipes *all, const char *name);
/* Programs of the host may open it: the server is a program of the container, sooner or later. */
BOOL pipes_serve(struct pipes *all, const char *name);
/* The container is about to end: wait until what has been written to pipes is on its way to the host. */
void pipes_drain(struct pipes *all);

#endif
