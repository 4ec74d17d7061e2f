/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_ENGINE_SIGNALS_H
#define SILO_ENGINE_SIGNALS_H

#include "base/err.h"

/**
 * signal_parse - "9", "KILL", "SIGKILL", "sigkill", "RTMIN+3" as number. NULL and "" give fallback.
 *
 * Returns the number, or -1 with ERR_INVALID "invalid signal: X". Pure.
 */
int signal_parse(const char *text, int fallback, struct err *e) must_check;

#endif
