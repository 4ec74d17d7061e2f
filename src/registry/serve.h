/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_REGISTRY_SERVE_H
#define SILO_REGISTRY_SERVE_H

#include "base/err.h"

/* Be silo-registry: read the configuration from fd 3, enter the jail, run operations until fd 3 ends. */
int registry_serve(struct err *e) must_check;

#endif
