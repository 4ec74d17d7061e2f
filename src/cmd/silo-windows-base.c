/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo-windows-base DIR LIB_DIR [--again]: make the Windows base. Started by silo and by silod; prints one line a step. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "windows/base.h"

static void show(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	bool again = argc == 4 && !strcmp(argv[3], "--again");
	struct err e = { 0 };

	log_init("silo-windows-base", LOG_LEVEL_WARN);
	if (argc != 3 && !again) {
		log_error("usage: silo-windows-base DIR LIB_DIR [--again]");
		return 2;
	}
	if (windows_base_build(argv[1], argv[2], again, show, &e)) {
		log_error("%s", e.msg);
		return 1;
	}
	return 0;
}
