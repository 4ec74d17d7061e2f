/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The layers of a push: some workers send them, the caller's thread tells the client. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "registry/push.h"

struct sending {
	struct push *p;
	struct push_layer *l;
	const char *what; /* is being done */
};

static void set_status(struct push *p, struct push_layer *l, const char *status, int64_t bytes)
{
	pthread_mutex_lock(&p->crew.lock);
	snprintf(l->status, sizeof(l->status), "%s", status);
	l->done_bytes = bytes;
	pthread_mutex_unlock(&p->crew.lock);
	crew_tell(&p->crew);
}

static int on_progress(void *arg, const json_t *m)
{
	struct sending *s = arg;
	int64_t retry_s = json_int(m, "retry_s", 0);
	char text[64];

	snprintf(text, sizeof(text), "Retrying in %lld second%s", (long long)retry_s, retry_s == 1 ? "" : "s");
	if (m)
		set_status(s->p, s->l, retry_s ? text : s->what, json_int(m, "bytes", 0));
	return s->p->crew.cancelled;
}

/* The blob in gzip form, in a file that replaces l->fd. */
static int compress(struct push *p, struct push_layer *l, struct err *e)
{
	struct sending s = { p, l, "Preparing" };
	autoclose int out = openat(image_add_dir(p->add), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	uint64_t bytes;

	if (out < 0)
		out = memfd_create("silo-push", MFD_CLOEXEC);
	if (out < 0)
		return err_set(e, ERR_SYSTEM, errno, "file for a compressed layer");
	if (session_compress(p->s, l->fd, out, on_progress, &s, e) || digest_of_file(out, l->digest, &bytes, e))
		return -1;
	l->bytes = (int64_t)bytes;
	close_fd(&l->fd);
	l->fd = take_fd(&out);
	snprintf(l->media_type, sizeof(l->media_type), "application/vnd.oci.image.layer.v1.tar+gzip");
	return 0;
}

/* 1: the registry has it, 0: it hasn't, -1. */
static int ask_exists(struct push *p, const char *digest, session_tell_fn *tell, void *arg, struct err *e)
{
	json_t *op = json_pack("{s:s, s:s}", "op", "exists", "digest", digest);
	autojson *done = session_call(p->s, op, -1, tell, arg, NULL, e);

	return done ? json_bool(done, "exists", false) : -1;
}

static int upload(struct push *p, struct push_layer *l, struct err *e)
{
	struct sending s = { p, l, "Pushing" };
	json_t *op = json_pack("{s:s, s:s, s:I, s:s}", "op", "upload", "digest", l->digest, "size",
			       (json_int_t)l->bytes, "from", l->from ? l->from : "");
	autojson *done = session_call(p->s, op, l->fd, on_progress, &s, NULL, e);
	autofree char *mounted = xasprintf("Mounted from %s", l->from ? l->from : "");

	if (!done)
		return -1;
	set_status(p, l, strcmp(json_str(done, "result", ""), "mounted") ? "Pushed" : mounted, 0);
	return 0;
}

static int one_layer(struct push *p, struct push_layer *l, struct err *e)
{
	struct sending s = { p, l, "Preparing" };
	int there;

	if (l->foreign)
		return set_status(p, l, "Skipped foreign layer", 0), 0;
	if (l->plain && compress(p, l, e))
		return -1;
	there = ask_exists(p, l->digest, on_progress, &s, e);
	if (there > 0)
		set_status(p, l, "Layer already exists", 0);
	return there ? there < 0 ? -1 : 0 : upload(p, l, e);
}

/* Topmost first, as Docker. */
static struct push_layer *layer_at(struct push *p, size_t i)
{
	return &p->layers[p->n_layers - 1 - i];
}

static int work(void *arg, size_t i, struct err *e)
{
	return one_layer(arg, layer_at(arg, i), e);
}

static int tell_layer(struct push *p, struct push_layer *l, struct err *e)
{
	char status[sizeof(l->status)];
	int64_t bytes;
	bool counted;

	pthread_mutex_lock(&p->crew.lock);
	memcpy(status, l->status, sizeof(status));
	bytes = l->done_bytes;
	pthread_mutex_unlock(&p->crew.lock);
	counted = !strcmp(status, "Pushing");
	if (!strcmp(status, l->told) && (!counted || bytes == l->told_bytes))
		return 0;
	memcpy(l->told, status, sizeof(status));
	l->told_bytes = bytes;
	return client_status(p->client, l->id, status, bytes, counted ? l->bytes : 0, e);
}

static int tell_all(void *arg, struct err *e)
{
	struct push *p = arg;

	for (size_t i = 0; i < p->n_layers; i++)
		if (tell_layer(p, layer_at(p, i), e))
			return -1;
	return client_check(p->client, e);
}

int push_layers(struct push *p, struct err *e)
{
	for (size_t i = 0; i < p->n_layers; i++)
		if (client_status(p->client, layer_at(p, i)->id, "Preparing", 0, 0, e))
			return -1;
	p->crew = (struct crew){ .work = work, .tell = tell_all, .arg = p, .n_items = p->n_layers };
	return crew_run(&p->crew, (size_t)p->r->settings.uploads, e);
}

int push_text_file(const char *text, size_t n, struct err *e)
{
	autoclose int fd = memfd_create("silo-push", MFD_CLOEXEC);

	if (fd < 0 || io_write_all(fd, text, n))
		return err_set(e, ERR_SYSTEM, errno, "memfd_create");
	return take_fd(&fd);
}

int push_text(struct push *p, const char *digest, const char *text, size_t n, struct err *e)
{
	void *client = (void *)(uintptr_t)p->client;
	autoclose int fd = push_text_file(text, n, e);
	int there = fd < 0 ? -1 : ask_exists(p, digest, client_tick, client, e);

	if (there)
		return there < 0 ? -1 : 0;
	json_t *op =
		json_pack("{s:s, s:s, s:I, s:s}", "op", "upload", "digest", digest, "size", (json_int_t)n, "from", "");
	autojson *done = session_call(p->s, op, fd, client_tick, client, NULL, e);

	return done ? 0 : -1;
}
