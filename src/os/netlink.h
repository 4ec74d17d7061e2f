/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Network devices of the current network namespace. Source: rtnetlink(7). */
#ifndef SILO_OS_NETLINK_H
#define SILO_OS_NETLINK_H

#include "base/err.h"

/* Bring the loopback device up. */
int netlink_lo_up(struct err *e) must_check;

#endif
