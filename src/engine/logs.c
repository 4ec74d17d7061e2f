/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker logs: the log file as a stream. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/create.h"
#include "engine/logfile.h"
#include "engine/state.h"

#define PIECE_MAX (256 * KIB)

struct follower {
	struct engine *g;
	struct container *c;
	const struct log_options *o;
	bool tty;
	int client;
	engine_sink_fn *sink;
	void *arg;
	bool past_until;
};

static bool before(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

/* 8 bytes in front of each piece without a tty: stream, three zeros, length big-endian. */
static void frame_head(char out[static 8], bool is_err, size_t n)
{
	memset(out, 0, 8);
	out[0] = is_err ? 2 : 1;
	for (int i = 0; i < 4; i++)
		out[4 + i] = (char)(n >> (24 - 8 * i));
}

static bool wanted(struct follower *f, const json_t *line, bool *is_err)
{
	struct timespec t = { 0 };

	*is_err = strcmp(json_str(line, "stream", ""), "stderr") == 0;
	if (*is_err ? !f->o->err : !f->o->out)
		return false;
	if (!f->o->since.tv_sec && !f->o->until.tv_sec)
		return true;
	if (time_parse(json_str(line, "time", ""), &t) < 0)
		return true;
	if (f->o->until.tv_sec && before(f->o->until, t))
		f->past_until = true;
	return !before(t, f->o->since) && !f->past_until;
}

/* As Go's url.QueryEscape. */
static void add_escaped(struct str *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (isalnum(c) || strchr("-_.~", c))
			str_add(out, text, 1);
		else
			str_printf(out, c == ' ' ? "+" : "%%%02X", c);
	}
}

/* "key=value,key=value " in the order of the keys, which is that of the file. */
static void add_attributes(struct str *out, const json_t *attributes)
{
	const char *key, *comma = "";
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)attributes, key, value) {
		str_puts(out, comma);
		add_escaped(out, key);
		str_puts(out, "=");
		add_escaped(out, json_is_string(value) ? json_string_value(value) : "");
		comma = ",";
	}
	str_puts(out, " ");
}

/* One line to the client. Non-zero when it has left. */
static int emit(struct follower *f, const json_t *line)
{
	const json_t *text = json_object_get(line, "log");
	char head[8];
	bool is_err;
	autostr out;

	str_init(&out, PIECE_MAX);
	if (!wanted(f, line, &is_err) || !json_is_string(text))
		return 0;
	if (!f->tty)
		str_add(&out, head, sizeof(head));
	if (f->o->timestamps)
		str_printf(&out, "%s ", json_str(line, "time", ""));
	if (f->o->details)
		add_attributes(&out, json_object_get(line, "attrs"));
	str_add(&out, json_string_value(text), json_string_length(text));
	if (!f->tty) {
		frame_head(head, is_err, out.len - sizeof(head));
		memcpy(out.s, head, sizeof(head));
	}
	return f->sink(f->arg, out.s, out.len);
}

/* Everything there is. 0 = at the end for now, else the end for this client. */
static int pump(struct follower *f, struct logfile *l)
{
	json_t *line;
	int rc = 0;

	while (!rc && !f->past_until && (line = logfile_next(l))) {
		rc = emit(f, line);
		json_decref(line);
	}
	return rc || f->past_until;
}

static bool ended(struct container *c)
{
	bool yes;

	pthread_mutex_lock(&c->lock);
	yes = container_has_ended(c, NULL);
	pthread_mutex_unlock(&c->lock);
	return yes;
}

static void drain_fd(int fd)
{
	char buf[4096];

	while (read(fd, buf, sizeof(buf)) == (ssize_t)sizeof(buf))
		;
}

static bool until_is_over(const struct follower *f)
{
	return f->o->until.tv_sec && before(f->o->until, time_now());
}

/* Wait for more, or for a reason to stop: 0 = look again. */
static int wait_more(struct follower *f, int inotify, int wake)
{
	struct pollfd p[] = { { .fd = inotify, .events = POLLIN },
			      { .fd = wake, .events = POLLIN },
			      { .fd = f->client } };

	poll(p, array_len(p), 1000);
	if (p[0].revents)
		drain_fd(inotify);
	if (p[1].revents)
		drain_fd(wake);
	return f->g->closing || (p[2].revents & (POLLHUP | POLLERR | POLLNVAL)) || until_is_over(f);
}

static void waker_add(struct container *c, struct waker *w)
{
	pthread_mutex_lock(&c->lock);
	w->next = c->wakers;
	c->wakers = w;
	pthread_mutex_unlock(&c->lock);
}

static void waker_remove(struct container *c, struct waker *w)
{
	struct waker **p;

	pthread_mutex_lock(&c->lock);
	for (p = &c->wakers; *p != w; p = &(*p)->next)
		;
	*p = w->next;
	pthread_mutex_unlock(&c->lock);
}

static int follow(struct follower *f, struct logfile *l, struct err *e)
{
	autofree char *dir = path_data(f->g, f->c->id, NULL);
	autoclose int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	autoclose int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct waker w = { .fd = wake };

	/* The directory, because rotation replaces the file. */
	if (inotify < 0 || wake < 0 || inotify_add_watch(inotify, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
		return err_set(e, ERR_SYSTEM, errno, "follow log");
	waker_add(f->c, &w);
	for (;;) {
		bool over = ended(f->c); /* before reading: what was written before the end must not be missed */

		if (pump(f, l) || over || wait_more(f, inotify, wake))
			break;
	}
	waker_remove(f->c, &w);
	return 0;
}

static bool log_disabled(struct container *c)
{
	autojson *host = record_host(c);

	return strcmp(json_str(json_object_get(host, "LogConfig"), "Type", ""), "none") == 0;
}

int engine_container_logs(struct engine *g, const char *ref, const struct log_options *o, int client_fd,
			  engine_sink_fn *sink, void *arg, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autojson *config = c ? record_config(c) : NULL;
	struct follower f = { .g = g, .c = c, .o = o, .client = client_fd, .sink = sink, .arg = arg };
	int rc = 0;

	if (!c)
		return -1;
	if (!o->out && !o->err)
		return err_set(e, ERR_INVALID, 0, "Bad parameters: you must choose at least one stream");
	if (log_disabled(c))
		return err_set(e, ERR_UNSUPPORTED, 0, "configured logging driver does not support reading");
	f.tty = json_bool(config, "Tty", false);
	autofree char *path = path_log(g, c->id);
	struct logfile *l = logfile_open(path, o->tail, e);

	if (!l)
		return -1;
	if (o->follow)
		rc = follow(&f, l, e);
	else
		pump(&f, l);
	logfile_close(l);
	return rc;
}
