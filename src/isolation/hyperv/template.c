/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/facts.h"
#include "isolation/hyperv/host.h"
#include "isolation/hyperv/template_boot.h"
#include "isolation/hyperv/template_list.h"
#include "isolation/hyperv/tree.h"

#define TEMPLATE_PREFIX "template-"
#define BUILD_PREFIX ".build-" /* half-made; belongs to the holder of the lock */
#define STALE_SECONDS 600      /* a template that doesn't fit any more is removed when it is older than this */

static int64_t memory_of(const struct template_options *o)
{
	return o->memory_mib ? o->memory_mib : TEMPLATE_MEMORY_MIB;
}

static int64_t cpus_of(const struct template_options *o)
{
	return o->cpus ? o->cpus : TEMPLATE_CPUS;
}

/* Is it a machine of the size that is asked for? */
static bool has_size(const char *dir, const struct template_options *o)
{
	struct vm_facts f;
	bool same;

	if (facts_load(dir, &f, &(struct err){ 0 }))
		return false;
	same = f.memory_mib == memory_of(o) && f.cpus == cpus_of(o);
	facts_fini(&f);
	return same;
}

/* Does the template in this directory fit this host, and is all that it was made of unchanged? */
static bool fits(const char *dir, const struct vm_host *h)
{
	autojson *host = host_facts(h), *sources = host_sources(h, NULL);
	struct vm_facts f;
	bool good;

	if (!sources || facts_load(dir, &f, &(struct err){ 0 }))
		return false;
	good = json_equal(host, json_object_get(f.doc, "host")) &&
	       json_equal(sources, json_object_get(f.doc, "sources")) &&
	       host_sources_unchanged(json_object_get(f.doc, "libraries"));
	facts_fini(&f);
	return good;
}

