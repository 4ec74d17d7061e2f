/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_MONITOR_MEMORY_H
#define SILO_MONITOR_MEMORY_H

/**
 * memory_trim - give back what a waiting process doesn't need: free heap, and the mappings of program pages that only
 * start-up touched (they stay in the page cache; what is needed again costs a minor fault).
 */
void memory_trim(void);

#endif
