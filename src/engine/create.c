/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POST /containers/create. */
#include "engine/create.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/body.h"
#include "engine/limits.h"
#include "engine/log_config.h"
#include "engine/mount_points.h"
#include "engine/namespaces.h"
#include "engine/networking.h"
#include "engine/spec.h"
#include "engine/state.h"
#include "engine/template_use.h"
#include "engine/windows.h"
#include "windows/process.h"

#define NAME_ATTEMPTS 16

/* Everything but Linux and Windows on this processor is refused. */
static int check_platform(const char *platform, struct err *e)
{
	static const char *const known[] = { "linux", "linux/amd64", "linux/x86_64", "windows", "windows/amd64" };

	if (!platform || !*platform)
		return 0;
	for (size_t i = 0; i < array_len(known); i++) {
		if (strcasecmp(platform, known[i]) == 0)
			return 0;
	}
	return err_set(e, ERR_INVALID, 0,
		       "image platform (%s) is not supported by this engine (linux/amd64, windows/amd64)", platform);
}

/* The canonical documents of the request. The body is ContainerConfig with HostConfig inside. */
static int read_body(struct engine *g, struct container *c, const json_t *body, struct err *e)
{
	const json_t *host = json_member(body, "HostConfig");
	const char *driver;

	c->config = body_config(body, e);
	c->host = c->config ? body_host(host, e) : NULL;
	if (!c->host || json_get_str(json_member(host, "LogConfig"), "Type", "", &driver, e) < 0)
		return -1;
	log_config_add_defaults(g->config, driver, c->host);
	limits_add_ulimits(g->config, c->host);
	return 0;
}

/* Docker names the tag that it looked for. */
static int resolve_image(struct engine *g, struct container *c, struct err *e)
{
	const char *ref = json_str(c->config, "Image", ""), *slash = strrchr(ref, '/');

	if (!*ref)
		return err_set(e, ERR_INVALID, 0, "no image specified");
	if (image_resolve(g->images, ref, c->image_id, e) == 0)
		return 0;
	if (e->kind == ERR_NOT_FOUND)
		err_set(e, ERR_NOT_FOUND, 0, "No such image: %s%s", ref,
			strchr(ref, '@') || strchr(slash ? slash : ref, ':') ? "" : ":latest");
	return -1;
}

static int merge_image(struct engine *g, struct container *c, struct err *e)
{
	autojson *image = image_config(g->images, c->image_id, e);
	json_t *args;

	if (!image)
		return -1;
	body_merge_image(c->config, json_object_get(image, "config"));
	if (windows_config_settle(c->config, image, e) < 0)
		return -1;
	args = spec_args(c->config, e);
	json_decref(args);
	return args ? 0 : -1;
}

/* hyperv: a template must exist or be possible to make; otherwise this is the error, never a fall-back to process. */
static int check_vm(struct engine *g, struct container *c, struct err *e)
{
	autofree char *template = NULL;

	if (strcmp(c->isolation, "hyperv") != 0)
		return 0;
	template = vm_template(g, c->host, e);
	return template ? 0 : -1;
}

static int choose_isolation(struct engine *g, struct container *c, json_t *warnings, struct err *e)
{
	const char *wanted = json_str(c->host, "Isolation", "");
	bool explicit_process = strcasecmp(wanted, "process") == 0;

	c->isolation = isolation_choose(wanted, g->isolation, g->client_machine, e);
	if (!c->isolation ||
	    windows_isolation_check(g, c->config, *wanted && strcasecmp(wanted, "default") != 0, &c->isolation, e) < 0)
		return -1;
	json_object_set_new(c->host, "Isolation", json_string(c->isolation));
	if (explicit_process && g->client_machine)
		json_array_append_new(warnings,
				      json_string("Process isolation on a client machine is meant for development and "
						  "testing only."));
	return 0;
}

/* One user per VM: none of the others may open its disk. */
static uid_t free_vm_uid(struct engine *g, const char *id)
{
	struct container **all = table_all(g);
	uid_t first =
		VM_UID_BASE + (uid_t)(strtoul((char[5]){ id[0], id[1], id[2], id[3], 0 }, NULL, 16) % VM_UID_COUNT);
	uid_t uid = first;
	bool taken = true;

	while (taken) {
		taken = false;
		for (size_t i = 0; all[i]; i++)
			taken |= all[i]->vm_uid == uid;
		if (taken)
			uid = VM_UID_BASE + (uid - VM_UID_BASE + 1) % VM_UID_COUNT;
	}
	table_free_list(all);
	return uid;
}