static char *find_fitting(const struct template_options *o, const struct vm_host *h)
{
	DIR *dir = opendir(o->vm_dir);
	struct dirent *d;
	char *found = NULL;

	while (dir && !found && (d = readdir(dir))) {
		autofree char *path = xasprintf("%s/%s", o->vm_dir, d->d_name);

		if (str_starts(d->d_name, TEMPLATE_PREFIX) && has_size(path, o) && fits(path, h))
			found = take_ptr(&path);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* What a killed build has left, and templates that have not fitted for a while. Called with the lock held. */
static void sweep(const char *vm_dir, const struct vm_host *h)
{
	DIR *dir = opendir(vm_dir);
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		autofree char *path = xasprintf("%s/%s", vm_dir, d->d_name);
		struct stat st;
		bool old = !stat(path, &st) && time_now().tv_sec - st.st_mtime > STALE_SECONDS;

		if (str_starts(d->d_name, BUILD_PREFIX) ||
		    (str_starts(d->d_name, TEMPLATE_PREFIX) && old && !fits(path, h)))
			io_remove_tree(AT_FDCWD, path, &(struct err){ 0 });
	}
	if (dir)
		closedir(dir);
}

/* Name of the template by what it is made of. */
static char *final_path(const char *vm_dir, const json_t *facts)
{
	autofree char *text = json_text(facts);

	return xasprintf("%s/" TEMPLATE_PREFIX "%016llx", vm_dir, (unsigned long long)host_hash(text));
}

static int publish(const char *build, const char *path, const char *vm_dir, struct err *e)
{
	autoclose int parent = open(vm_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* One of the same name doesn't fit (we have looked), it is in the way. */
	if (io_remove_tree(AT_FDCWD, path, e))
		return -1;
	/* Everything of it is on the disk before its name is: a power cut leaves all or nothing. */
	if (parent < 0 || syncfs(parent))
		return err_set(e, ERR_SYSTEM, errno, "sync %s", vm_dir);
	if (rename(build, path))
		return err_set(e, ERR_SYSTEM, errno, "rename %s", build);
	if (fsync(parent))
		return err_set(e, ERR_SYSTEM, errno, "fsync %s", vm_dir);
	return 0;
}

static int build_in(const char *build, const struct template_options *o, const struct vm_host *h, char **path,
		    struct err *e)
{
	autofree char *root = xasprintf("%s/" TEMPLATE_ROOT_DIR, build);
	autojson *sources = host_sources(h, e);
	json_t *libraries = json_array();
	autojson *facts =
		json_pack("{s:I, s:I, s:i, s:o, s:O?, s:o, s:s, s:s}", "memory_mib", (json_int_t)memory_of(o), "cpus",
			  (json_int_t)cpus_of(o), "layout", TEMPLATE_LAYOUT, "host", host_facts(h), "sources", sources,
			  "libraries", libraries, "kernel", h->kernel.release, "kernel_path", h->kernel.image_path);

	if (!sources || tree_build(root, h, o->lib_dir, libraries, e))
		return -1;
	*path = final_path(o->vm_dir, facts);
	return template_boot(build, o->vm_dir, h, facts, e);
}

static char *build(const struct template_options *o, const struct vm_host *h, struct err *e)
{
	autofree char *dir = xasprintf("%s/" BUILD_PREFIX "XXXXXX", o->vm_dir), *path = NULL;

	sweep(o->vm_dir, h);
	if (!mkdtemp(dir)) {
		err_set(e, ERR_SYSTEM, errno, "create %s", dir);
		return NULL;
	}
	if (build_in(dir, o, h, &path, e) || publish(dir, path, o->vm_dir, e)) {
		io_remove_tree(AT_FDCWD, dir, &(struct err){ 0 });
		return NULL;
	}
	return take_ptr(&path);
}

int template_lock(const char *vm_dir, struct err *e)
{
	autofree char *path = xasprintf("%s/template.lock", vm_dir);
	autoclose int lock = -1;

	if (io_mkdir_all(vm_dir, 0700, e))
		return -1;
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", path);
	while (flock(lock, LOCK_EX))
		if (errno != EINTR)
			return err_set(e, ERR_SYSTEM, errno, "lock %s", path);
	return take_fd(&lock);
}

char *template_ensure(const struct template_options *o, struct err *e)
{
	autoclose int lock = -1;
	struct vm_host h;
	char *path;

	if (host_find(o, &h, e)) {
		err_prefix(e, "hyperv isolation isn't available");
		return NULL;
	}
	path = find_fitting(o, &h);
	if (!path && (lock = template_lock(o->vm_dir, e)) >= 0) {
		path = find_fitting(o, &h); /* made by somebody else while we waited */
		if (!path) {
			path = build(o, &h, e);
			if (!path && e->kind != ERR_UNAVAILABLE)
				e->kind = ERR_UNAVAILABLE;
		}
	}
	if (!path)
		err_prefix(e, "hyperv isolation isn't available");
	host_fini(&h);
	return path;
}

char *template_find(const struct template_options *o)
{
	struct vm_host h;
	char *path;

	if (host_find(o, &h, &(struct err){ 0 }))
		return NULL;
	path = find_fitting(o, &h);
	host_fini(&h);
	return path;
}

/* ---- list, remove ---- */

json_t *template_list(const struct template_options *o)
{
	autofree char *current = template_find(o);
	DIR *dir = opendir(o->vm_dir);
	json_t *list = json_array();
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		autofree char *path = xasprintf("%s/%s", o->vm_dir, d->d_name);
		autofree char *facts_path = xasprintf("%s/" TEMPLATE_FACTS_FILE, path);
		json_t *facts;

		if (!str_starts(d->d_name, TEMPLATE_PREFIX))
			continue;
		/* Those of other versions, too: they can be removed. */
		facts = json_parse_file(AT_FDCWD, facts_path, FACTS_BYTES_MAX, NULL);
		if (!json_is_object(facts))
			continue;
		json_object_set_new(facts, "path", json_string(path));
		json_object_set_new(facts, "current", json_boolean(current && !strcmp(current, path)));
		json_array_append_new(list, facts);
	}
	if (dir)
		closedir(dir);
	return list;
}

int template_remove(const struct template_options *o, const char *name, struct err *e)
{
	const char *key = str_starts(name, TEMPLATE_PREFIX) ? name + strlen(TEMPLATE_PREFIX) : name;
	autofree char *path = xasprintf("%s/" TEMPLATE_PREFIX "%s", o->vm_dir, key);
	autofree char *aside = xasprintf("%s/" BUILD_PREFIX "%s", o->vm_dir, key);
	autoclose int lock = -1;

	if (strlen(key) != 16 || !str_is_hex(key, 16))
		return err_set(e, ERR_INVALID, 0, "%s is not the name of a template", name);
	lock = template_lock(o->vm_dir, e);
	if (lock < 0)
		return -1;
	if (rename(path, aside))
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, errno, "template %s", name);
	return io_remove_tree(AT_FDCWD, aside, e);
}
