/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/dbus.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"

#define MESSAGE_MAX (1 * MIB)
#define LINE_MAX_BYTES 256
#define AUTH_TIMEOUT_MS 10000
#define FIXED_BYTES 16 /* up to the fields of the header */
#define ALIGNMENT_MAX 8
#define BYTE_ORDER_MARK (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B') /* the same host: the same order */

enum field {
	FIELD_PATH = 1,
	FIELD_INTERFACE,
	FIELD_MEMBER,
	FIELD_ERROR,
	FIELD_REPLY_SERIAL,
	FIELD_DESTINATION,
	FIELD_SIGNATURE = 8
};

/* ---- values ---- */

static void align(struct str *b, size_t alignment)
{
	static const char zeros[ALIGNMENT_MAX];

	str_add(b, zeros, (alignment - b->len % alignment) % alignment);
}

void dbus_put_u32(struct str *b, uint32_t v)
{
	align(b, sizeof(v));
	str_add(b, &v, sizeof(v));
}

void dbus_put_u64(struct str *b, uint64_t v)
{
	align(b, sizeof(v));
	str_add(b, &v, sizeof(v));
}

void dbus_put_string(struct str *b, const char *s)
{
	dbus_put_u32(b, (uint32_t)strlen(s));
	str_add(b, s, strlen(s) + 1);
}

void dbus_put_bytes(struct str *b, const void *data, size_t n)
{
	dbus_put_u32(b, (uint32_t)n);
	str_add(b, data, n);
}

static void put_signature(struct str *b, const char *s)
{
	unsigned char n = (unsigned char)strlen(s);

	str_add(b, &n, 1);
	str_add(b, s, n + 1u);
}

void dbus_put_property(struct str *b, const char *name, const char *signature)
{
	align(b, ALIGNMENT_MAX);
	dbus_put_string(b, name);
	put_signature(b, signature);
}

struct dbus_array dbus_begin_array(struct str *b, size_t alignment)
{
	struct dbus_array a;

	align(b, sizeof(uint32_t));
	a.length_at = b->len;
	dbus_put_u32(b, 0);
	align(b, alignment);
	a.start = b->len;
	return a;
}

void dbus_end_array(struct str *b, struct dbus_array a)
{
	uint32_t n = (uint32_t)(b->len - a.start);

	if (!b->full)
		memcpy(b->s + a.length_at, &n, sizeof(n));
}

/* ---- connect ---- */

/* "OK <guid>" is all that is looked for. */
static int wait_authenticated(int sock, struct err *e)
{
	int64_t deadline = time_monotonic_ms() + AUTH_TIMEOUT_MS;
	char line[LINE_MAX_BYTES] = "";

	for (size_t n = 0; n < sizeof(line) - 1; n++) {
		struct pollfd p = { .fd = sock, .events = POLLIN };
		int64_t left = deadline - time_monotonic_ms();

		if (poll(&p, 1, left > 0 ? (int)left : 0) != 1 || read(sock, line + n, 1) != 1)
			return err_set(e, ERR_SYSTEM, errno, "no answer to our introduction");
		if (line[n] == '\n')
			break;
	}
	return str_starts(line, "OK ") ? 0 : err_set(e, ERR_SYSTEM, 0, "we are not welcome: %.60s", line);
}

static int authenticate(int sock, struct err *e)
{
	char uid[16];
	autostr text;

	str_init(&text, LINE_MAX_BYTES);
	snprintf(uid, sizeof(uid), "%u", geteuid());
	str_add(&text, "", 1);
	str_puts(&text, "AUTH EXTERNAL ");
	for (const char *p = uid; *p; p++)
		str_printf(&text, "%02x", *p);
	str_puts(&text, "\r\nBEGIN\r\n");
	if (io_write_all(sock, text.s, text.len))
		return err_set(e, ERR_SYSTEM, errno, "introduce ourselves");
	return wait_authenticated(sock, e);
}

