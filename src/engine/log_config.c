/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/log_config.h"

#include <regex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/spec.h"

#define FILES_MAX 1000
#define TAG_BYTES_MAX (64 * KIB)
#define REGEX_BYTES_MAX 256 /* keeps a hostile pattern from costing much */

enum driver { NONE = 1, JSON_FILE = 2, LOCAL = 4 };

static const struct {
	const char *name;
	enum driver driver;
	const char *max_size, *max_file; /* where nobody says more; NULL = no bound */
} drivers[] = { { "none", NONE, NULL, NULL }, { "json-file", JSON_FILE, NULL, "1" }, { "local", LOCAL, "20m", "5" } };

/* --- values ------------------------------------------------------------------------------------------------------- */

static int check_size(const char *key, const char *value, struct err *e)
{
	int64_t bytes;

	if (spec_parse_size(value, &bytes) < 0)
		return err_set(e, ERR_INVALID, 0, "invalid value for %s: %.64s", key, value);
	return bytes > 0 ? 0 : err_set(e, ERR_INVALID, 0, "%s must be a positive number", key);
}

static int check_files(const char *key, const char *value, struct err *e)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (!*value || *end)
		return err_set(e, ERR_INVALID, 0, "invalid value for %s: %.64s", key, value);
	if (n < 1)
		return err_set(e, ERR_INVALID, 0, "%s cannot be less than 1", key);
	return n <= FILES_MAX ? 0 : err_set(e, ERR_INVALID, 0, "%s cannot be more than %d", key, FILES_MAX);
}

/* As Go's strconv.ParseBool: 1 or 0, or -1. */
static int parse_bool(const char *value)
{
	static const char *const words[][2] = { { "0", "1" },	  { "f", "t" },	      { "F", "T" },
						{ "false", "true" }, { "False", "True" }, { "FALSE", "TRUE" } };

	for (size_t i = 0; i < array_len(words); i++) {
		if (strcmp(value, words[i][0]) == 0 || strcmp(value, words[i][1]) == 0)
			return strcmp(value, words[i][1]) == 0;
	}
	return -1;
}

static int check_compress(const char *key, const char *value, struct err *e)
{
	int on = parse_bool(value);

	if (on < 0)
		return err_set(e, ERR_INVALID, 0, "invalid value for %s: %.64s", key, value);
	return on ? err_set(e, ERR_UNSUPPORTED, 0, "log option compress=true: not supported yet by Silo") : 0;
}

static int check_regex(const char *key, const char *value, struct err *e)
{
	regex_t re;

	if (strlen(value) > REGEX_BYTES_MAX || regcomp(&re, value, REG_EXTENDED | REG_NOSUB) != 0)
		return err_set(e, ERR_INVALID, 0, "invalid value for %s: %.64s is no regular expression", key, value);
	regfree(&re);
	return 0;
}

static int check_mode(const char *key, const char *value, struct err *e)
{
	if (!*value || strcmp(value, "blocking") == 0)
		return 0;
	if (strcmp(value, "non-blocking") == 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "log option %s=non-blocking: not supported yet by Silo", key);
	return err_set(e, ERR_INVALID, 0, "logger: logging mode not supported: %.64s", value);
}

static int check_buffer(const char *key, const char *value, struct err *e)
{
	(void)value;
	return err_set(e, ERR_INVALID, 0, "logger: %s option is only supported with 'mode=non-blocking'", key);
}

/* --- tag ---------------------------------------------------------------------------------------------------------- */

struct tag_value {
	const char *word, *value;
	int most; /* characters of it; 0 = all */
};

/* One "{{.Word}}" at *p: its value into out. */
static int put_word(const char **p, const struct tag_value *values, size_t n, struct str *out)
{
	const char *start = *p + 2, *end = strstr(start, "}}");

	if (!end)
		return -1;
	start += strspn(start, " ");
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(values[i].word);

		if (strncmp(start, values[i].word, len) != 0 || start + len + strspn(start + len, " ") != end)
			continue;
		str_printf(out, "%.*s", values[i].most ? values[i].most : INT32_MAX, values[i].value);
		*p = end + 2;
		return 0;
	}
	return -1;
}

