/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GET /containers/json and its filters. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/body.h"
#include "engine/create.h"
#include "engine/filter.h"
#include "engine/health.h"
#include "engine/inspect.h"
#include "engine/spec.h"
#include "image/filter.h"

void duration_text(int64_t s, char out[static 48])
{
	static const struct {
		int64_t below, unit; /* seconds */
		const char *one, *many;
	} steps[] = {
		{ 1, 1, "Less than a second", NULL },	   { 2, 1, "1 second", NULL },
		{ 60, 1, NULL, "seconds" },		   { 120, 1, "About a minute", NULL },
		{ 3600, 60, NULL, "minutes" },		   { 5400, 1, "About an hour", NULL },
		{ 48 * 3600, 3600, NULL, "hours" },	   { 14 * 86400, 86400, NULL, "days" },
		{ 60 * 86400, 7 * 86400, NULL, "weeks" },  { 730 * 86400LL, 30 * 86400, NULL, "months" },
		{ INT64_MAX, 365 * 86400, NULL, "years" },
	};
	size_t i = 0;

	while (s >= steps[i].below)
		i++;
	if (steps[i].one)
		snprintf(out, 48, "%s", steps[i].one);
	else if (steps[i].unit == 3600) /* hours are rounded */
		snprintf(out, 48, "%lld hours", (long long)((s + 1800) / 3600));
	else
		snprintf(out, 48, "%lld %s", (long long)(s / steps[i].unit), steps[i].many);
}

void status_text(enum life state, int exit_code, int64_t started, int64_t finished, int64_t now, char out[static 80])
{
	char up[48], ago[48];

	duration_text(now - started, up);
	duration_text(now - finished, ago);
	switch (state) {
	case LIFE_CREATED:
		strcpy(out, "Created");
		break;
	case LIFE_RUNNING:
		snprintf(out, 80, "Up %s", up);
		break;
	case LIFE_PAUSED:
		snprintf(out, 80, "Up %s (Paused)", up);
		break;
	case LIFE_RESTARTING:
		snprintf(out, 80, "Restarting (%u) %s ago", (unsigned)exit_code, ago);
		break;
	case LIFE_EXITED:
		snprintf(out, 80, "Exited (%u) %s ago", (unsigned)exit_code, ago);
		break;
	default:
		strcpy(out, "Dead");
	}
}

static const char *const known_filters[] = { "id",     "name",	 "label",     "status",	 "exited",  "ancestor", "before",
					     "since",  "isolation", "health", "volume",	 "network", "publish",	"expose",
					     "is-task", NULL };

struct listing {
	struct engine *g;
	json_t *f;
	bool all, size;
	int64_t before_ns, since_ns;
	char (*ancestors)[IMAGE_ID_MAX];
	size_t n_ancestors;
};

struct port_range {
	long first, last;
	const char *protocol;
};

/* "80", "80/udp", "8000-8080/tcp": false where it is none. */
static bool parse_range(const char *text, struct port_range *r)
{
	char *end;

	if (!body_is_port(text))
		return false;
	r->first = r->last = strtol(text, &end, 10);
	if (*end == '-')
		r->last = strtol(end + 1, &end, 10);
	r->protocol = *end ? end + 1 : "tcp";
	return r->first <= r->last;
}

static int check_values(const json_t *f, struct err *e)
{
	static const char *const health[] = { "none", "starting", "healthy", "unhealthy" };
	static const char *const ports[] = { "publish", "expose" };
	static const char *const states[] = {
		"created", "running", "paused", "restarting", "removing", "exited", "dead"
	};
	struct port_range range;
	json_t *value;
	size_t i, k;

	json_array_foreach(json_object_get(f, "status"), i, value) {
		for (k = 0; k < array_len(states) && strcmp(states[k], json_string_value(value)) != 0; k++)
			;
		if (k == array_len(states))
			return err_set(e, ERR_INVALID, 0, "invalid filter 'status=%s'", json_string_value(value));
	}
	json_array_foreach(json_object_get(f, "health"), i, value) {
		for (k = 0; k < array_len(health) && strcmp(health[k], json_string_value(value)) != 0; k++)
			;
		if (k == array_len(health))
			return err_set(e, ERR_INVALID, 0, "invalid filter 'health=%s'", json_string_value(value));
	}
	for (k = 0; k < array_len(ports); k++) {
		json_array_foreach(json_object_get(f, ports[k]), i, value) {
			if (!parse_range(json_string_value(value), &range))
				return err_set(e, ERR_INVALID, 0, "invalid filter '%s=%s'", ports[k],
					       json_string_value(value));
		}
	}
	json_array_foreach(json_object_get(f, "exited"), i, value) {
		char *end;

		strtol(json_string_value(value), &end, 10);
		if (*end || end == json_string_value(value))
			return err_set(e, ERR_INVALID, 0, "invalid filter 'exited=%s'", json_string_value(value));
	}
	return 0;
}