int dbus_open(const char *path, struct err *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	autoclose int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return err_set(e, ERR_SYSTEM, errno, "socket");
	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(e, ERR_INVALID, 0, "%s: too long for a socket", path);
	strcpy(address.sun_path, path);
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)))
		return err_set(e, errno == ENOENT || errno == ECONNREFUSED ? ERR_UNAVAILABLE : ERR_SYSTEM, errno,
			       "connect to %s", path);
	return authenticate(sock, e) ? err_prefix(e, "%s", path) : take_fd(&sock);
}

/* ---- send ---- */

static void put_field(struct str *b, enum field code, char type, const char *value)
{
	const char signature[] = { type, 0 };
	const unsigned char byte = (unsigned char)code;

	align(b, ALIGNMENT_MAX);
	str_add(b, &byte, 1);
	put_signature(b, signature);
	if (type == 'g')
		put_signature(b, value);
	else
		dbus_put_string(b, value);
}

/* One call at a time is under way on a connection: they may all have the same number. */
static int send_call(int sock, const struct dbus_call *c, const struct str *body, struct err *e)
{
	const char fixed[] = { BYTE_ORDER_MARK, DBUS_CALL, 0, 1 };
	struct dbus_array fields;
	autostr m;

	str_init(&m, DBUS_BODY_MAX + 4 * KIB);
	str_add(&m, fixed, sizeof(fixed));
	dbus_put_u32(&m, (uint32_t)body->len);
	dbus_put_u32(&m, 1);
	fields = dbus_begin_array(&m, ALIGNMENT_MAX);
	put_field(&m, FIELD_PATH, 'o', c->path);
	put_field(&m, FIELD_INTERFACE, 's', c->interface);
	put_field(&m, FIELD_MEMBER, 's', c->member);
	put_field(&m, FIELD_DESTINATION, 's', c->destination);
	put_field(&m, FIELD_SIGNATURE, 'g', c->signature);
	dbus_end_array(&m, fields);
	align(&m, ALIGNMENT_MAX);
	str_add(&m, body->s, body->len);
	if (m.full || body->full)
		return err_set(e, ERR_LIMIT, 0, "%s: the message is too long", c->member);
	return io_write_all(sock, m.s, m.len) ? err_set(e, ERR_SYSTEM, errno, "send %s", c->member) : 0;
}

/* ---- receive ---- */

static void skip_padding(struct dbus_message *m, size_t alignment)
{
	m->at += (alignment - m->at % alignment) % alignment;
}

/* n bytes of the message, or NULL behind its end. */
static const char *get_bytes(struct dbus_message *m, size_t n)
{
	const char *at = m->data.s + m->at;

	if (m->at > m->data.len || n > m->data.len - m->at)
		return NULL;
	m->at += n;
	return at;
}

uint32_t dbus_get_u32(struct dbus_message *m)
{
	const char *at;
	uint32_t v = 0;

	skip_padding(m, sizeof(v));
	at = get_bytes(m, sizeof(v));
	if (at)
		memcpy(&v, at, sizeof(v));
	return v;
}

static const char *text_of(struct dbus_message *m, size_t n)
{
	const char *at = get_bytes(m, n + 1);

	return at && !at[n] ? at : "";
}

const char *dbus_get_string(struct dbus_message *m)
{
	return text_of(m, dbus_get_u32(m));
}

static const char *get_signature(struct dbus_message *m)
{
	const char *n = get_bytes(m, 1);

	return n ? text_of(m, (unsigned char)*n) : "";
}

const char *dbus_get_string_variant(struct dbus_message *m)
{
	return !strcmp(get_signature(m), "s") ? dbus_get_string(m) : "";
}