/* Docker's templates, as far as they name one value; the rest of Go's language isn't there. */
static int render_tag(const char *template, const struct log_subject *s, struct str *out)
{
	const char *image = str_starts(s->image_id, "sha256:") ? s->image_id + strlen("sha256:") : s->image_id;
	const struct tag_value values[] = {
		{ ".ID", s->id, 12 },	       { ".FullID", s->id, 0 },
		{ ".Name", s->name, 0 },       { ".ImageID", image, 12 },
		{ ".ImageFullID", s->image_id, 0 }, { ".ImageName", json_str(s->config, "Image", ""), 0 },
		{ ".DaemonName", "docker", 0 },
	};

	while (*template) {
		if (!str_starts(template, "{{"))
			str_add(out, template ++, 1);
		else if (put_word(&template, values, array_len(values), out) < 0)
			return -1;
	}
	return out->full ? -1 : 0;
}

static int check_tag(const char *key, const char *value, struct err *e)
{
	const struct log_subject any = { .id = "", .name = "", .image_id = "" };
	autostr out;

	str_init(&out, TAG_BYTES_MAX);
	return render_tag(value, &any, &out) < 0
		       ? err_set(e, ERR_INVALID, 0, "invalid value for %s: %.64s is not supported by Silo", key, value)
		       : 0;
}

static int check_nothing(const char *key, const char *value, struct err *e)
{
	(void)key, (void)value, (void)e;
	return 0;
}

/* --- the options of a driver ---------------------------------------------------------------------------------------- */

static const struct {
	const char *key;
	unsigned of; /* drivers */
	int (*check)(const char *key, const char *value, struct err *e);
} options[] = {
	{ "max-size", JSON_FILE | LOCAL, check_size },
	{ "max-file", JSON_FILE | LOCAL, check_files },
	{ "compress", JSON_FILE | LOCAL, check_compress },
	{ "labels", JSON_FILE, check_nothing },
	{ "labels-regex", JSON_FILE, check_regex },
	{ "env", JSON_FILE, check_nothing },
	{ "env-regex", JSON_FILE, check_regex },
	{ "tag", JSON_FILE, check_tag },
	{ "mode", NONE | JSON_FILE | LOCAL, check_mode },
	{ "max-buffer-size", NONE | JSON_FILE | LOCAL, check_buffer },
};

static size_t driver_index(const char *name)
{
	size_t i = 0;

	while (i < array_len(drivers) && strcmp(drivers[i].name, name) != 0)
		i++;
	return i;
}

static int check_option(size_t driver, const char *key, const json_t *value, struct err *e)
{
	for (size_t i = 0; i < array_len(options); i++) {
		if (strcmp(options[i].key, key) != 0 || !(options[i].of & drivers[driver].driver))
			continue;
		if (!json_is_string(value))
			return err_set(e, ERR_INVALID, 0, "invalid value for %s: expected string", key);
		return options[i].check(key, json_string_value(value), e);
	}
	return err_set(e, ERR_INVALID, 0, "unknown log opt '%.64s' for %s log driver", key, drivers[driver].name);
}

int log_config_check(const json_t *log, struct err *e)
{
	const char *type = json_str(log, "Type", ""), *key;
	size_t driver = driver_index(type);
	json_t *value;

	if (driver == array_len(drivers))
		return err_set(e, ERR_INVALID, 0, "logger: no log driver named '%.64s' is registered", type);
	json_object_foreach(json_object_get(log, "Config"), key, value) {
		if (check_option(driver, key, value, e) < 0)
			return -1;
	}
	return 0;
}