/* The moment of another container: before / since. */
static int moment(struct engine *g, const json_t *f, const char *name, int64_t *ns, struct err *e)
{
	json_t *value;
	size_t i;

	json_array_foreach(json_object_get(f, name), i, value) {
		autorecord *c = table_find(g, json_string_value(value), e);

		if (!c)
			return -1;
		*ns = c->created_ns;
	}
	return 0;
}

/* An unknown image matches nothing; it is no error. */
static void find_ancestors(struct listing *l)
{
	json_t *list = json_object_get(l->f, "ancestor"), *value;
	size_t i;

	l->ancestors = xcalloc(json_array_size(list) + 1, sizeof(l->ancestors[0]));
	json_array_foreach(list, i, value) {
		struct err ignored = { 0 };

		if (image_resolve(l->g->images, json_string_value(value), l->ancestors[l->n_ancestors], &ignored) == 0)
			l->n_ancestors++;
	}
}

static int listing_init(struct listing *l, const json_t *filters, struct err *e)
{
	l->f = filters_parse(filters, known_filters, e);
	if (!l->f || check_values(l->f, e) < 0 || moment(l->g, l->f, "before", &l->before_ns, e) < 0 ||
	    moment(l->g, l->f, "since", &l->since_ns, e) < 0)
		return -1;
	find_ancestors(l);
	l->all |= filters_has(l->f, "status") || filters_has(l->f, "exited");
	return 0;
}

static bool name_matches(const json_t *f, const char *name)
{
	autofree char *slashed = xasprintf("/%s", name);

	return filters_match(f, "name", name) || filters_match(f, "name", slashed);
}

/* By the name or the id of any network that it is in. */
static bool network_matches(const struct listing *l, struct container *c, const json_t *host)
{
	autojson *networks = filters_has(l->f, "network") ? net_networks(l->g, c, host) : NULL;
	const char *name;
	json_t *settings;

	json_object_foreach(networks, name, settings) {
		if (filters_exact(l->f, "network", name) ||
		    filters_exact(l->f, "network", json_str(settings, "NetworkID", "")))
			return true;
	}
	return !networks;
}

static bool volume_matches(const json_t *f, const json_t *host)
{
	autojson *mounts = filters_has(f, "volume") ? inspect_mounts(host) : NULL;
	json_t *mount;
	size_t i;

	json_array_foreach(mounts, i, mount) {
		if (filters_exact(f, "volume", json_str(mount, "Destination", "")) ||
		    filters_exact(f, "volume", json_str(mount, "Source", "")))
			return true;
	}
	return !mounts;
}

/* Is one of the ports of the map ("80/tcp": ...) among the values of the filter? */
static bool ports_match(const json_t *f, const char *name, const json_t *ports)
{
	json_t *value, *unused;
	const char *port;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)ports, port, unused) {
		struct port_range mine, r;

		json_array_foreach(json_object_get(f, name), i, value) {
			if (parse_range(port, &mine) && parse_range(json_string_value(value), &r) &&
			    strcasecmp(mine.protocol, r.protocol) == 0 && mine.first >= r.first && mine.last <= r.last)
				return true;
		}
	}
	return !filters_has(f, name);
}

static bool ancestor_matches(const struct listing *l, const struct container *c)
{
	for (size_t i = 0; i < l->n_ancestors; i++) {
		if (strcmp(l->ancestors[i], c->image_id) == 0)
			return true;
	}
	return !filters_has(l->f, "ancestor");
}

static bool isolation_matches(const json_t *f, const char *isolation)
{
	json_t *value;
	size_t i;

	json_array_foreach(json_object_get(f, "isolation"), i, value) {
		if (strcasecmp(json_string_value(value), isolation) == 0)
			return true;
	}
	return !filters_has(f, "isolation");
}

/* c->lock held. */
static bool state_matches(const struct listing *l, const struct container *c)
{
	bool running = c->state == LIFE_RUNNING || c->state == LIFE_PAUSED || c->state == LIFE_RESTARTING;
	char code[16];

	snprintf(code, sizeof(code), "%u", (unsigned)c->exit_code);
	if (!running && !l->all && !l->before_ns && !l->since_ns)
		return false;
	if (filters_has(l->f, "exited") && (c->state != LIFE_EXITED || !filters_exact(l->f, "exited", code)))
		return false;
	return filters_exact(l->f, "status", lifecycle_name(c->state)) &&
	       filters_exact(l->f, "health", health_status(c)) && name_matches(l->f, c->name);
}

