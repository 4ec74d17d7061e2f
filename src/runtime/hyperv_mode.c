/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/runtime.h"
const struct mode hyperv_mode = { 0 };
