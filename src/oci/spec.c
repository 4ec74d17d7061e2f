/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oci/spec.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>

#include "base/json.h"
#include "base/own.h"
#include "oci/reader.h"
#include "os/ns.h"

static int parse_mount(const json_t *j, void *arg, struct err *e)
{
	struct oci_spec *s = arg;
	struct oci_mount *m = &s->mounts[s->n_mounts++];

	if (json_get_str(j, "destination", "", &m->destination, e) || json_get_str(j, "type", NULL, &m->type, e) ||
	    json_get_str(j, "source", NULL, &m->source, e) || json_get_str(j, "subpath", NULL, &m->subpath, e) ||
	    json_get_str(j, "namespace", NULL, &m->mount_ns, e) ||
	    json_get_str(j, "host_namespace", NULL, &m->host_ns, e) ||
	    read_strings(j, "options", &m->options, &m->n_options, e))
		return -1;
	if (m->destination[0] != '/')
		return err_set(e, ERR_INVALID, 0, "destination: \"%s\" is not an absolute path", m->destination);
	return oci_id_maps_parse(j, "uidMappings", "gidMappings", &m->maps, e);
}

static int parse_namespace(const json_t *j, void *arg, struct err *e)
{
	struct oci_spec *s = arg;
	struct oci_namespace *n = &s->namespaces[s->n_namespaces];
	const char *type;

	if (json_get_str(j, "type", "", &type, e) || json_get_str(j, "path", NULL, &n->path, e))
		return -1;
	if (n->path && !*n->path)
		n->path = NULL;
	n->flag = ns_flag(type);
	if (!n->flag)
		return err_set(e, ERR_INVALID, 0, "type: unknown namespace \"%s\"", type);
	if (oci_spec_namespace(s, n->flag))
		return err_set(e, ERR_INVALID, 0, "type: \"%s\" is given twice", type);
	s->n_namespaces++;
	return 0;
}

static int parse_device(const json_t *j, void *arg, struct err *e)
{
	struct oci_spec *s = arg;
	struct oci_device *d = &s->devices[s->n_devices++];
	int64_t major, minor, mode, uid, gid;
	const char *type;

	if (json_get_str(j, "path", "", &d->path, e) || json_get_str(j, "type", "", &type, e) ||
	    read_int(j, "major", 0, 0, 0xfff, &major, e) || read_int(j, "minor", 0, 0, 0xfffff, &minor, e) ||
	    read_int(j, "fileMode", 0666, 0, 0177777, &mode, e) || read_int(j, "uid", 0, 0, UINT32_MAX - 1, &uid, e) ||
	    read_int(j, "gid", 0, 0, UINT32_MAX - 1, &gid, e))
		return -1;
	if (strlen(type) != 1 || !strchr("cbup", *type))
		return err_set(e, ERR_INVALID, 0, "type: \"%s\"", type);
	if (d->path[0] != '/')
		return err_set(e, ERR_INVALID, 0, "path: \"%s\" is not an absolute path", d->path);
	d->type = *type == 'u' ? 'c' : *type;
	d->major = (unsigned)major;
	d->minor = (unsigned)minor;
	d->mode = (mode_t)mode & 07777;
	d->uid = (uid_t)uid;
	d->gid = (gid_t)gid;
	return 0;
}

static int parse_sysctls(const json_t *linux_obj, struct oci_spec *s, struct err *e)
{
	const char *key;
	json_t *map, *value;

	if (json_get_object(linux_obj, "sysctl", &map, e))
		return -1;
	s->sysctls = xcalloc(json_object_size(map) + 1, sizeof(*s->sysctls));
	json_object_foreach(map, key, value) {
		if (!json_is_string(value))
			return err_set(e, ERR_INVALID, 0, "sysctl.%s: a string is expected", key);
		s->sysctls[s->n_sysctls++] = (struct oci_pair){ key, json_string_value(value) };
	}
	return 0;
}

