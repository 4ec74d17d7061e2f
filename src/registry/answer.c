/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry/answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define HEADER_VALUE_MAX (64 * KIB)
#define RETRY_AFTER_MAX (365 * 24 * 3600)

void challenge_fini(struct challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	memset(c, 0, sizeof(*c));
}

static const char *skip(const char *p, const char *set)
{
	return p + strspn(p, set);
}

/* A value: token or "quoted \" string". Heap string; *p behind it. */
static char *parse_value(const char **p)
{
	autostr out;
	size_t n;

	str_init(&out, HEADER_VALUE_MAX);
	if (**p != '"') {
		n = strcspn(*p, " \t,\n");
		*p += n;
		return xstrndup(*p - n, n);
	}
	for ((*p)++; **p && **p != '"' && **p != '\n'; (*p)++) {
		if (**p == '\\' && (*p)[1] && (*p)[1] != '\n')
			(*p)++;
		str_add(&out, *p, 1);
	}
	if (**p == '"')
		(*p)++;
	return str_take(&out);
}

static void parse_parameter(const char **p, size_t name, struct challenge *c)
{
	const struct {
		const char *name;
		char **to;
	} known[] = { { "realm", &c->realm }, { "service", &c->service }, { "scope", &c->scope } };
	const char *start = *p;

	*p = skip(start + name, " \t");
	*p = skip(*p + 1, " \t");
	autofree char *value = parse_value(p);

	for (size_t i = 0; i < array_len(known); i++) {
		if (strlen(known[i].name) != name || strncasecmp(known[i].name, start, name) != 0 || *known[i].to)
			continue;
		*known[i].to = take_ptr(&value);
		return;
	}
}

/* One challenge: a scheme and its parameters, up to the next scheme or the end of the line. */
static void parse_one(const char **p, struct challenge *c)
{
	size_t n = strcspn(*p, " \t,\n");

	if (n == 5 && !strncasecmp(*p, "Basic", n))
		c->scheme = CHALLENGE_BASIC;
	else if (n == 6 && !strncasecmp(*p, "Bearer", n))
		c->scheme = CHALLENGE_BEARER;
	*p += n;
	for (;;) {
		const char *name = skip(*p, " \t,"), *after;

		n = strcspn(name, " \t,=\"\n");
		after = skip(name + n, " \t");
		*p = name;
		if (!n || *after != '=')
			break;
		parse_parameter(p, n, c);
	}
	/* What can't be understood must not stop the loop. */
	if (**p && (strchr("=\"", **p)))
		(*p)++;
}

static bool is_http(const char *url)
{
	return url && (!strncasecmp(url, "http://", 7) || !strncasecmp(url, "https://", 8));
}

void challenge_parse(const char *headers, struct challenge *out)
{
	const char *p = headers ? headers : "";

	memset(out, 0, sizeof(*out));
	for (p = skip(p, " \t,\n"); *p; p = skip(p, " \t,\n")) {
		struct challenge c = { 0 };

		parse_one(&p, &c);
		if (c.scheme <= out->scheme || (c.scheme == CHALLENGE_BEARER && !is_http(c.realm))) {
			challenge_fini(&c);
			continue;
		}
		challenge_fini(out);
		*out = c;
	}
}

int64_t retry_after(const char *value, int64_t now_s)
{
	struct tm tm = { 0 };
	char *end;
	long long n;

	if (!value || !*value)
		return -1;
	n = strtoll(value, &end, 10);
	if (!*end)
		return n < 0 ? -1 : n > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : n;
	if (!strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &tm))
		return -1;
	n = (long long)timegm(&tm) - now_s;
	return n < 0 ? 0 : n > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : n;
}

int64_t content_range_start(const char *value)
{
	char *end;
	long long n;

	if (!value || strncasecmp(value, "bytes ", 6) != 0 || value[6] < '0' || value[6] > '9')
		return -1;
	n = strtoll(value + 6, &end, 10);
	return *end == '-' ? n : -1;
}