int log_config_check_daemon(const json_t *daemon, struct err *e)
{
	const char *type;
	json_t *opts;

	if (json_get_str(daemon, "log-driver", LOG_DRIVER_DEFAULT, &type, e) < 0 ||
	    json_get_object(daemon, "log-opts", &opts, e) < 0)
		return -1;
	autojson *log = json_pack("{s:s, s:O?}", "Type", type, "Config", opts);

	return log_config_check(log, e) < 0 ? err_prefix(e, "log-driver, log-opts") : 0;
}

void log_config_add_defaults(const json_t *daemon, const char *asked, json_t *host)
{
	const char *type = json_str(daemon, "log-driver", LOG_DRIVER_DEFAULT);
	json_t *log = json_object_get(host, "LogConfig"), *config = json_object_get(log, "Config");

	if (!*asked)
		json_object_set_new(log, "Type", json_string(type));
	if (strcmp(json_str(log, "Type", ""), type) == 0)
		json_object_update_missing(config, json_object_get(daemon, "log-opts"));
}

/* --- attributes of each line ------------------------------------------------------------------------------------------ */

struct wanted {
	const char *list; /* keys between commas */
	const char *pattern;
	regex_t re;
};

static void wanted_init(struct wanted *w, const json_t *config, const char *list, const char *pattern)
{
	w->list = json_str(config, list, "");
	w->pattern = json_str(config, pattern, "");
	if (*w->pattern && regcomp(&w->re, w->pattern, REG_EXTENDED | REG_NOSUB) != 0)
		w->pattern = "";
}

static bool is_wanted(const struct wanted *w, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = w->list; *p; p += strspn(p, ",")) {
		size_t len = strcspn(p, ",");

		if (len == n && strncmp(p, key, n) == 0)
			return true;
		p += len;
	}
	return *w->pattern && regexec(&w->re, key, 0, NULL, 0) == 0;
}

static void wanted_fini(struct wanted *w)
{
	if (*w->pattern)
		regfree(&w->re);
}

static void add_labels(json_t *out, const json_t *options_given, const json_t *config)
{
	struct wanted w;
	const char *key;
	json_t *value;

	wanted_init(&w, options_given, "labels", "labels-regex");
	json_object_foreach(json_object_get(config, "Labels"), key, value) {
		if (is_wanted(&w, key))
			json_object_set(out, key, value);
	}
	wanted_fini(&w);
}

static void add_env(json_t *out, const json_t *options_given, const json_t *config)
{
	struct wanted w;
	json_t *entry;
	size_t i;

	wanted_init(&w, options_given, "env", "env-regex");
	json_array_foreach(json_object_get(config, "Env"), i, entry) {
		const char *text = json_string_value(entry), *eq = strchr(text, '=');
		autofree char *key = xstrndup(text, strcspn(text, "="));

		if (eq && is_wanted(&w, key))
			json_object_set_new(out, key, json_string(eq + 1));
	}
	wanted_fini(&w);
}

static json_t *attributes(const json_t *config, const struct log_subject *s)
{
	const char *tag = json_str(config, "tag", "");
	json_t *out = json_object();
	autostr text;

	str_init(&text, TAG_BYTES_MAX);
	add_labels(out, config, s->config);
	add_env(out, config, s->config);
	if (*tag && render_tag(tag, s, &text) == 0)
		json_object_set_new(out, "tag", json_string(text.s));
	return out;
}

json_t *log_config_bundle(const json_t *log, const char *path, const struct log_subject *s)
{
	size_t driver = driver_index(json_str(log, "Type", LOG_DRIVER_DEFAULT));
	const json_t *config = json_object_get(log, "Config");
	int64_t max_size = 0;
	const char *size;

	if (driver == array_len(drivers) || drivers[driver].driver == NONE)
		return NULL;
	size = json_str(config, "max-size", drivers[driver].max_size);
	if (size && spec_parse_size(size, &max_size) < 0)
		max_size = 0;
	return json_pack("{s:s, s:I, s:i, s:o}", "path", path, "max_size", (json_int_t)max_size, "max_files",
			 (int)strtol(json_str(config, "max-file", drivers[driver].max_file), NULL, 10), "attributes",
			 attributes(config, s));
}
