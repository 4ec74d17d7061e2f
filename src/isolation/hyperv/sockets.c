/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/backend.h"
#include "isolation/hyperv/guest_docs.h"

#define RETRY_MS 10 /* between attempts on a server whose queue is full */
#define RETRIES_MAX 1000

struct shared_socket {
	const struct container *of; /* NULL: the place is free */
	int fd;                     /* O_PATH: this socket, whatever its name leads to later */
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

struct connection {
	struct sandbox *sandbox;
	struct connection *next;
	int64_t key;  /* the guest's name for it */
	size_t index; /* of the socket */
	uid_t uid;    /* of the guest's client */
	gid_t gid;
	int fd; /* while it is not connected */
	struct loop_io *retry;
	unsigned retries;
	uint32_t id;
	struct stream *stream;
};

struct sockets {
	struct shared_socket list[GUEST_SOCKETS_MAX];
	struct connection *connections;
	size_t n_connections;
};

/* ---- what is shared ---- */

static void name_of(int fd, struct sockaddr_un *name)
{
	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(name->sun_path, sizeof name->sun_path, "/proc/self/fd/%d", fd);
}

/* Asking as a datagram socket has no effect on a server of streams: it isn't even told. */
static bool takes_datagrams(int fd)
{
	autoclose int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un name;

	name_of(fd, &name);
	return probe >= 0 && !connect(probe, (struct sockaddr *)&name, sizeof name);
}

static int add_socket(struct sockets *s, const struct container *of, json_t *mount, struct err *e)
{
	size_t i = 0;
	const char *source = json_str(mount, "source", "");
	autoclose int fd = open(source, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || !S_ISSOCK(st.st_mode))
		return 0; /* whoever opens it as a file will tell */
	while (i < GUEST_SOCKETS_MAX && s->list[i].of)
		i++;
	if (i == GUEST_SOCKETS_MAX)
		return err_set(e, ERR_LIMIT, 0, "a virtual machine has at most %d sockets of the host",
			       GUEST_SOCKETS_MAX);
	if (takes_datagrams(fd))
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "%s: a datagram socket can't be forwarded into a virtual machine, only one of streams",
			       source);
	json_object_set_new(mount, "socket", json_integer((json_int_t)i));
	s->list[i] = (struct shared_socket){
		.of = of, .fd = take_fd(&fd), .uid = st.st_uid, .gid = st.st_gid, .mode = st.st_mode & 07777
	};
	return 0;
}

struct sockets *sockets_new(void)
{
	return xcalloc(1, sizeof(struct sockets));
}

int sockets_add(struct sockets *s, const struct container *of, json_t *config, struct err *e)
{
	json_t *mount;
	size_t i;

	json_array_foreach(json_object_get(config, "mounts"), i, mount)
		if (guest_is_bind(mount) && !json_object_get(mount, "subpath") && add_socket(s, of, mount, e))
			return -1;
	return 0;
}

json_t *sockets_describe(const struct sockets *s, const struct container *of)
{
	json_t *list = NULL;

	for (size_t i = 0; i < GUEST_SOCKETS_MAX; i++) {
		const struct shared_socket *k = &s->list[i];

		if (k->of != of)
			continue;
		list = list ? list : json_array();
		json_array_append_new(list,
				      json_pack("{s:i, s:I, s:I, s:i}", "socket", (int)i, "uid", (json_int_t)k->uid,
						"gid", (json_int_t)k->gid, "mode", (int)k->mode));
	}
	return list;
}

/* ---- connections ---- */

static void connection_end(struct connection *c)
{
	struct sockets *s = c->sandbox->sockets;

	for (struct connection **p = &s->connections; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			break;
		}
	s->n_connections--;
	stream_free(c->stream);
	loop_remove(&c->retry);
	close_fd(&c->fd);
	free(c);
}

void sockets_drop(struct sockets *s, const struct container *of)
{
	for (struct connection *c = s->connections, *next; c; c = next) {
		next = c->next;
		if (s->list[c->index].of == of)
			connection_end(c);
	}
	for (size_t i = 0; i < GUEST_SOCKETS_MAX; i++)
		if (s->list[i].of == of) {
			close_fd(&s->list[i].fd);
			s->list[i].of = NULL;
		}
}

