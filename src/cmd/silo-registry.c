/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Speaks to one registry for silod, without privileges: see registry/wire.h. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/msg.h"
#include "registry/serve.h"
#include "registry/wire.h"

int main(int argc, char **argv)
{
	struct err e = { 0 };

	log_init("silo-registry", LOG_LEVEL_WARN);
	signal(SIGPIPE, SIG_IGN);
	if (syscall(SYS_close_range, REGISTRY_CONTROL_FD + 1, ~0U, 0) && errno != ENOSYS)
		return 2;
	if (!registry_serve(&e))
		return 0;
	autojson *message = msg_error(&e);

	/* silod reads it instead of the first answer. */
	return msg_send(REGISTRY_CONTROL_FD, message, NULL, 0, &e) ? 2 : 1;
}
