/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks that are plugged in while the VM runs. */
#ifndef SILO_AGENT_SCSI_H
#define SILO_AGENT_SCSI_H

#include "base/err.h"

#define SCSI_NAME_MAX 32

/* Look at a target of the bus: path receives the block device. */
int scsi_attach(int target, char path[static SCSI_NAME_MAX], struct err *e) must_check;
/* Let go of it; nothing may use it any more. */
int scsi_detach(int target, struct err *e) must_check;

#endif
