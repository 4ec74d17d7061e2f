/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POST /build and /build/prune: the classic builder's API. */
#include "engine/build.h"

#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "registry/registry.h"

#define REGISTRY_CONFIG_HEADER "X-Registry-Config"

/* --- what the request says --------------------------------------------------------------------------------------------- */

/* Documents in the query, and where they go. */
struct documents {
	json_t *tags, *extra_hosts, *args, *labels, *ulimits, *auths;
};

static void documents_fini(struct documents *d)
{
	json_decref(d->tags);
	json_decref(d->extra_hosts);
	json_decref(d->args);
	json_decref(d->labels);
	json_decref(d->ulimits);
	json_decref(d->auths);
}

/* All values of a key that may come several times. */
static json_t *values_of(const struct request *r, const char *key)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->uri.n_query; i++)
		if (strcmp(r->uri.query[i].key, key) == 0 && *r->uri.query[i].value)
			json_array_append_new(list, json_string(r->uri.query[i].value));
	return list;
}

static int query_document(const struct request *r, const char *key, int type, json_t **out, struct err *e)
{
	const char *text = query_str(r, key);

	if (!text || strcmp(text, "null") == 0)
		return 0;
	*out = json_parse(text, strlen(text), key, e);
	if (!*out)
		return -1;
	if ((int)json_typeof(*out) != type)
		return err_set(e, ERR_INVALID, 0, "%s: not %s", key, type == JSON_OBJECT ? "an object" : "a list");
	return 0;
}

static int read_documents(const struct request *r, struct documents *d, struct err *e)
{
	d->tags = values_of(r, "t");
	d->extra_hosts = values_of(r, "extrahosts");
	if (query_document(r, "buildargs", JSON_OBJECT, &d->args, e) ||
	    query_document(r, "labels", JSON_OBJECT, &d->labels, e) ||
	    query_document(r, "ulimits", JSON_ARRAY, &d->ulimits, e))
		return -1;
	d->auths = registry_auth_parse(request_header(r, REGISTRY_CONFIG_HEADER), e);
	return e->kind ? -1 : 0;
}

/* What a builder that isn't BuildKit, and runs here, can't do. */
static int check_supported(const struct request *r, struct err *e)
{
	static const struct {
		const char *key, *allowed, *text;
	} refused[] = {
		{ "remote", "client-session",
		  "remote build contexts are not supported: get the files, then docker build DIRECTORY" },
		{ "outputs", "[]", "outputs of a build other than an image need BuildKit, which Silo does not have" },
		{ "securityopt", "[]", "security options of a build are not supported" },
	};
	const char *platform = query_str(r, "platform");

	if (query_str(r, "version") && strcmp(query_str(r, "version"), "1") != 0)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "BuildKit is not supported: use the classic builder (DOCKER_BUILDKIT=0 docker build)");
	for (size_t i = 0; i < array_len(refused); i++) {
		const char *value = query_str(r, refused[i].key);

		if (value && strcmp(value, refused[i].allowed) != 0 && strcmp(value, "null") != 0)
			return err_set(e, ERR_UNSUPPORTED, 0, "%s", refused[i].text);
	}
	if (platform && strcmp(platform, "linux/amd64") != 0 && strcmp(platform, "linux") != 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "images for platform %.64s can't be built here: only linux/amd64",
			       platform);
	return 0;
}

static int read_numbers(const struct request *r, struct build_options *o, struct err *e)
{
	const struct {
		const char *key;
		int64_t min, *out;
	} numbers[] = {
		{ "memory", 0, &o->memory },       { "memswap", -1, &o->memory_swap }, { "cpushares", 0, &o->cpu_shares },
		{ "cpuperiod", 0, &o->cpu_period }, { "cpuquota", -1, &o->cpu_quota }, { "shmsize", 0, &o->shm_size },
	};

	for (size_t i = 0; i < array_len(numbers); i++)
		if (query_int(r, numbers[i].key, 0, numbers[i].min, INT64_MAX, numbers[i].out, e))
			return -1;
	return 0;
}

static int read_options(const struct request *r, const struct documents *d, struct build_options *o, struct err *e)
{
	const char *dockerfile = query_str(r, "dockerfile");

	*o = (struct build_options){
		.dockerfile = dockerfile ? dockerfile : "Dockerfile",
		.isolation = query_str(r, "isolation"),
		.network = query_str(r, "networkmode"),
		.target = query_str(r, "target"),
		.cpuset_cpus = query_str(r, "cpusetcpus"),
		.cpuset_mems = query_str(r, "cpusetmems"),
		.cgroup_parent = query_str(r, "cgroupparent"),
		.tags = d->tags,
		.extra_hosts = d->extra_hosts,
		.args = d->args,
		.labels = d->labels,
		.ulimits = d->ulimits,
		.auths = d->auths,
		.no_cache = query_bool(r, "nocache", false),
		.pull = query_bool(r, "pull", false),
		.squash = query_bool(r, "squash", false),
		.quiet = query_bool(r, "q", false),
	};
	return check_supported(r, e) || read_numbers(r, o, e) ? -1 : 0;
}

/* --- the answer ------------------------------------------------------------------------------------------------------------ */

int api_build(struct request *r, struct err *e)
{
	struct registry_client client = { .progress = progress_line, .gone = progress_gone, .arg = r };
	struct documents d = { 0 };
	struct build_options o;
	int exit_code = 1, rc;

	rc = read_documents(r, &d, e) || read_options(r, &d, &o, e) ? -1 : 0;
	if (rc == 0)
		rc = engine_build(r->engine, &o, r->upload_fd, &client, &exit_code, e);
	documents_fini(&d);
	return progress_end(r, rc, exit_code, e);
}

int api_build_prune(struct request *r, struct err *e)
{
	int64_t bytes;

	if (build_prune(engine_builder(r->engine), &bytes, e) < 0)
		return -1;
	return reply_json(r, 200, json_pack("{s:[], s:I}", "CachesDeleted", "SpaceReclaimed", (json_int_t)bytes));
}
