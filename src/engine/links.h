/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * --link: a container of the default bridge finds another one by names in /etc/hosts and by variables, and reaches its
 * exposed ports where icc is off. In user-defined networks a link is one more name (net_names.c), and this isn't asked.
 */
#ifndef SILO_ENGINE_LINKS_H
#define SILO_ENGINE_LINKS_H

#include "engine/networking.h"

/* "name:alias", "name", "/name:/parent/alias" in two parts (heap). ERR_INVALID with Docker's texts. Pure. */
int link_parse(const char *text, char **name, char **alias, struct err *e) must_check;

/* Are they all of that form? Pure. */
int links_are_valid(const json_t *list, struct err *e) must_check;

/* The variables of one link. name: "/web/db"; config: of the linked container. New array of "KEY=value". Pure. */
json_t *link_variables(const char *name, const char *address, const json_t *config) must_check;

/* HostConfig.Links of a request: into b (default bridge), or into the EndpointSettings of b->config. lock held */
int links_create(struct networking *w, struct net_box *b, struct container *c, struct err *e) must_check;
/* Do the linked containers run? lock held */
int links_check(struct networking *w, const struct net_box *b, struct container *c, struct err *e) must_check;
/* Lines of /etc/hosts: new array. lock held */
json_t *links_hosts(struct networking *w, const struct net_box *b) must_check;
/* What b may reach by them, where its network is closed. lock held */
void links_filter(struct networking *w, const struct net_box *b, enum fw_verb verb, struct str *out);
/* Find out anew what links_filter() says; the filter's own state isn't touched. lock held */
void links_compute(struct networking *w, struct net_box *b);
/* The container of b runs, with other addresses than before: those that link to it follow. Returns what is to be told to
 * virtual machines, for links_tell(): new. lock held */
json_t *links_child_started(struct networking *w, const struct net_box *b) must_check;
/* No lock held: a guest may take its time. */
void links_tell(struct engine *g, const json_t *machines);

/* Variables for all processes of c; HostConfig.Links as inspect shows it (NULL = none): new arrays. */
json_t *links_env(struct engine *g, struct container *c) must_check;
json_t *links_shown(struct engine *g, struct container *c) must_check;

#endif
