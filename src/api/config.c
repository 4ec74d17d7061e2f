/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define CONFIG_BYTES_MAX (1 * MIB)
#define DEFAULT_CONFIG "/etc/silo/daemon.json"

enum option_type { OPTION_BOOL, OPTION_STRING, OPTION_HOSTS };

/* A key that isn't here is refused: better than one that is silently without effect. */
static const struct option {
	const char *flag, *key;
	enum option_type type;
	size_t offset;
	const char *argument, *help;
} options[] = {
	{ "--root", "data-root", OPTION_STRING, offsetof(struct config, root), "DIR",
	  "persistent state (default /var/lib/silo)" },
	{ "--exec-root", "exec-root", OPTION_STRING, offsetof(struct config, exec_root), "DIR",
	  "run-time state (default /run/silo)" },
	{ "--host", "hosts", OPTION_HOSTS, 0, "unix://PATH",
	  "socket to listen on, may be repeated (default EXEC_ROOT/silo.sock)" },
	{ "--config-file", NULL, OPTION_STRING, offsetof(struct config, config_path), "FILE",
	  "configuration (default " DEFAULT_CONFIG ")" },
	{ "--isolation", "isolation", OPTION_STRING, offsetof(struct config, isolation), "MODE",
	  "default isolation of containers: process, hyperv or prefer-process (default: by kind of host)" },
	{ "--vm-dir", "vm-dir", OPTION_STRING, offsetof(struct config, vm_dir), "DIR",
	  "guest kernel, initramfs, templates (default ROOT/vm)" },
	{ "--log-level", "log-level", OPTION_STRING, offsetof(struct config, log_level), "LEVEL",
	  "debug, info, warn or error (default info)" },
	{ "--debug", "debug", OPTION_BOOL, offsetof(struct config, debug), NULL, "same as --log-level debug" },
	{ "--version", NULL, OPTION_BOOL, offsetof(struct config, version), NULL, "print the version" },
	{ "--help", NULL, OPTION_BOOL, offsetof(struct config, help), NULL, "print this help" },
	{ NULL, "guest-kernel", OPTION_STRING, offsetof(struct config, guest_kernel), NULL, NULL },
	{ NULL, "vm-standby", OPTION_BOOL, offsetof(struct config, vm_standby), NULL, NULL },
};

/* Keys that the engine reads by itself, and checks: engine/net_defaults.c, registry/settings.c. */
static const char *const engine_keys[] = { "bip",           "default-address-pools", "dns",    "dns-opts", "dns-search",
					   "fixed-cidr",    "fixed-cidr-v6",         "icc",    "ip",       "ip-forward",
					   "ip-masq",       "ip6tables",             "ipv6",   "iptables", "mtu",
					   "userland-proxy", "windows-base-names", "windows-host-version", "default-ulimits", "vm-memory", "vm-cpus", "log-driver", "log-opts",
					   "insecure-registries",  "registry-mirrors",  "max-concurrent-downloads",
					   "max-concurrent-uploads",  "max-download-attempts" };

static const char *const log_levels[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug"
};

/* --- one value ------------------------------------------------------------------------------------------------- */
static int add_host(struct config *c, const char *host, struct err *e)
{
	if (!str_starts(host, "unix://") && !str_starts(host, "fd://"))
		return err_set(
			e, ERR_UNSUPPORTED, 0,
			"host \"%s\": only unix://PATH and fd:// are served; to reach the engine from elsewhere use "
			"docker -H ssh://HOST",
			host);
	if (c->n_hosts == array_len(c->hosts))
		return err_set(e, ERR_LIMIT, 0, "more than %zu hosts", array_len(c->hosts));
	c->hosts[c->n_hosts++] = xstrdup(host);
	return 0;
}

static int set_string(struct config *c, const struct option *o, const char *name, const char *value, bool replace,
		      struct err *e)
{
	char **member = (char **)((char *)c + o->offset);

	if (!*value)
		return err_set(e, ERR_INVALID, 0, "%s: the value is empty", name);
	if (*member && !replace)
		return 0;
	free(*member);
	*member = xstrdup(value);
	return 0;
}

/* --- command line ---------------------------------------------------------------------------------------------- */
static const struct option *find_flag(const char *arg)
{
	size_t n = strcspn(arg, "=");

	if (strncmp(arg, "-H", n) == 0 && n == 2)
		return find_flag("--host");
	for (size_t i = 0; i < array_len(options); i++)
		if (options[i].flag && strlen(options[i].flag) == n && strncmp(options[i].flag, arg, n) == 0)
			return &options[i];
	return NULL;
}

static int set_flag(struct config *c, const struct option *o, const char *value, struct err *e)
{
	if (o->type == OPTION_HOSTS)
		return add_host(c, value, e);
	return set_string(c, o, o->flag, value, true, e);
}

int config_parse_args(struct config *c, int argc, char **argv, struct err *e)
{
	for (int i = 1; i < argc; i++) {
		const struct option *o = find_flag(argv[i]);
		const char *value = strchr(argv[i], '=');

		if (!o)
			return err_set(e, ERR_INVALID, 0, "unknown %s: %s", argv[i][0] == '-' ? "flag" : "argument",
				       argv[i]);
		if (o->type == OPTION_BOOL) {
			*(bool *)((char *)c + o->offset) = !value || strcmp(value, "=false") != 0;
			continue;
		}
		if (!value && i + 1 == argc)
			return err_set(e, ERR_INVALID, 0, "flag needs an argument: %s", o->flag);
		if (set_flag(c, o, value ? value + 1 : argv[++i], e) < 0)
			return -1;
	}
	return 0;
}

