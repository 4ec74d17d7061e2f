/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unix sockets of the host: the agent listens at GUEST_SOCKETS_DIR/0, 1, ..., which containers have bound where they
 * want them. A connection is announced to the host, which connects to its socket and opens a stream.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/guest_docs.h"

struct link {
	struct agent_sockets *all;
	struct link *next;
	int64_t key;
	int fd; /* while the host hasn't answered */
	struct stream *stream;
};

struct listener {
	struct agent_sockets *all;
	const struct guest_container *of; /* NULL: the place is free */
	size_t index;
	int fd;
	struct loop_io *io;
};

struct agent_sockets {
	struct agent *agent;
	struct listener listeners[GUEST_SOCKETS_MAX];
	struct link *links;
	size_t n_links;
	int64_t next_key;
};

/* A full house leaves further clients in the queue of the kernel. */
static void watch_listeners(struct agent_sockets *s)
{
	for (size_t i = 0; i < GUEST_SOCKETS_MAX; i++)
		if (s->listeners[i].of)
			loop_set_events(s->listeners[i].io, s->n_links < GUEST_CONNECTIONS_MAX ? EPOLLIN : 0);
}

static void link_end(struct link *l)
{
	struct agent_sockets *s = l->all;

	for (struct link **p = &s->links; *p; p = &(*p)->next)
		if (*p == l) {
			*p = l->next;
			break;
		}
	s->n_links--;
	stream_free(l->stream);
	close_fd(&l->fd);
	free(l);
	watch_listeners(s);
}

static void on_moved(void *arg, struct stream *s)
{
	if (stream_ended(s))
		link_end(arg);
}

static void on_client(void *arg, uint32_t events unused_arg)
{
	struct listener *from = arg;
	struct agent_sockets *s = from->all;
	autoclose int fd = accept4(from->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred who;
	socklen_t n = sizeof who;
	struct link *l;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n))
		return;
	l = xcalloc(1, sizeof *l);
	*l = (struct link){ .all = s, .next = s->links, .key = ++s->next_key, .fd = take_fd(&fd) };
	s->links = l;
	s->n_links++;
	watch_listeners(s);
	autojson *body = json_pack("{s:I, s:I, s:I, s:I}", "key", (json_int_t)l->key, "socket", (json_int_t)from->index,
				   "uid", (json_int_t)who.uid, "gid", (json_int_t)who.gid);

	channel_event(s->agent->channel, "socket_connect", body);
}

static void open_stream(struct link *l, uint32_t id)
{
	int fd = take_fd(&l->fd);
	const struct stream_options o = { .id = id, .from = fd, .to = fd, .moved = on_moved, .arg = l };
	struct err e;

	l->stream = stream_new(l->all->agent->channel, &o, &e);
	if (!l->stream) {
		log_warn("forwarded socket: %s", e.msg);
		link_end(l);
		return;
	}
	autojson *body = json_pack("{s:I}", "stream", (json_int_t)id);

	channel_event(l->all->agent->channel, "socket_opened", body);
}

void agent_socket_connected(struct agent *a, const json_t *body)
{
	int64_t key = json_int(body, "key", 0);
	uint32_t id = (uint32_t)json_int(body, "stream", 0);

	for (struct link *l = a->sockets ? a->sockets->links : NULL; l; l = l->next)
		if (l->key == key) {
			if (id)
				open_stream(l, id);
			else
				link_end(l);
			return;
		}
}

static void socket_name(size_t index, struct sockaddr_un *name)
{
	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(name->sun_path, sizeof name->sun_path, GUEST_SOCKETS_DIR "/%zu", index);
}

static void close_listener(struct listener *l)
{
	struct sockaddr_un name;

	socket_name(l->index, &name);
	loop_remove(&l->io);
	close_fd(&l->fd);
	unlink(name.sun_path);
	l->of = NULL;
}

/* Owner and mode are those of the host's socket: they decide who may connect. */
static int open_listener(struct agent_sockets *s, const struct guest_container *of, const json_t *entry, struct err *e)
{
	int64_t index = json_int(entry, "socket", -1);
	uid_t uid = (uid_t)json_int(entry, "uid", 0);
	gid_t gid = (gid_t)json_int(entry, "gid", 0);
	mode_t mode = (mode_t)json_int(entry, "mode", 0600);
	struct sockaddr_un name;
	struct listener *l;

	if (index < 0 || index >= GUEST_SOCKETS_MAX || s->listeners[index].of)
		return err_set(e, ERR_INVALID, 0, "socket %lld", (long long)index);
	l = &s->listeners[index];
	*l = (struct listener){ .all = s, .of = of, .index = (size_t)index };
	socket_name(l->index, &name);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&name, sizeof name) || chown(name.sun_path, uid, gid) ||
	    chmod(name.sun_path, mode) || listen(l->fd, SOMAXCONN))
		return err_set(e, ERR_SYSTEM, errno, "%s", name.sun_path);
	l->io = loop_add(s->agent->loop, l->fd, EPOLLIN, on_client, l, e);
	return l->io ? 0 : -1;
}

int agent_open_sockets(struct agent *a, const struct guest_container *of, const json_t *sockets, struct err *e)
{
	const json_t *entry;
	size_t i;

	if (!json_array_size(sockets))
		return 0;
	if (io_mkdir_all(GUEST_SOCKETS_DIR, 0755, e))
		return -1;
	if (!a->sockets) {
		a->sockets = xcalloc(1, sizeof *a->sockets);
		a->sockets->agent = a;
	}
	json_array_foreach((json_t *)(uintptr_t)sockets, i, entry)
		if (open_listener(a->sockets, of, entry, e))
			return -1;
	return 0;
}

/* Connections that are made end when the host ends them. */
void agent_close_sockets(struct agent *a, const struct guest_container *of)
{
	for (size_t i = 0; a->sockets && i < GUEST_SOCKETS_MAX; i++)
		if (a->sockets->listeners[i].of == of)
			close_listener(&a->sockets->listeners[i]);
}
