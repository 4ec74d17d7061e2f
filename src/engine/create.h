/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_ENGINE_CREATE_H
#define SILO_ENGINE_CREATE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/filter.h"
#include "engine/record.h"

struct engine;

/* Docker's rule and text for a container's name. Pure. */
int create_check_name(const char *name, struct err *e) must_check;

/* A name nobody chose: adjective_surname, with a digit from the third attempt on. */
void create_random_name(int attempt, char out[static 64]);

/**
 * host_is_client - desktop, laptop, convertible or tablet: where hyperv is the default isolation. Pure.
 *
 * @machine_info  text of /etc/machine-info ("" when absent); its CHASSIS= wins.
 * @chassis_type  text of /sys/class/dmi/id/chassis_type (SMBIOS number), "" when absent.
 * @cpuinfo_flags whether the CPU says that it is virtual: a virtual machine counts as a server.
 */
bool host_is_client(const char *machine_info, const char *chassis_type, bool is_virtual);
/* The same, asked of this host. */
bool host_is_client_here(void);

/* "process" or "hyperv" for a request's text: flag > daemon > host kind. NULL with ERR_INVALID. Pure. */
const char *isolation_choose(const char *requested, const char *daemon, bool client_machine, struct err *e) must_check;

/* "until" of prune filters; *out stays zero when it isn't given. */
int filters_until(const json_t *f, struct timespec *out, struct err *e) must_check;
/* Bytes of the writable layer. */
int64_t container_size_rw(struct engine *g, struct container *c);
/* The peer has hung up (POLLRDHUP or POLLHUP); fd -1 = nobody to leave. */
bool client_has_left(int fd);

#endif