/* --- daemon.json ----------------------------------------------------------------------------------------------- */
static int set_key(struct config *c, const struct option *o, const json_t *file, bool hosts_given, struct err *e)
{
	const char *text;
	bool *flag = (bool *)((char *)c + o->offset), value;
	json_t *list, *item;
	size_t i;

	switch (o->type) {
	case OPTION_BOOL:
		if (json_get_bool(file, o->key, false, &value, e) < 0)
			return -1;
		*flag = *flag || value;
		return 0;
	case OPTION_STRING:
		if (json_get_str(file, o->key, NULL, &text, e) < 0)
			return -1;
		return text ? set_string(c, o, o->key, text, false, e) : 0;
	case OPTION_HOSTS:
		if (json_get_strings(file, o->key, &list, e) < 0)
			return -1;
		json_array_foreach(list, i, item) {
			if (!hosts_given && add_host(c, json_string_value(item), e) < 0)
				return -1;
		}
		return 0;
	}
	return 0;
}

static bool is_engine_key(const char *key)
{
	for (size_t i = 0; i < array_len(engine_keys); i++)
		if (strcmp(key, engine_keys[i]) == 0)
			return true;
	return false;
}

int config_parse_keys(struct config *c, const json_t *file, struct err *e)
{
	bool hosts_given = c->n_hosts > 0;
	const json_t *value;
	const char *key;

	if (!json_is_object(file))
		return err_set(e, ERR_INVALID, 0, "not an object");
	json_object_foreach((json_t *)file, key, value) {
		size_t i = 0;

		while (i < array_len(options) && (!options[i].key || strcmp(options[i].key, key) != 0))
			i++;
		if (i == array_len(options) && is_engine_key(key))
			continue;
		if (i == array_len(options))
			return err_set(e, ERR_INVALID, 0, "unknown key \"%s\"", key);
		if (set_key(c, &options[i], file, hosts_given, e) < 0)
			return -1;
	}
	return 0;
}

static int read_file(struct config *c, struct err *e)
{
	const char *path = c->config_path ? c->config_path : DEFAULT_CONFIG;

	c->file = json_parse_file(AT_FDCWD, path, CONFIG_BYTES_MAX, e);
	if (!c->file) {
		if (e->kind != ERR_NOT_FOUND || c->config_path)
			return -1;
		*e = (struct err){ 0 };
		return 0; /* the default file needn't exist */
	}
	return config_parse_keys(c, c->file, e) < 0 ? err_prefix(e, "%s", path) : 0;
}

/* --- the whole ------------------------------------------------------------------------------------------------- */
static int check(const struct config *c, struct err *e)
{
	const char *const absolute[] = { c->root, c->exec_root, c->vm_dir };
	bool known = !c->log_level;

	for (size_t i = 0; i < array_len(absolute); i++)
		if (absolute[i] && absolute[i][0] != '/')
			return err_set(e, ERR_INVALID, 0, "directory \"%s\" is not an absolute path", absolute[i]);
	if (c->isolation && strcmp(c->isolation, "process") != 0 && strcmp(c->isolation, "hyperv") != 0 &&
	    strcmp(c->isolation, "prefer-process") != 0)
		return err_set(e, ERR_INVALID, 0,
			       "invalid isolation: \"%s\": it is process or hyperv (or prefer-process)", c->isolation);
	for (size_t i = 0; i < array_len(log_levels) && !known; i++)
		known = strcmp(c->log_level, log_levels[i]) == 0;
	return known ? 0 : err_set(e, ERR_INVALID, 0, "invalid log level: \"%s\"", c->log_level);
}

static void fill_defaults(struct config *c)
{
	if (!c->root)
		c->root = xstrdup("/var/lib/silo");
	if (!c->exec_root)
		c->exec_root = xstrdup("/run/silo");
	if (!c->vm_dir)
		c->vm_dir = xasprintf("%s/vm", c->root);
}

int config_load(struct config *c, int argc, char **argv, struct err *e)
{
	memset(c, 0, sizeof(*c));
	if (config_parse_args(c, argc, argv, e) < 0)
		return -1;
	if (c->help || c->version)
		return 0;
	if (read_file(c, e) < 0 || check(c, e) < 0)
		return -1;
	fill_defaults(c);
	return 0;
}

void config_fini(struct config *c)
{
	for (size_t i = 0; i < c->n_hosts; i++)
		free(c->hosts[i]);
	for (size_t i = 0; i < array_len(options); i++)
		if (options[i].type == OPTION_STRING)
			free(*(char **)((char *)c + options[i].offset));
	json_decref(c->file);
	memset(c, 0, sizeof(*c));
}

enum log_level config_log_level(const struct config *c)
{
	if (c->debug)
		return LOG_LEVEL_DEBUG;
	for (size_t i = 0; c->log_level && i < array_len(log_levels); i++)
		if (strcmp(c->log_level, log_levels[i]) == 0)
			return (enum log_level)i;
	return LOG_LEVEL_INFO;
}

void config_print_help(FILE *to)
{
	fprintf(to, "usage: silod [options]\n\nThe engine of Silo: serves the Docker Engine API.\n\n");
	for (size_t i = 0; i < array_len(options); i++) {
		const struct option *o = &options[i];

		if (o->flag)
			fprintf(to, "  %-14s %-12s %s\n", o->flag, o->argument ? o->argument : "", o->help);
	}
}