/* Find what only shows when the documents are put together: mounts, ulimits. */
static int check_spec(struct container *c, struct err *e)
{
	struct spec_input in = { .id = c->id,
				 .hostname = "x",
				 .config = c->config,
				 .host = c->host,
				 .hyperv = strcmp(c->isolation, "hyperv") == 0 };
	autojson *spec = spec_make(&in, e);

	return spec ? 0 : -1;
}

/* Into the table under a name: the given one, or random ones until one is free. */
static int take_name(struct engine *g, struct container *c, const char *name, struct err *e)
{
	char random[64];

	if (name && *name == '/')
		name++;
	if (name && *name) {
		if (create_check_name(name, e) < 0)
			return -1;
		c->name = xstrdup(name);
		return table_add(g, c, e);
	}
	for (int i = 0; i < NAME_ATTEMPTS; i++) {
		create_random_name(i, random);
		free(c->name);
		c->name = xstrdup(random);
		if (table_add(g, c, e) == 0)
			return 0;
	}
	return -1;
}

/* Files first, then the record: a crash in between leaves a directory without a record, which the next start deletes. */
static int make_durable(struct engine *g, struct container *c, const json_t *body, struct err *e)
{
	autofree char *dir = path_data(g, c->id, NULL);

	if (mounts_prepare(g, c, e) == 0 && net_create(g, c, body, e) == 0 && files_create(g, c, e) == 0 &&
	    record_insert(g->db, c, e) == 0)
		return 0;
	net_forget(g, c->id);
	io_remove_tree(AT_FDCWD, dir, NULL);
	return -1;
}

/* Who shares a network shares the name that goes with it: that of the host, or of the other container. */
static void set_hostname(struct engine *g, struct container *c)
{
	const char *mode = json_str(c->host, "NetworkMode", "");
	autorecord *other = str_starts(mode, "container:") ? table_find(g, mode + strlen("container:"), NULL) : NULL;
	autojson *theirs = other ? record_config(other) : NULL;
	char name[65] = "";

	if (*json_str(c->config, "Hostname", ""))
		return;
	if (theirs)
		snprintf(name, sizeof(name), "%s", json_str(theirs, "Hostname", ""));
	else if (strcmp(mode, "host") == 0)
		gethostname(name, sizeof(name) - 1);
	json_object_set_new(c->config, "Hostname", *name ? json_string(name) : json_sprintf("%.12s", c->id));
}

static void set_identity(struct engine *g, struct container *c)
{
	struct timespec now = time_now();

	time_format(&now, c->created);
	c->created_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	if (strcmp(c->isolation, "hyperv") == 0)
		c->vm_uid = free_vm_uid(g, c->id);
	set_hostname(g, c);
}

json_t *engine_container_create(struct engine *g, const char *name, const char *platform, const json_t *body,
				struct err *e)
{
	char id[ENGINE_ID_MAX];
	autojson *warnings = json_array();
	autorecord *c = NULL;

	random_hex(id, 32);
	c = record_new(id);
	if (!json_is_object(body)) {
		err_set(e, ERR_INVALID, 0, "config cannot be empty in order to create a container");
		return NULL;
	}
	if (name && *name && create_check_name(*name == '/' ? name + 1 : name, e) < 0)
		return NULL;
	if (check_platform(platform, e) < 0 || read_body(g, c, body, e) < 0 || body_check_config(c->config, e) < 0 ||
	    !isolation_choose(json_str(c->host, "Isolation", ""), g->isolation, g->client_machine, e) ||
	    resolve_image(g, c, e) < 0 || merge_image(g, c, e) < 0 || body_check_config(c->config, e) < 0 ||
	    choose_isolation(g, c, warnings, e) < 0 ||
	    body_check_host(c->host, strcmp(c->isolation, "hyperv") == 0, warnings, e) < 0 ||
	    namespaces_check(g, c->host, e) < 0 || (windows_is(c->config) && windows_host_check(c->host, e) < 0) ||
	    mounts_resolve(g, c, e) < 0 || check_spec(c, e) < 0 || ports_check(c->host, e) < 0 || check_vm(g, c, e) < 0)
		return NULL;
	set_identity(g, c);
	c->removing = true; /* nobody may touch it until its files and record are there */
	if (take_name(g, c, name, e) < 0)
		return NULL;
	if (make_durable(g, c, body, e) < 0) {
		table_remove(g, c);
		mounts_remove_anonymous(g, c);
		return NULL;
	}
	pthread_mutex_lock(&c->lock);
	c->removing = false;
	pthread_mutex_unlock(&c->lock);
	container_event(g, c, "create", NULL);
	preparer_add(g->preparer, c);
	return json_pack("{s:s, s:O}", "Id", c->id, "Warnings", warnings);
}
