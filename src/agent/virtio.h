/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices of the VM by their kind, and their drivers. */
#ifndef SILO_AGENT_VIRTIO_H
#define SILO_AGENT_VIRTIO_H

#include <stdbool.h>

#include "base/err.h"
#include "os/netlink.h"

enum virtio_kind { VIRTIO_CARD, VIRTIO_DISK };

/* Give the nth device (from 0) of a kind to its driver, or take it away from it. */
int virtio_bind(enum virtio_kind kind, int nth, bool bind, struct err *e) must_check;
/* What the kernel calls the nth network card; it must be bound. */
int virtio_card_name(int nth, char name[static LINK_NAME_MAX], struct err *e) must_check;

#endif
