/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo network-cleanup: what an engine that is gone for good has left of bridges and packet filter rules. One that ends in
 * order and without containers leaves nothing; this is for one that was killed, and for the removal of the package.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/daemon.h"
#include "base/db.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "cmd/silo.h"
#include "network/firewall.h"
#include "os/netlink.h"

#define ENGINE_ID_LENGTH 36

struct cleanup {
	int lock, netlink;
	struct db *db;
};

/* Ports of bridges whose containers still run: their devices are there. */
static int refuse_running(struct cleanup *c, struct err *e)
{
	autojson *rows = db_rows(c->db, e, "SELECT container, doc FROM endpoints", "");
	json_t *row, *endpoint;
	size_t i, k;

	json_array_foreach(rows, i, row) {
		const char *text = json_str(row, "doc", "");
		autojson *doc = json_parse(text, strlen(text), "endpoints", e);

		json_array_foreach(json_object_get(doc, "endpoints"), k, endpoint) {
			if (link_index(c->netlink, json_str(endpoint, "port", ""), NULL) >= 0)
				return err_set(e, ERR_CONFLICT, 0,
					       "container %.12s still runs: start the engine and stop it there",
					       json_str(row, "container", ""));
		}
	}
	return rows ? 0 : -1;
}

static int remove_bridges(struct cleanup *c, struct err *e)
{
	autojson *rows = db_rows(c->db, e, "SELECT name, doc FROM networks", "");
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *text = json_str(row, "doc", "");
		autojson *doc = json_parse(text, strlen(text), "network", e);
		const char *bridge = json_str(doc, "bridge", "");

		if (!*bridge || link_index(c->netlink, bridge, NULL) < 0)
			continue;
		if (link_delete(c->netlink, bridge, e) < 0)
			return err_prefix(e, "network %s", json_str(row, "name", ""));
		printf("removed bridge %s\n", bridge);
	}
	return rows ? 0 : -1;
}

static int remove_rules(const char *root, struct err *e)
{
	autofree char *path = xasprintf("%s/engine-id", root);
	struct firewall *f;
	autostr id, text;
	int rc;

	str_init(&id, 256);
	str_init(&text, FIREWALL_TEXT_MAX);
	if (io_read_file(AT_FDCWD, path, &id, e) < 0)
		return -1;
	if (id.len < ENGINE_ID_LENGTH)
		return err_set(e, ERR_SYSTEM, 0, "%s is damaged", path);
	f = firewall_new_for(root, id.s);
	fw_remove(f, &text);
	rc = firewall_apply(f, &text, e);
	firewall_free(f);
	return rc;
}

static int clean(struct cleanup *c, const char *root, struct err *e)
{
	autofree char *path = xasprintf("%s/state.db", root);

	if (access(path, F_OK) < 0)
		return err_set(e, ERR_NOT_FOUND, 0, "there is no engine's state in %s", root);
	c->lock = daemon_lock(root, e);
	c->netlink = c->lock < 0 ? -1 : netlink_open(e);
	c->db = c->netlink < 0 ? NULL : db_open(path, e);
	if (!c->db || refuse_running(c, e) < 0 || remove_bridges(c, e) < 0)
		return -1;
	return remove_rules(root, e);
}

int cmd_network_cleanup(int argc, char **argv)
{
	struct cleanup c = { .lock = -1, .netlink = -1 };
	struct silo_options o;
	struct err e = { 0 };
	int first = silo_options_parse(argc, argv, &o), rc;

	if (first < 0 || argc != first) {
		log_error("usage: silo network-cleanup [--root DIR]");
		return EXIT_USAGE;
	}
	rc = clean(&c, o.root, &e);
	if (rc < 0)
		log_error("%s", e.msg);
	db_close(c.db);
	close_fd(&c.netlink);
	close_fd(&c.lock);
	return rc < 0;
}
