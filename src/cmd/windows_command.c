/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo windows-base build: the base that Windows containers run on, made before the first one wants it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "cmd/silo.h"

int cmd_windows_base(int argc, char **argv)
{
	struct silo_options o;
	int first = silo_options_parse(argc, argv, &o);

	if (first < 0 || argc - first != 1 || strcmp(argv[first], "build") != 0) {
		log_error("usage: silo windows-base build");
		return EXIT_USAGE;
	}
	autofree char *program = xasprintf("%s/silo-windows-base", o.lib_dir);
	autofree char *dir = xasprintf("%s/windows", o.vm_dir);

	execl(program, "silo-windows-base", dir, o.lib_dir, NULL);
	log_error("%s: %s", program, strerror(errno));
	return 1;
}
