/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* -v and --mount: Docker's rules and texts (moby, volume/mounts, as its documentation and answers show them). */
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/mount_points.h"
#include "os/root.h"
#include "volume/volume.h"

#define SPEC_TEXT "invalid volume specification: '%s'"
#define CONFIG_TEXT "invalid mount config for type \"%s\": "

enum mode_group { ACCESS, LABEL, PROPAGATION, COPY, CONSISTENCY };

static const struct {
	const char *word;
	enum mode_group group;
} mode_words[] = {
	{ "rw", ACCESS },	      { "ro", ACCESS },		  { "z", LABEL },
	{ "Z", LABEL },		      { "rprivate", PROPAGATION }, { "private", PROPAGATION },
	{ "rslave", PROPAGATION },    { "slave", PROPAGATION },	  { "rshared", PROPAGATION },
	{ "shared", PROPAGATION },    { "nocopy", COPY },	  { "consistent", CONSISTENCY },
	{ "cached", CONSISTENCY },    { "delegated", CONSISTENCY },
};

struct mode {
	bool readonly, nocopy;
	const char *propagation; /* or "" */
};

/* Each kind of word at most once. */
static int parse_mode(const char *text, struct mode *m)
{
	autofree char *copy = xstrdup(text);
	char *rest = copy, *word;
	unsigned seen = 0;

	*m = (struct mode){ .propagation = "" };
	while (*text && (word = strsep(&rest, ","))) {
		size_t i;

		for (i = 0; i < array_len(mode_words) && strcmp(mode_words[i].word, word) != 0; i++)
			;
		if (i == array_len(mode_words) || seen & 1u << mode_words[i].group)
			return -1;
		seen |= 1u << mode_words[i].group;
		m->readonly |= strcmp(word, "ro") == 0;
		m->nocopy |= mode_words[i].group == COPY;
		if (mode_words[i].group == PROPAGATION)
			m->propagation = mode_words[i].word;
	}
	return 0;
}

static int check_target(const char *type, const char *target, struct err *e)
{
	if (!*target)
		return err_set(e, ERR_INVALID, 0, CONFIG_TEXT "field Target must not be empty", type);
	if (*target != '/')
		return err_set(e, ERR_INVALID, 0, CONFIG_TEXT "invalid mount path: '%s' mount path must be absolute",
			       type, target);
	autofree char *clean = path_clean(target);

	if (strcmp(clean, "/") == 0)
		return err_set(e, ERR_INVALID, 0, CONFIG_TEXT "invalid specification: destination can't be '/'", type);
	return 0;
}

static json_t *new_point(const char *type, const char *source, const char *target, bool readonly)
{
	autofree char *clean = path_clean(target);

	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "Type", type, "Source", source, "Destination", clean, "Mode",
			 "", "RW", !readonly, "Propagation", "");
}

static json_t *bind_point(const char *source, const char *target, bool readonly, const char *propagation)
{
	autofree char *clean = path_clean(source);
	json_t *p = new_point("bind", clean, target, readonly);

	json_object_set_new(p, "Propagation", json_string(*propagation ? propagation : "rprivate"));
	return p;
}

static json_t *volume_point(const char *name, const char *target, bool readonly, const char *driver)
{
	json_t *p = new_point("volume", "", target, readonly);
	char random[65];

	random_hex(random, 32);
	json_object_set_new(p, "Name", json_string(*name ? name : random));
	json_object_set_new(p, "Driver", json_string(*driver ? driver : "local"));
	if (!*name)
		json_object_set_new(p, "anonymous", json_true());
	return p;
}

json_t *mount_anonymous(const char *destination, const char *driver)
{
	return volume_point("", destination, false, driver);
}

static json_t *bind_from(const char *text, const char *source, const char *target, const char *mode, const char *driver,
			 struct err *e)
{
	struct mode m;
	json_t *p;

	if (parse_mode(mode, &m) < 0) {
		err_set(e, ERR_INVALID, 0, "invalid mode: %s", mode);
		return NULL;
	}
	if (check_target(*source == '/' ? "bind" : "volume", target, e) < 0) {
		err_prefix(e, SPEC_TEXT, text);
		return NULL;
	}
	if (*source != '/' && *source && volume_check_name(source, e) < 0)
		return NULL;
	if (*source != '/' && *m.propagation) {
		err_set(e, ERR_INVALID, 0, SPEC_TEXT ": invalid mode: %s", text, mode);
		return NULL;
	}
	p = *source == '/' ? bind_point(source, target, m.readonly, m.propagation)
			   : volume_point(source, target, m.readonly, driver);
	json_object_set_new(p, "Mode", json_string(mode));
	json_object_set_new(p, "make", json_true());
	json_object_set_new(p, "nocopy", json_boolean(m.nocopy));
	return p;
}

