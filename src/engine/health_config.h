/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_ENGINE_HEALTH_CONFIG_H
#define SILO_ENGINE_HEALTH_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define HEALTH_OUTPUT_MAX 4096 /* bytes of a probe's output that are kept */
#define HEALTH_LOG_MAX 5       /* results that are kept */

struct health_config {
	json_t *cmd; /* array of strings; the caller's reference */
	int64_t interval_ms, timeout_ms, start_period_ms, start_interval_ms;
	int retries;
};

/* Config.Healthcheck with Docker's defaults. False: no checks (absent, or NONE). Pure. config is the whole Config. */
bool health_config_parse(const json_t *config, struct health_config *out);

#endif
