/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Log drivers and their options: what a request and daemon.json may say, and what the monitor is told. Both drivers that
 * keep a log keep it in the same form; "local" only has bounds from the start and shows no path.
 */
#ifndef SILO_ENGINE_LOG_CONFIG_H
#define SILO_ENGINE_LOG_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

#define LOG_DRIVER_DEFAULT "json-file"

/* What the options "tag", "labels" and "env" speak of. */
struct log_subject {
	const char *id, *name, *image_id;
	const json_t *config; /* canonical ContainerConfig */
};

/* {"Type", "Config"} of a canonical HostConfig, with Docker's texts. */
int log_config_check(const json_t *log, struct err *e) must_check;
/* "log-driver" and "log-opts" of daemon.json (NULL = none). */
int log_config_check_daemon(const json_t *daemon, struct err *e) must_check;
/* As Docker: without a driver of its own a container has the daemon's, and with the same driver the daemon's options where
 * it has none of its own. asked: the driver of the request, or "". */
void log_config_add_defaults(const json_t *daemon, const char *asked, json_t *host);

/* silo.json's "log" (architecture.md) of a log at path: new, or NULL where nothing is kept. */
json_t *log_config_bundle(const json_t *log, const char *path, const struct log_subject *s);

#endif
