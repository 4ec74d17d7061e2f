/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo-agent: init of the guest. Never exits: what it can't go on from powers the virtual machine off. */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/log.h"

int main(void)
{
	struct agent agent = { .port = -1 };
	struct err e = { 0 };

	if (getpid() != 1) {
		fprintf(stderr, "silo-agent is the init of Silo's virtual machines; it isn't meant to be run.\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	log_init("silo-agent", LOG_LEVEL_INFO);
	if (!agent_boot(&agent, &e))
		agent_serve(&agent, &e);
	log_error("%s", e.msg);
	agent_power_off();
}