static const struct {
	const char *name;
	uint64_t flag;
} propagations[] = {
	{ "private", MS_PRIVATE | MS_REC }, { "rprivate", MS_PRIVATE | MS_REC },
	{ "slave", MS_SLAVE },              { "rslave", MS_SLAVE | MS_REC },
	{ "shared", MS_SHARED },            { "rshared", MS_SHARED | MS_REC },
	{ "unbindable", MS_UNBINDABLE },    { "runbindable", MS_UNBINDABLE | MS_REC },
};

static int parse_propagation(const json_t *linux_obj, struct oci_spec *s, struct err *e)
{
	const char *name;

	if (json_get_str(linux_obj, "rootfsPropagation", "", &name, e))
		return -1;
	for (size_t i = 0; i < array_len(propagations); i++) {
		if (!strcmp(propagations[i].name, name))
			s->rootfs_propagation = propagations[i].flag;
	}
	return *name && !s->rootfs_propagation ? err_set(e, ERR_INVALID, 0, "rootfsPropagation: \"%s\"", name) : 0;
}

static int parse_linux_lists(const json_t *j, struct oci_spec *s, struct err *e)
{
	s->namespaces = xcalloc(read_count(j, "namespaces") + 1, sizeof(*s->namespaces));
	s->devices = xcalloc(read_count(j, "devices") + 1, sizeof(*s->devices));
	if (read_each(j, "namespaces", parse_namespace, s, e) || read_each(j, "devices", parse_device, s, e) ||
	    read_strings(j, "maskedPaths", &s->masked_paths, &s->n_masked_paths, e) ||
	    read_strings(j, "readonlyPaths", &s->readonly_paths, &s->n_readonly_paths, e))
		return -1;
	return 0;
}

static int parse_time_offset(const json_t *offsets, const char *clock, struct oci_spec *s, struct err *e)
{
	struct oci_time_offset *o = &s->time_offsets[s->n_time_offsets];
	json_t *j;

	if (json_get_object(offsets, clock, &j, e))
		return -1;
	if (!j)
		return 0;
	if (json_get_int(j, "secs", 0, &o->seconds, e) || read_int(j, "nanosecs", 0, 0, 999999999, &o->nanoseconds, e))
		return err_prefix(e, "%s", clock);
	o->clock = clock;
	s->n_time_offsets++;
	return 0;
}

static int parse_time_offsets(const json_t *linux_obj, struct oci_spec *s, struct err *e)
{
	const struct oci_namespace *time_ns = oci_spec_namespace(s, ns_flag("time"));
	json_t *j;

	if (json_get_object(linux_obj, "timeOffsets", &j, e))
		return -1;
	if (parse_time_offset(j, "monotonic", s, e) || parse_time_offset(j, "boottime", s, e))
		return err_prefix(e, "timeOffsets");
	if (s->n_time_offsets && (!time_ns || time_ns->path))
		return err_set(e, ERR_INVALID, 0, "timeOffsets: need a new time namespace");
	return 0;
}

static int parse_personality(const json_t *linux_obj, struct oci_spec *s, struct err *e)
{
	const char *domain;
	json_t *j, *flags;

	if (json_get_object(linux_obj, "personality", &j, e) || json_get_str(j, "domain", "", &domain, e) ||
	    json_get_array(j, "flags", &flags, e))
		return -1;
	if (!j)
		return 0;
	s->has_personality = true;
	s->personality = !strcmp(domain, "LINUX32") ? PER_LINUX32 : PER_LINUX;
	if (strcmp(domain, "LINUX") != 0 && strcmp(domain, "LINUX32") != 0)
		return err_set(e, ERR_INVALID, 0, "personality.domain: \"%s\" is neither LINUX nor LINUX32", domain);
	if (json_array_size(flags))
		return err_set(e, ERR_UNSUPPORTED, 0, "personality.flags: the specification knows none");
	return 0;
}

