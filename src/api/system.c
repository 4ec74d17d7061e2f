/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine as a whole, and what it refuses. */
#include <string.h>
#include <sys/utsname.h>

#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"

int api_ping(struct request *r, struct err *e)
{
	reply_text(r, 200, "text/plain; charset=utf-8", "OK");
	reply_header(r, "Builder-Version", "1");
	reply_header(r, "Swarm", "inactive");
	reply_header(r, "Cache-Control", "no-cache, no-store, must-revalidate");
	reply_header(r, "Pragma", "no-cache");
	return 0;
}

/* uname's word to Go's. */
static const char *go_arch(const char *machine)
{
	static const struct {
		const char *machine, *arch;
	} names[] = {
		{ "x86_64", "amd64" }, { "aarch64", "arm64" }, { "i686", "386" },         { "armv7l", "arm" },
		{ "riscv64", "riscv64" }, { "ppc64le", "ppc64le" }, { "s390x", "s390x" },
	};

	for (size_t i = 0; i < array_len(names); i++)
		if (strcmp(names[i].machine, machine) == 0)
			return names[i].arch;
	return machine;
}

int api_version(struct request *r, struct err *e)
{
	struct utsname u;
	const char *arch;

	uname(&u);
	arch = go_arch(u.machine);
	return reply_json(
		r, 200,
		json_pack("{s:{s:s}, s:[{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s}}], s:s, s:s, s:s, s:s, s:s, "
			  "s:s, s:s, s:s}",
			  "Platform", "Name", "Silo", "Components", "Name", "Engine", "Version", SILO_VERSION,
			  "Details", "ApiVersion", API_VERSION_MAX, "MinAPIVersion", API_VERSION_MIN, "Os", "linux",
			  "Arch", arch, "KernelVersion", u.release, "Experimental", "false", "Version", SILO_VERSION,
			  "ApiVersion", API_VERSION_MAX, "MinAPIVersion", API_VERSION_MIN, "Os", "linux", "Arch", arch,
			  "KernelVersion", u.release, "GitCommit", "", "GoVersion", ""));
}

int api_info(struct request *r, struct err *e)
{
	return reply_json(r, 200, engine_info(r->engine, e));
}

int api_disk_usage(struct request *r, struct err *e)
{
	return reply_json(r, 200, engine_disk_usage(r->engine, e));
}

int api_empty_list(struct request *r, struct err *e)
{
	return reply_json(r, 200, json_array());
}

int api_refuse_404(struct request *r, struct err *e)
{
	return reply_error(r, 404, r->route->text);
}

int api_refuse_501(struct request *r, struct err *e)
{
	return reply_error(r, 501, r->route->text);
}

int api_refuse_swarm(struct request *r, struct err *e)
{
	return reply_error(r, 503,
			   "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to "
			   "connect this node to swarm and try again.");
}
