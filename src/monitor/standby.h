/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A monitor that waits for its bundle, with a virtual machine at hand (isolation.h). */
#ifndef SILO_MONITOR_STANDBY_H
#define SILO_MONITOR_STANDBY_H

#include "isolation/isolation.h"
#include "monitor/monitor.h"

/**
 * monitor_standby - start the VM, tell silod `{"ready": true}`, and wait for its order.
 *
 * @sock     connected SOCK_SEQPACKET socket to silod; taken. Its end of file ends the wait: silod has gone.
 * @stop_fd  as monitor_options.
 * @o        receives bundle_dir (heap), listener, loop and standby of the order `{"bundle": dir}`, which comes with two
 *           descriptors: the listening socket, and the log that becomes stdout and stderr.
 *
 * Returns 1 with an order; 0 when there will be none; -1 with *e when no VM can be started, or it has died. The VM is
 * gone in the last two cases.
 */
int monitor_standby(const struct standby_options *vm, int sock, int stop_fd, struct monitor_options *o,
		    struct err *e) must_check;

#endif