json_t *mount_parse_bind(const char *text, const char *driver, struct err *e)
{
	autofree char *copy = xstrdup(text);
	char *parts[4] = { 0 }, *rest = copy;
	struct mode m;
	size_t n = 0;

	while (rest && n < array_len(parts))
		parts[n++] = strsep(&rest, ":");
	if (n && *parts[0]) {
		if (n == 1)
			return bind_from(text, "", parts[0], "", driver, e);
		if (n == 2 && !(*parts[1] && parse_mode(parts[1], &m) == 0))
			return bind_from(text, parts[0], parts[1], "", driver, e);
		if (n == 3)
			return bind_from(text, parts[0], parts[1], parts[2], driver, e);
	}
	err_set(e, ERR_INVALID, 0, SPEC_TEXT, text);
	return NULL;
}

/* --- --mount -------------------------------------------------------------------------------------------------------- */

struct spec {
	const char *type, *source, *target;
	bool readonly;
	json_t *bind, *volume, *tmpfs;
};

static int refuse(const struct spec *s, struct err *e, const char *field, const char *must)
{
	return err_set(e, ERR_INVALID, 0, CONFIG_TEXT "field %s must %s", s->type, field, must);
}

static json_t *parse_bind(const struct spec *s, struct err *e)
{
	const char *propagation = "";
	bool nonrecursive = false, make = false, plain = false, force = false;
	struct stat st;
	struct mode m;
	json_t *p;

	if (!*s->source)
		return refuse(s, e, "Source", "not be empty"), NULL;
	if (s->volume)
		return refuse(s, e, "VolumeOptions", "not be specified"), NULL;
	if (s->tmpfs)
		return refuse(s, e, "TmpfsOptions", "not be specified"), NULL;
	if (json_get_str(s->bind, "Propagation", "", &propagation, e) < 0 ||
	    json_get_bool(s->bind, "NonRecursive", false, &nonrecursive, e) < 0 ||
	    json_get_bool(s->bind, "CreateMountpoint", false, &make, e) < 0 ||
	    json_get_bool(s->bind, "ReadOnlyNonRecursive", false, &plain, e) < 0 ||
	    json_get_bool(s->bind, "ReadOnlyForceRecursive", false, &force, e) < 0)
		return NULL;
	if (*propagation &&
	    (parse_mode(propagation, &m) < 0 || !*m.propagation || strcmp(m.propagation, propagation) != 0)) {
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "invalid propagation mode: %s", s->type, propagation);
		return NULL;
	}
	if (*s->source != '/') {
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "invalid mount path: '%s' mount path must be absolute", s->type,
			s->source);
		return NULL;
	}
	if (!make && stat(s->source, &st) < 0) {
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "bind source path does not exist: %s", s->type, s->source);
		return NULL;
	}
	p = bind_point(s->source, s->target, s->readonly, propagation);
	json_object_set_new(p, "make", json_boolean(make));
	json_object_set_new(p, "nonrecursive", json_boolean(nonrecursive));
	json_object_set_new(p, "plain_ro", json_boolean(plain));
	return p;
}

/* A path inside the volume, lexically; what symlinks make of it is decided when it is opened. */
static bool is_local(const char *path)
{
	int depth = 0;

	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && strncmp(p, "..", 2) == 0)
			depth--;
		else if (n && !(n == 1 && *p == '.'))
			depth++;
		if (depth < 0)
			return false;
		p += n + (p[n] == '/');
	}
	return *path != '/';
}

static json_t *parse_volume(const struct spec *s, struct err *e)
{
	json_t *driver = NULL, *options = NULL, *labels = NULL, *p;
	const char *driver_name = "", *subpath = "";
	bool nocopy = false;

	if (s->bind)
		return refuse(s, e, "BindOptions", "not be specified"), NULL;
	if (s->tmpfs)
		return refuse(s, e, "TmpfsOptions", "not be specified"), NULL;
	if (json_get_bool(s->volume, "NoCopy", false, &nocopy, e) < 0 ||
	    json_get_str(s->volume, "Subpath", "", &subpath, e) < 0 ||
	    json_get_object(s->volume, "DriverConfig", &driver, e) < 0 ||
	    json_get_object(s->volume, "Labels", &labels, e) < 0 ||
	    json_get_str(driver, "Name", "", &driver_name, e) < 0 ||
	    json_get_object(driver, "Options", &options, e) < 0)
		return NULL;
	if (!*s->source && s->readonly) {
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "must not set ReadOnly mode when using anonymous volumes",
			s->type);
		return NULL;
	}
	if (!*s->source && *subpath) {
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "must not set Subpath when using anonymous volumes", s->type);
		return NULL;
	}
	if (*subpath && !is_local(subpath)) {
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "subpath must be a relative path within the volume", s->type);
		return NULL;
	}
	if ((*s->source && volume_check_name(s->source, e) < 0) || volume_check_options(options, e) < 0)
		return NULL;
	p = volume_point(s->source, s->target, s->readonly, driver_name);
	json_object_set_new(p, "nocopy", json_boolean(nocopy));
	if (*subpath)
		json_object_set_new(p, "subpath", json_string(subpath));
	if (json_object_size(options))
		json_object_set(p, "volume_options", options);
	if (json_object_size(labels))
		json_object_set(p, "labels", labels);
	return p;
}

