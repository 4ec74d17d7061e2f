/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the monitor has QEMU do by having it open a file of this name. 0; or -1 with errno, and nothing is changed. */
#ifndef SILO_HYPERV_SHIM_H
#define SILO_HYPERV_SHIM_H

int shim_wire(const char *what); /* "CARD/DESCRIPTOR" or "CARD": the wire of a card (shim_wires.c) */
int shim_trim(void);             /* memory goes back to the host (shim_trim.c) */

#endif
