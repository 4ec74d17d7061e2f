/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What buildah says, in the words of Docker's classic builder: clients look for "Step 1/2 :" and "Successfully built". */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "build/internal.h"

#define FAILURE_BYTES_MAX (4 * KIB)

static int say(struct build *x, const char *text)
{
	autojson *line = json_object();
	autostr clean;

	str_init(&clean, 4 * STEP_LINE_MAX);
	str_add_json(&clean, text, strlen(text)); /* bytes that aren't UTF-8 are replaced */
	json_object_set_new(line, "stream", clean.s ? json_loads(clean.s, JSON_DECODE_ANY, NULL) : json_string(""));
	return x->client->progress ? x->client->progress(x->client->arg, line) : 0;
}

/* "STEP 1/2: FROM x", with several stages "[1/2] STEP 1/2: FROM x" */
static char *as_step(const char *text)
{
	const char *s = *text == '[' ? strstr(text, "] STEP ") : NULL;
	const char *colon;

	s = s ? s + 2 : text;
	if (!str_starts(s, "STEP "))
		return NULL;
	s += strlen("STEP ");
	colon = strstr(s, ": ");
	return colon ? xasprintf("Step %.*s : %s\n", (int)(colon - s), s, colon + 2) : NULL;
}

/* "--> Using cache ID", "--> ID" */
static char *as_layer(const char *text)
{
	static const char cached[] = "--> Using cache ";

	if (str_starts(text, cached))
		return xasprintf(" ---> Using cache\n ---> %.12s\n", text + sizeof(cached) - 1);
	if (str_starts(text, "--> ") && str_is_hex(text + 4, 11))
		return xasprintf(" ---> %.12s\n", text + 4);
	return NULL;
}

/* What the classic builder hasn't: the end of a stage, the names that Silo gives itself, and the id on a line. */
static bool is_noise(const char *text)
{
	static const char *const starts[] = { "COMMIT",
					      "Successfully tagged ",
					      "Getting image source signatures",
					      "Copying blob ",
					      "Copying config ",
					      "Writing manifest to image ",
					      "Storing signatures" };
	const char *s = *text == '[' && strstr(text, "] COMMIT") ? strstr(text, "] COMMIT") + 2 : text;

	for (size_t i = 0; i < array_len(starts); i++)
		if (str_starts(s, starts[i]))
			return true;
	return strlen(s) == 64 && str_is_hex(s, 64);
}

int steps_line(void *build, const char *text, size_t n)
{
	struct build *x = build;
	autofree char *line = xstrndup(text, n && text[n - 1] == '\n' ? n - 1 : n);
	autofree char *step = as_step(line);
	autofree char *layer = step ? NULL : as_layer(line);
	autofree char *plain = NULL;

	/* The reason of a failure comes last, and isn't part of the log. */
	if (str_starts(line, "Error: ") || str_starts(line, "error building at STEP")) {
		str_fini(&x->failure);
		str_init(&x->failure, FAILURE_BYTES_MAX);
		str_puts(&x->failure, str_starts(line, "Error: ") ? line + strlen("Error: ") : line);
		return 0;
	}
	if (x->o->quiet || is_noise(line))
		return 0;
	plain = step || layer ? NULL : xstrndup(text, n);
	return say(x, step ? step : layer ? layer : plain);
}

/* 'building at STEP "RUN x": while running runtime: exit status 3' in Docker's words; NULL: another failure. */
static char *as_command(const char *text, int *exit_code)
{
	static const char head[] = "building at STEP \"RUN ", tail[] = "\": while running runtime: exit status ";
	const char *s = strstr(text, head), *end = s ? strstr(s, tail) : NULL;

	if (!end)
		return NULL;
	s += sizeof(head) - 1;
	*exit_code = atoi(end + sizeof(tail) - 1);
	return xasprintf("The command '%s%.*s' returned a non-zero code: %d", *s == '[' ? "" : "/bin/sh -c ",
			 (int)(end - s), s, *exit_code);
}

/* Where the context is on this host is of no use to who sent it. */
static char *without(const char *text, const char *path)
{
	const char *at = strstr(text, path);

	return at ? xasprintf("%.*s%s", (int)(at - text), text, at + strlen(path)) : xstrdup(text);
}

int steps_failure(struct build *x, int status, struct err *e)
{
	const char *said = x->failure.len ? x->failure.s : "";
	autofree char *command = as_command(said, &x->exit_code);
	autofree char *text = command ? NULL : without(said, x->context);

	if (!command && !*said)
		return err_set(e, ERR_SYSTEM, 0, "buildah ended with exit code %d", status);
	return err_set(e, ERR_INVALID, 0, "%s", command ? command : text);
}