static json_t *parse_tmpfs(const struct spec *s, struct err *e)
{
	int64_t size = 0, mode = 0;
	autostr text;
	json_t *more, *pair, *p;
	size_t i;

	str_init(&text, 4000);
	if (s->bind)
		return refuse(s, e, "BindOptions", "not be specified"), NULL;
	if (s->volume)
		return refuse(s, e, "VolumeOptions", "not be specified"), NULL;
	if (*s->source)
		return refuse(s, e, "Source", "not be specified"), NULL;
	if (json_get_int(s->tmpfs, "SizeBytes", 0, &size, e) < 0 || json_get_int(s->tmpfs, "Mode", 0, &mode, e) < 0 ||
	    json_get_array(s->tmpfs, "Options", &more, e) < 0)
		return NULL;
	if (size < 0 || mode < 0 || mode > 07777) {
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "invalid size or mode", s->type);
		return NULL;
	}
	str_puts(&text, s->readonly ? "ro" : "rw");
	if (size)
		str_printf(&text, ",size=%lld", (long long)size);
	if (mode)
		str_printf(&text, ",mode=%llo", (unsigned long long)mode);
	json_array_foreach(more, i, pair) {
		const char *key = json_string_value(json_array_get(pair, 0)),
			   *value = json_string_value(json_array_get(pair, 1));

		if (!key || strpbrk(key, ",=") || (value && strchr(value, ','))) {
			err_set(e, ERR_INVALID, 0, CONFIG_TEXT "invalid option", s->type);
			return NULL;
		}
		str_printf(&text, ",%s%s%s", key, value ? "=" : "", value ? value : "");
	}
	p = new_point("tmpfs", "", s->target, s->readonly);
	json_object_set_new(p, "options", json_string(text.s));
	return p;
}

/* For Linux images a pipe is a unix socket of the host. */
static json_t *parse_npipe(const struct spec *s, struct err *e)
{
	struct stat st;

	if (!*s->source)
		return refuse(s, e, "Source", "not be empty"), NULL;
	if (s->bind || s->volume || s->tmpfs)
		return refuse(s, e,
			      s->bind     ? "BindOptions"
			      : s->volume ? "VolumeOptions"
					  : "TmpfsOptions",
			      "not be specified"),
		       NULL;
	if (*s->source != '/' || stat(s->source, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "'%s' is not a unix socket of this host", s->type, s->source);
		return NULL;
	}
	return new_point("npipe", s->source, s->target, s->readonly);
}

json_t *mount_parse_spec(const json_t *mount, struct err *e)
{
	static const struct {
		const char *type;
		json_t *(*parse)(const struct spec *s, struct err *e);
	} types[] = {
		{ "bind", parse_bind }, { "volume", parse_volume }, { "tmpfs", parse_tmpfs }, { "npipe", parse_npipe }
	};
	struct spec s;

	if (json_get_str(mount, "Type", "", &s.type, e) < 0 || json_get_str(mount, "Source", "", &s.source, e) < 0 ||
	    json_get_str(mount, "Target", "", &s.target, e) < 0 ||
	    json_get_bool(mount, "ReadOnly", false, &s.readonly, e) < 0 ||
	    json_get_object(mount, "BindOptions", &s.bind, e) < 0 ||
	    json_get_object(mount, "VolumeOptions", &s.volume, e) < 0 ||
	    json_get_object(mount, "TmpfsOptions", &s.tmpfs, e) < 0)
		return NULL;
	if (check_target(s.type, s.target, e) < 0)
		return NULL;
	for (size_t i = 0; i < array_len(types); i++) {
		if (strcmp(types[i].type, s.type) == 0)
			return types[i].parse(&s, e);
	}
	if (strcmp(s.type, "image") == 0 || strcmp(s.type, "cluster") == 0)
		err_set(e, ERR_UNSUPPORTED, 0, "mounts of type \"%s\": not supported yet by Silo", s.type);
	else
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "mount type unknown", s.type);
	return NULL;
}