static bool included(const struct listing *l, struct container *c, const json_t *config, const json_t *host)
{
	bool yes;

	pthread_mutex_lock(&c->lock);
	yes = state_matches(l, c);
	pthread_mutex_unlock(&c->lock);
	return yes && filters_match(l->f, "id", c->id) &&
	       filters_labels(l->f, "label", json_object_get(config, "Labels")) &&
	       (!l->before_ns || c->created_ns < l->before_ns) && (!l->since_ns || c->created_ns > l->since_ns) &&
	       ancestor_matches(l, c) && isolation_matches(l->f, c->isolation) && network_matches(l, c, host) &&
	       volume_matches(l->f, host) && ports_match(l->f, "expose", json_object_get(config, "ExposedPorts")) &&
	       ports_match(l->f, "publish", json_object_get(host, "PortBindings")) &&
	       filters_exact(l->f, "is-task", "false");
}

/* The column COMMAND: arguments with blanks in quotes. */
static char *command_text(const json_t *config)
{
	autojson *args = spec_args(config, NULL);
	json_t *arg;
	autostr text;
	size_t i;

	str_init(&text, 1 * MIB);
	json_array_foreach(args, i, arg) {
		const char *s = json_string_value(arg), *quote = i && strchr(s, ' ') ? "'" : "";

		str_printf(&text, "%s%s%s%s", i ? " " : "", quote, s, quote);
	}
	return str_take(&text);
}

static int64_t seconds_of(const char *text)
{
	struct timespec t;

	return *text && time_parse(text, &t) == 0 ? (int64_t)t.tv_sec : 0;
}

/* The reference that the user gave, as long as it still means the same image. */
static const char *shown_image(struct engine *g, const struct container *c, const json_t *config)
{
	const char *ref = json_str(config, "Image", "");
	char id[IMAGE_ID_MAX];

	return image_resolve(g->images, ref, id, NULL) == 0 && strcmp(id, c->image_id) == 0 ? ref : c->image_id;
}

/* "Up 3 seconds (health: starting)" */
static void add_health(const struct container *c, char status[static 80])
{
	const char *health = health_status(c);
	size_t n = strlen(status);

	snprintf(status + n, 80 - n, " (%s%s)", strcmp(health, "starting") == 0 ? "health: " : "", health);
}

static json_t *summary(const struct listing *l, struct container *c, const json_t *config, const json_t *host)
{
	autofree char *command = command_text(config);
	json_t *labels = json_object_get(config, "Labels"), *out;
	char status[80];

	out = json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:O, s:{s:s}, s:{s:o}, s:o}", "Id", c->id, "Image",
			shown_image(l->g, c, config), "ImageID", c->image_id, "Command", command, "Created",
			(json_int_t)(c->created_ns / 1000000000), "Ports", net_port_list(l->g, c, config), "Labels",
			labels, "HostConfig", "NetworkMode", json_str(host, "NetworkMode", ""), "NetworkSettings",
			"Networks", net_networks(l->g, c, host), "Mounts", inspect_mounts(host));
	pthread_mutex_lock(&c->lock);
	status_text(c->state, c->exit_code, seconds_of(c->started_at), seconds_of(c->finished_at), time_now().tv_sec,
		    status);
	if (c->health && c->state == LIFE_RUNNING)
		add_health(c, status);
	json_object_set_new(out, "Names", json_pack("[o]", json_sprintf("/%s", c->name)));
	json_object_set_new(out, "State", json_string(lifecycle_name(c->state)));
	pthread_mutex_unlock(&c->lock);
	json_object_set_new(out, "Status", json_string(status));
	if (l->size) {
		int64_t rw = container_size_rw(l->g, c);

		json_object_set_new(out, "SizeRw", json_integer(rw));
		json_object_set_new(out, "SizeRootFs", json_integer(rw + image_size(l->g, c->image_id)));
	}
	return out;
}

json_t *engine_container_list(struct engine *g, bool all, int limit, bool size, const json_t *filters, struct err *e)
{
	struct listing l = { .g = g, .all = all || limit > 0, .size = size };
	struct container **list = NULL;
	json_t *out = NULL;

	if (listing_init(&l, filters, e) == 0) {
		list = table_all(g);
		out = json_array();
	}
	for (size_t i = 0; list && list[i] && (limit <= 0 || json_array_size(out) < (size_t)limit); i++) {
		autojson *config = record_config(list[i]);
		autojson *host = record_host(list[i]);

		if (included(&l, list[i], config, host))
			json_array_append_new(out, summary(&l, list[i], config, host));
	}
	table_free_list(list);
	json_decref(l.f);
	free(l.ancestors);
	return out;
}

int filters_until(const json_t *f, struct timespec *out, struct err *e)
{
	const char *text = json_string_value(json_array_get(json_object_get(f, "until"), 0));

	return text ? filter_time(text, time_now(), out, e) : 0;
}