char *link_next(const char *value)
{
	const char *open = value ? strchr(value, '<') : NULL, *close = open ? strchr(open, '>') : NULL;

	if (!close || (!strcasestr(close, "rel=\"next\"") && !strcasestr(close, "rel=next")))
		return NULL;
	return xstrndup(open + 1, (size_t)(close - open - 1));
}

bool header_safe(const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (text[i] < '!' || text[i] > '~')
			return false;
	return n > 0 && n < HEADER_VALUE_MAX;
}

void text_clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = ' ';
		else if ((unsigned char)*text > 0x7f)
			*text = '?';
}

/* --- error bodies -------------------------------------------------------------------------------------------- */
static const struct {
	long status;
	const char *text;
} status_texts[] = {
	{ 400, "Bad Request" },           { 401, "Unauthorized" },        { 403, "Forbidden" },
	{ 404, "Not Found" },             { 405, "Method Not Allowed" },  { 408, "Request Timeout" },
	{ 413, "Request Entity Too Large" }, { 429, "Too Many Requests" }, { 500, "Internal Server Error" },
	{ 502, "Bad Gateway" },           { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
};

static const char *status_text(long status)
{
	for (size_t i = 0; i < array_len(status_texts); i++)
		if (status_texts[i].status == status)
			return status_texts[i].text;
	return "";
}

static enum err_kind kind_of(long status)
{
	switch (status) {
	case 401:
	case 403:
		return ERR_FORBIDDEN;
	case 404:
		return ERR_NOT_FOUND;
	default:
		return ERR_SYSTEM;
	}
}

/* MANIFEST_UNKNOWN -> "manifest unknown", as Docker shows codes. */
static void code_words(const char *code, char out[static ANSWER_CODE_MAX])
{
	size_t i;

	for (i = 0; code[i] && i < ANSWER_CODE_MAX - 1; i++)
		out[i] = code[i] == '_' ? ' ' : code[i] >= 'A' && code[i] <= 'Z' ? (char)(code[i] + 32) : code[i];
	out[i] = '\0';
}

/* {"errors": [{"code", "message"}]}; what some write instead is {"details"}, {"message"} or {"error"}. */
static bool error_of_body(const json_t *doc, char code[static ANSWER_CODE_MAX], char *text, size_t max)
{
	static const char *const keys[] = { "details", "message", "error_description", "error" };
	const json_t *first = json_array_get(json_object_get(doc, "errors"), 0);
	char words[ANSWER_CODE_MAX];

	if (json_is_object(first)) {
		snprintf(code, ANSWER_CODE_MAX, "%s", json_str(first, "code", "UNKNOWN"));
		text_clean(code);
		code_words(code, words);
		snprintf(text, max, "%s: %s", words, json_str(first, "message", words));
		return true;
	}
	for (size_t i = 0; i < array_len(keys); i++) {
		const char *said = json_str(doc, keys[i], NULL);

		if (!said)
			continue;
		snprintf(text, max, "%s", said);
		return true;
	}
	return false;
}

void answer_error(long status, const char *body, size_t n, const char *what, char code[static ANSWER_CODE_MAX],
		  struct err *e)
{
	autojson *doc = body && n ? json_parse(body, n, "answer", NULL) : NULL;
	char text[400] = "";

	code[0] = '\0';
	if (!json_is_object(doc) || !error_of_body(doc, code, text, sizeof(text))) {
		if (status == 429)
			snprintf(text, sizeof(text), "toomanyrequests: %s: 429 Too Many Requests", what);
		else if (status == 401)
			snprintf(text, sizeof(text), "%s: unauthorized: authentication required", what);
		else
			snprintf(text, sizeof(text), "%s: received unexpected HTTP status: %ld %s", what, status,
				 status_text(status));
	}
	text_clean(text);
	if (status == 429 && !*code)
		snprintf(code, ANSWER_CODE_MAX, "TOOMANYREQUESTS");
	if (status == 401 && !*code)
		snprintf(code, ANSWER_CODE_MAX, "UNAUTHORIZED");
	err_set(e, kind_of(status), 0, "%s", text);
}