void sockets_free(struct sockets *s)
{
	if (!s)
		return;
	while (s->connections)
		connection_end(s->connections);
	for (size_t i = 0; i < GUEST_SOCKETS_MAX; i++)
		if (s->list[i].of)
			close_fd(&s->list[i].fd);
	free(s);
}

/* {"key", "stream"}; without a stream the guest hangs up. */
static void answer(struct sandbox *s, int64_t key, uint32_t stream)
{
	autojson *body = json_pack("{s:I, s:I}", "key", (json_int_t)key, "stream", (json_int_t)stream);

	channel_event(s->channel, "socket_connected", body);
}

static void refuse(struct connection *c)
{
	answer(c->sandbox, c->key, 0);
	connection_end(c);
}

static void on_moved(void *arg, struct stream *s)
{
	if (stream_ended(s))
		connection_end(arg);
}

/*
 * Connect as the user that the guest names: a server that asks the kernel who calls must not be told "root". The right
 * to connect is the guest's kernel's to check, by the mode of its copy of the socket, with all groups of the client:
 * here the file system is asked as root. This program has one thread; the raw calls change just that.
 */
static int connect_as(int fd, const struct sockaddr_un *name, uid_t uid, gid_t gid)
{
	const uid_t own_uid = geteuid();
	const gid_t own_gid = getegid();
	int rc = -1, why = EPERM;

	if (!syscall(SYS_setresgid, -1, gid, -1) && !syscall(SYS_setresuid, -1, uid, -1)) {
		setfsuid(own_uid);
		rc = connect(fd, (const struct sockaddr *)name, sizeof *name);
		why = errno;
	}
	if (syscall(SYS_setresuid, -1, own_uid, -1) || syscall(SYS_setresgid, -1, own_gid, -1))
		abort(); /* can't be; going on as somebody else would be worse */
	errno = why;
	return rc;
}

static void attempt(struct connection *c);

static void on_retry(void *arg, uint32_t events)
{
	struct connection *c = arg;

	c->retry = NULL;
	attempt(c);
}

/* Connected: the stream waits until the guest has its end of it. */
static void establish(struct connection *c)
{
	int fd = take_fd(&c->fd);
	struct stream_options o = { .id = channel_stream_id(c->sandbox->channel),
				    .from = fd,
				    .to = fd,
				    .held = true,
				    .moved = on_moved,
				    .arg = c };
	struct err e;

	c->id = o.id;
	c->stream = stream_new(c->sandbox->channel, &o, &e);
	if (c->stream) {
		answer(c->sandbox, c->key, c->id);
		return;
	}
	log_warn("forwarded socket: %s", e.msg);
	refuse(c);
}

static void attempt(struct connection *c)
{
	struct sockaddr_un name;
	struct err e;

	name_of(c->sandbox->sockets->list[c->index].fd, &name);
	if (!connect_as(c->fd, &name, c->uid, c->gid)) {
		establish(c);
		return;
	}
	if (errno == EAGAIN && c->retries++ < RETRIES_MAX)
		c->retry = loop_timer(c->sandbox->loop, RETRY_MS, on_retry, c, &e);
	if (!c->retry)
		refuse(c);
}

void sockets_on_connect(struct sandbox *s, const json_t *body)
{
	int64_t key = json_int(body, "key", 0), index = json_int(body, "socket", -1);
	int64_t uid = json_int(body, "uid", -1), gid = json_int(body, "gid", -1);
	struct connection *c;

	if (!s->sockets || index < 0 || index >= GUEST_SOCKETS_MAX || !s->sockets->list[index].of || uid < 0 ||
	    uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX || s->sockets->n_connections == GUEST_CONNECTIONS_MAX) {
		answer(s, key, 0);
		return;
	}
	c = xcalloc(1, sizeof *c);
	*c = (struct connection){ .sandbox = s,
				  .next = s->sockets->connections,
				  .key = key,
				  .index = (size_t)index,
				  .uid = (uid_t)uid,
				  .gid = (gid_t)gid,
				  .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };
	s->sockets->connections = c;
	s->sockets->n_connections++;
	attempt(c);
}

void sockets_on_opened(struct sandbox *s, const json_t *body)
{
	int64_t id = json_int(body, "stream", 0);

	for (struct connection *c = s->sockets ? s->sockets->connections : NULL; c; c = c->next)
		if (c->stream && c->id == id) {
			stream_release(c->stream);
			return;
		}
}
