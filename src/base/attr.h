/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_BASE_ATTR_H
#define SILO_BASE_ATTR_H

#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define must_check __attribute__((warn_unused_result))
#define unused_arg __attribute__((unused))

#define KIB (1024ull)
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

#define array_len(a) (sizeof(a) / sizeof((a)[0]))

#endif
