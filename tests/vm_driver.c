/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vm-driver VM_DIR LIB_DIR [clone|cold] [ROUNDS [SECONDS]] - makes sure of the template, then starts that many VMs one
 * after the other and prints a JSON line for each: milliseconds to a VM that runs (clone), or until its agent has
 * spoken (cold), and after SECONDS of idleness its memory in KB. For script/bench and for trying things out.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "isolation/hyperv/template.h"
#include "isolation/hyperv/vm.h"

#define DRIVER_UID 1936288877u

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static long smaps_kb(pid_t pid, const char *key)
{
	autofree char *path = xasprintf("/proc/%d/smaps_rollup", (int)pid);
	autostr text;
	const char *line;

	str_init(&text, 64 * KIB);
	if (io_read_file(-1, path, &text, NULL))
		return -1;
	line = strstr(text.s, key);
	return line ? atol(line + strlen(key)) : -1;
}

/* Wait for the first byte of the agent (cold), or that long (clone). */
static int wait_on(struct vm *v, int timeout_ms)
{
	struct pollfd fds[] = { { .fd = vm_channel(v), .events = POLLIN }, { .fd = vm_pidfd(v), .events = POLLIN } };

	poll(fds, 2, timeout_ms);
	return fds[1].revents ? -1 : 0;
}

static int run(const char *template_dir, bool cold, int idle_ms)
{
	struct vm_options o = { .id = "driver", .template_dir = template_dir, .uid = DRIVER_UID, .cold = cold };
	double start = now_ms(), running;
	struct err e = { 0 };
	struct vm *v = vm_clone(&o, &e);

	if (!v || (cold && wait_on(v, 120000))) {
		log_error("%s %s", e.msg, v ? vm_last_words(v) : "");
		vm_free(v);
		return -1;
	}
	running = now_ms();
	if (wait_on(v, idle_ms)) {
		log_error("VM has ended: %s", vm_last_words(v));
		vm_free(v);
		return -1;
	}
	printf("{\"mode\": \"%s\", \"ms\": %.1f, \"pid\": %d, \"pss_kb\": %ld, \"anonymous_kb\": %ld, \"rss_kb\": "
	       "%ld}\n",
	       cold ? "cold" : "clone", running - start, (int)vm_pid(v), smaps_kb(vm_pid(v), "Pss:"),
	       smaps_kb(vm_pid(v), "Anonymous:"), smaps_kb(vm_pid(v), "Rss:"));
	fflush(stdout);
	vm_free(v);
	return 0;
}

int main(int argc, char **argv)
{
	struct template_options o = { .vm_dir = argc > 1 ? argv[1] : NULL, .lib_dir = argc > 2 ? argv[2] : NULL };
	bool cold = argc > 3 && !strcmp(argv[3], "cold");
	int rounds = argc > 4 ? atoi(argv[4]) : 1, idle_ms = argc > 5 ? (int)(atof(argv[5]) * 1e3) : 0;
	autofree char *template_dir = NULL;
	struct err e = { 0 };
	double start = now_ms();

	log_init("vm-driver", getenv("SILO_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (argc < 3) {
		fprintf(stderr, "usage: vm-driver VM_DIR LIB_DIR [clone|cold] [ROUNDS [SECONDS]]\n");
		return 2;
	}
	template_dir = template_ensure(&o, &e);
	if (!template_dir) {
		log_error("%s", e.msg);
		return 1;
	}
	printf("{\"template\": \"%s\", \"ms\": %.1f}\n", template_dir, now_ms() - start);
	for (int i = 0; i < rounds; i++)
		if (run(template_dir, cold, idle_ms))
			return 1;
	return 0;
}