/* Ids need somebody to be mapped for, and a new user namespace needs them. */
static int check_maps(const struct oci_spec *s, struct err *e)
{
	const struct oci_namespace *user = oci_spec_namespace(s, CLONE_NEWUSER);
	bool has_new = user && !user->path;

	if (has_new && (!s->maps.n_uids || !s->maps.n_gids))
		return err_set(e, ERR_INVALID, 0, "%s: a new user namespace needs it",
			       s->maps.n_uids ? "gidMappings" : "uidMappings");
	if (!user && (s->maps.n_uids || s->maps.n_gids))
		return err_set(e, ERR_INVALID, 0, "uidMappings: there is no user namespace");
	return 0;
}

/* What the kernel or Silo can't do is said, not forgotten. */
static int check_refused(const json_t *linux_obj, struct err *e)
{
	static const struct {
		const char *key, *why;
	} refused[] = {
		{ "intelRdt", "Intel RDT is not supported" },
		{ "memoryPolicy", "is not supported" },
		{ "netDevices", "is not supported" },
	};

	for (size_t i = 0; i < array_len(refused); i++) {
		if (json_member(linux_obj, refused[i].key))
			return err_set(e, ERR_UNSUPPORTED, 0, "%s: %s", refused[i].key, refused[i].why);
	}
	return 0;
}

static int parse_linux_extras(const json_t *j, struct oci_spec *s, struct err *e)
{
	if (check_refused(j, e) || oci_id_maps_parse(j, "uidMappings", "gidMappings", &s->maps, e) ||
	    check_maps(s, e) || parse_time_offsets(j, s, e) || parse_personality(j, s, e))
		return -1;
	return 0;
}

static int parse_linux(const json_t *config, struct oci_spec *s, struct err *e)
{
	json_t *j, *resources;

	if (json_get_object(config, "linux", &j, e))
		return -1;
	if (parse_linux_lists(j, s, e) || parse_sysctls(j, s, e) || parse_propagation(j, s, e) ||
	    parse_linux_extras(j, s, e) || json_get_str(j, "cgroupsPath", NULL, &s->cgroups_path, e) ||
	    json_get_object(j, "resources", &resources, e) || oci_resources_parse(resources, &s->limits, e))
		return err_prefix(e, "linux");
	return 0;
}

static int parse_top(const json_t *config, struct oci_spec *s, struct err *e)
{
	const char *version;
	json_t *root;

	if (json_get_str(config, "ociVersion", "", &version, e))
		return -1;
	if (!str_starts(version, "1."))
		return err_set(e, ERR_INVALID, 0, "ociVersion: \"%s\" is not 1.x", version);
	if (json_get_object(config, "root", &root, e) || json_get_str(root, "path", NULL, &s->root_path, e) ||
	    json_get_bool(root, "readonly", false, &s->root_readonly, e) ||
	    json_get_str(config, "hostname", NULL, &s->hostname, e) ||
	    json_get_str(config, "domainname", NULL, &s->domainname, e))
		return -1;
	s->mounts = xcalloc(read_count(config, "mounts") + 1, sizeof(*s->mounts));
	return read_each(config, "mounts", parse_mount, s, e);
}

struct oci_spec *oci_spec_parse(const json_t *config, struct err *e)
{
	struct oci_spec *s = xcalloc(1, sizeof(*s));
	json_t *process = NULL;
	bool bad = parse_top(config, s, e) || parse_linux(config, s, e) ||
		   json_get_object(config, "process", &process, e) ||
		   (process && oci_process_parse(process, &s->process, e));

	s->has_process = process;
	if (!bad)
		return s;
	oci_spec_free(s);
	return NULL;
}

void oci_spec_free(struct oci_spec *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_mounts; i++) {
		free(s->mounts[i].options);
		oci_id_maps_fini(&s->mounts[i].maps);
	}
	oci_id_maps_fini(&s->maps);
	oci_process_fini(&s->process);
	free(s->mounts);
	free(s->namespaces);
	free(s->devices);
	free(s->sysctls);
	free(s->masked_paths);
	free(s->readonly_paths);
	free(s);
}

const struct oci_namespace *oci_spec_namespace(const struct oci_spec *s, uint64_t flag)
{
	for (size_t i = 0; i < s->n_namespaces; i++) {
		if (s->namespaces[i].flag == flag)
			return &s->namespaces[i];
	}
	return NULL;
}