static int read_field(struct dbus_message *m, struct err *e)
{
	const char *code, *signature, *text = "";
	uint32_t number = 0;

	skip_padding(m, ALIGNMENT_MAX);
	code = get_bytes(m, 1);
	signature = get_signature(m);
	if (!strcmp(signature, "u"))
		number = dbus_get_u32(m);
	else if (!strcmp(signature, "g"))
		get_signature(m);
	else if (!strcmp(signature, "s") || !strcmp(signature, "o"))
		text = dbus_get_string(m);
	else
		return err_set(e, ERR_SYSTEM, 0, "a message with a field of type \"%s\"", signature);
	if (!code)
		return err_set(e, ERR_SYSTEM, 0, "a message that is cut off");
	if (*code == FIELD_MEMBER)
		m->member = text;
	else if (*code == FIELD_ERROR)
		m->error = text;
	else if (*code == FIELD_REPLY_SERIAL)
		m->reply_serial = number;
	return 0;
}

static int read_exactly(int sock, struct dbus_message *m, size_t n, int64_t deadline_ms, struct err *e)
{
	char chunk[4 * KIB];

	while (n) {
		struct pollfd p = { .fd = sock, .events = POLLIN };
		int64_t left = deadline_ms - time_monotonic_ms();
		int ready = poll(&p, 1, left > 0 ? (int)left : 0);
		ssize_t got;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0)
			return err_set(e, ERR_TIMEOUT, 0, "no answer in time");
		got = read(sock, chunk, n < sizeof(chunk) ? n : sizeof(chunk));
		if (got <= 0)
			return err_set(e, ERR_SYSTEM, got < 0 ? errno : 0, "the connection has ended");
		if (str_add(&m->data, chunk, (size_t)got))
			return err_set(e, ERR_LIMIT, 0, "a message of more than %llu bytes", MESSAGE_MAX);
		n -= (size_t)got;
	}
	return 0;
}

void dbus_message_init(struct dbus_message *m)
{
	*m = (struct dbus_message){ .member = "", .error = "" };
	str_init(&m->data, MESSAGE_MAX);
}

void dbus_message_fini(struct dbus_message *m)
{
	str_fini(&m->data);
}

int dbus_receive(int sock, struct dbus_message *m, int64_t deadline_ms, struct err *e)
{
	uint32_t body, fields;
	size_t header;

	dbus_message_fini(m);
	dbus_message_init(m);
	if (read_exactly(sock, m, FIXED_BYTES, deadline_ms, e))
		return -1;
	if (m->data.s[0] != BYTE_ORDER_MARK || m->data.s[3] != 1)
		return err_set(e, ERR_SYSTEM, 0, "this is not D-Bus");
	m->type = (enum dbus_type)m->data.s[1];
	m->at = 4;
	body = dbus_get_u32(m);
	dbus_get_u32(m); /* its serial */
	fields = dbus_get_u32(m);
	if (body > MESSAGE_MAX || fields > MESSAGE_MAX)
		return err_set(e, ERR_LIMIT, 0, "a message of more than %llu bytes", MESSAGE_MAX);
	header = ((size_t)fields + ALIGNMENT_MAX - 1) / ALIGNMENT_MAX * ALIGNMENT_MAX;
	if (read_exactly(sock, m, header + body, deadline_ms, e))
		return -1;
	while (m->at < FIXED_BYTES + fields) {
		if (read_field(m, e))
			return -1;
	}
	m->at = FIXED_BYTES + header;
	return 0;
}

int dbus_call(int sock, const struct dbus_call *c, const struct str *body, struct dbus_message *m, int64_t deadline_ms,
	      struct err *e)
{
	if (send_call(sock, c, body, e))
		return -1;
	do {
		if (dbus_receive(sock, m, deadline_ms, e))
			return err_prefix(e, "%s", c->member);
	} while (m->type != DBUS_REPLY && m->type != DBUS_ERROR);
	return m->type == DBUS_REPLY ? 0 : err_set(e, ERR_SYSTEM, 0, "%s: %s", c->member, dbus_get_string(m));
}
