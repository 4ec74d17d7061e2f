/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pure part of health checks: what is wanted, and what a result makes of the state. */
#include "engine/health_config.h"

#include <string.h>

#include "base/json.h"
#include "engine/health.h"
#include "windows/process.h"

#define MS 1000000 /* nanoseconds */

static const struct {
	const char *key;
	int64_t default_ms;
} times[] = {
	{ "Interval", 30000 },
	{ "Timeout", 30000 },
	{ "StartPeriod", 0 },
	{ "StartInterval", 5000 },
};

static int64_t time_ms(const json_t *check, size_t i)
{
	int64_t ms = json_int(check, times[i].key, 0) / MS;

	return ms > 0 ? ms : times[i].default_ms;
}

/* The shell that CMD-SHELL means: Config.Shell, or /bin/sh -c, cmd /S /C in Windows. */
static json_t *shell_command(const json_t *config, json_t *line)
{
	const json_t *shell = json_object_get(config, "Shell");
	json_t *cmd = json_array_size(shell) > 0 ? json_copy((json_t *)(uintptr_t)shell)
		      : windows_is(config)         ? json_pack("[s, s, s]", "cmd", "/S", "/C")
						 : json_pack("[s, s]", "/bin/sh", "-c");

	json_array_append(cmd, line);
	return cmd;
}

bool health_config_parse(const json_t *config, struct health_config *out)
{
	const json_t *check = json_object_get(config, "Healthcheck");
	json_t *test = json_object_get(check, "Test"), *first = json_array_get(test, 0);
	const char *kind = json_is_string(first) ? json_string_value(first) : "NONE";

	*out = (struct health_config){ .interval_ms = time_ms(check, 0),
				       .timeout_ms = time_ms(check, 1),
				       .start_period_ms = time_ms(check, 2),
				       .start_interval_ms = time_ms(check, 3),
				       .retries = (int)json_int(check, "Retries", 0) };
	if (out->retries <= 0)
		out->retries = 3;
	if (json_array_size(test) < 2 || strcmp(kind, "NONE") == 0)
		return false;
	if (strcmp(kind, "CMD-SHELL") == 0) {
		out->cmd = shell_command(config, json_array_get(test, 1));
	} else {
		out->cmd = json_copy(test);
		json_array_remove(out->cmd, 0);
	}
	return true;
}

static bool is_given(const json_t *j)
{
	return json_is_array(j) ? json_array_size(j) > 0 : json_is_integer(j) && json_integer_value(j) != 0;
}

json_t *health_merge(const json_t *own, const json_t *image)
{
	static const char *const keys[] = { "Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries" };
	json_t *out;

	if (!json_is_object(own) && !json_is_object(image))
		return NULL;
	out = json_is_object(own) ? json_copy((json_t *)(uintptr_t)own) : json_object();
	for (size_t i = 0; i < array_len(keys); i++) {
		json_t *value = json_object_get(image, keys[i]);

		if (!is_given(json_object_get(out, keys[i])) && is_given(value))
			json_object_set(out, keys[i], value);
	}
	return out;
}

int health_check_config(const json_t *config, struct err *e)
{
	const json_t *check = json_object_get(config, "Healthcheck");
	json_t *test, *first;
	int64_t value;

	if (json_get_strings(check, "Test", &test, e) < 0)
		return -1;
	first = json_array_get(test, 0);
	if (first && strcmp(json_string_value(first), "NONE") && strcmp(json_string_value(first), "CMD") &&
	    strcmp(json_string_value(first), "CMD-SHELL"))
		return err_set(e, ERR_INVALID, 0,
			       "Unknown healthcheck type \"%.64s\" (expected \"CMD\", \"CMD-SHELL\" or "
			       "\"NONE\")",
			       json_string_value(first));
	for (size_t i = 0; i < array_len(times); i++) {
		if (json_get_int(check, times[i].key, 0, &value, e) < 0)
			return -1;
		if (value && value < MS)
			return err_set(e, ERR_INVALID, 0, "%s in Healthcheck cannot be less than 1ms", times[i].key);
	}
	if (json_get_int(check, "Retries", 0, &value, e) < 0)
		return -1;
	return value < 0 ? err_set(e, ERR_INVALID, 0, "Retries in Healthcheck cannot be negative") : 0;
}

const char *health_status(const struct container *c)
{
	return json_str(c->health, "Status", "none");
}

bool health_result(json_t *state, json_t *entry, bool in_start_period, int retries)
{
	const char *old = json_str(state, "Status", "starting"), *now = old;
	int64_t streak = json_int(state, "FailingStreak", 0);
	json_t *log = json_object_get(state, "Log");
	bool changed;

	if (json_int(entry, "ExitCode", -1) == 0) {
		streak = 0;
		now = "healthy";
	} else if (!in_start_period || strcmp(old, "starting") != 0) {
		streak++;
		if (streak >= retries)
			now = "unhealthy";
	}
	json_array_append_new(log, entry);
	while (json_array_size(log) > HEALTH_LOG_MAX)
		json_array_remove(log, 0);
	changed = strcmp(old, now) != 0;
	json_object_set_new(state, "Status", json_string(now));
	json_object_set_new(state, "FailingStreak", json_integer(streak));
	return changed;
}
