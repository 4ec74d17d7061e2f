/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo doctor: which isolation modes work here, and what to install or change for those that don't. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "cmd/doctor_process.h"
#include "cmd/silo.h"

static const char *const status_names[] = {
	[CHECK_OK] = "ok", [CHECK_WARNING] = "warning", [CHECK_MISSING] = "missing"
};

void check_add(json_t *checks, enum check_status status, const char *name, const char *detail, const char *fix)
{
	json_array_append_new(checks, json_pack("{s:s, s:s, s:s, s:s*}", "name", name, "status", status_names[status],
						"detail", detail, "fix", fix));
}

static bool has_missing(const json_t *checks)
{
	const json_t *check;
	size_t i;

	json_array_foreach(checks, i, check)
		if (!strcmp(json_str(check, "status", ""), status_names[CHECK_MISSING]))
			return true;
	return false;
}

static json_t *mode(json_t *checks)
{
	return json_pack("{s:b, s:o}", "available", !has_missing(checks), "checks", checks);
}

/* What template_report() has found, as checks. */
static json_t *hyperv_checks(const json_t *report)
{
	static const struct {
		const char *key, *name;
	} found[] = {
		{ "qemu", "QEMU" }, { "kernel", "guest kernel" }, { "accelerator", "acceleration" }, { "template", "template" }
	};
	json_t *checks = json_array();
	const json_t *one;
	size_t i;

	for (i = 0; i < array_len(found); i++) {
		const char *value = json_str(report, found[i].key, NULL);

		if (value)
			check_add(checks, CHECK_OK, found[i].name,
				  strcmp(value, "tcg") ? value : "none: emulated by QEMU (TCG)", NULL);
		else if (i >= 2)
			check_add(checks, CHECK_OK, found[i].name, "decided when the first template is made", NULL);
	}
	json_array_foreach(json_object_get(report, "problems"), i, one)
		check_add(checks, CHECK_MISSING, "needed", json_str(one, "what", ""), json_str(one, "fix", NULL));
	json_array_foreach(json_object_get(report, "warnings"), i, one)
		check_add(checks, CHECK_WARNING, "note", json_string_value(one), NULL);
	return checks;
}

static void print_mode(const char *name, const json_t *of)
{
	const json_t *check;
	size_t i;

	printf("%s isolation: %s\n", name, json_bool(of, "available", false) ? "works" : "does not work");
	json_array_foreach(json_object_get(of, "checks"), i, check) {
		const char *fix = json_str(check, "fix", NULL);

		printf("  %-8s %-14s %s\n", json_str(check, "status", ""), json_str(check, "name", ""),
		       json_str(check, "detail", ""));
		if (fix)
			printf("  %-8s %-14s -> %s\n", "", "", fix);
	}
}

int cmd_doctor(int argc, char **argv)
{
	struct silo_options o;
	struct template_options t;
	autojson *report = NULL, *all = NULL;
	bool both;

	if (silo_options_parse(argc, argv, &o) < 0)
		return EXIT_USAGE;
	t = silo_template_options(&o);
	report = template_report(&t);
	all = json_pack("{s:o, s:o}", "process", mode(doctor_process_checks()), "hyperv", mode(hyperv_checks(report)));
	/* A VM needs the rights to be jailed, too. */
	if (doctor_privileges_missing())
		json_object_set_new(json_object_get(all, "hyperv"), "available", json_false());
	both = json_bool(json_object_get(all, "process"), "available", false) &&
	       json_bool(json_object_get(all, "hyperv"), "available", false);
	if (o.json) {
		autofree char *text = NULL;

		json_object_set(json_object_get(all, "hyperv"), "report", report);
		text = json_text(all);
		puts(text);
	} else {
		print_mode("process", json_object_get(all, "process"));
		print_mode("hyperv", json_object_get(all, "hyperv"));
	}
	return both ? 0 : 1;
}
