/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo template build | list | rm */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "cmd/silo.h"
#include "isolation/hyperv/template_list.h"

static int template_build(const struct silo_options *o, char **operands)
{
	struct template_options t = silo_template_options(o);
	struct err e = { 0 };
	autofree char *path = template_ensure(&t, &e);

	if (!path) {
		log_error("%s", e.msg);
		return 1;
	}
	puts(path);
	return 0;
}

static int template_list_command(const struct silo_options *o, char **operands)
{
	struct template_options t = silo_template_options(o);
	autojson *list = template_list(&t);
	const json_t *one;
	size_t i;

	if (o->json) {
		autofree char *text = json_text(list);

		puts(text);
		return 0;
	}
	printf("%-26s %-8s %-12s %-24s %s\n", "NAME", "CURRENT", "ACCELERATOR", "KERNEL", "MEMORY");
	json_array_foreach(list, i, one) {
		const char *path = json_str(one, "path", "");
		const char *slash = strrchr(path, '/');

		printf("%-26s %-8s %-12s %-24s %lld MiB\n", slash ? slash + 1 : path,
		       json_bool(one, "current", false) ? "yes" : "no", json_str(one, "accelerator", ""),
		       json_str(one, "kernel", ""), (long long)json_int(one, "memory_mib", 0));
	}
	return 0;
}

static int template_rm(const struct silo_options *o, char **operands)
{
	struct template_options t = silo_template_options(o);
	int code = 0;

	for (; *operands; operands++) {
		struct err e = { 0 };

		if (template_remove(&t, *operands, &e)) {
			log_error("%s", e.msg);
			code = 1;
		}
	}
	return code;
}

static const struct {
	const char *name;
	bool operands; /* at least one */
	int (*run)(const struct silo_options *o, char **operands);
} verbs[] = {
	{ "build", false, template_build },
	{ "list", false, template_list_command },
	{ "ls", false, template_list_command },
	{ "rm", true, template_rm },
};

int cmd_template(int argc, char **argv)
{
	struct silo_options o;
	int first = silo_options_parse(argc, argv, &o);

	if (first < 0)
		return EXIT_USAGE;
	for (size_t i = 0; first < argc && i < array_len(verbs); i++)
		if (!strcmp(argv[first], verbs[i].name) && verbs[i].operands == (first + 1 < argc))
			return verbs[i].run(&o, argv + first + 1);
	log_error("usage: silo template build | list | rm NAME...");
	return EXIT_USAGE;
}
