/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every handler of the route table, by file. Contract: see api_handler in route.h. */
#ifndef SILO_API_HANDLERS_H
#define SILO_API_HANDLERS_H

#include "api/route.h"

/* containers.c: one call of the engine each */
api_handler api_container_create, api_container_list, api_container_inspect, api_container_start, api_container_stop,
	api_container_restart, api_container_kill, api_container_pause, api_container_unpause, api_container_rename,
	api_container_resize, api_container_top, api_container_update, api_container_prune, api_container_remove;
/* archive.c: its files */
api_handler api_commit, api_image_save;
api_handler api_archive_stat, api_archive_get, api_archive_put, api_container_changes, api_container_export;
/* streams.c: answers that go on */
api_handler api_container_attach, api_container_logs, api_container_stats, api_container_wait, api_events;
/* exec.c */
api_handler api_exec_create, api_exec_start, api_exec_resize, api_exec_inspect;
/* images.c */
api_handler api_image_list, api_image_create, api_image_load, api_image_inspect, api_image_history, api_image_tag,
	api_image_remove, api_image_prune;
/* windows.c: 1 = answered, 0 = another image, -1 */
int api_windows_pull(struct request *r, const char *reference, struct err *e) must_check;
/* registry.c */
api_handler api_image_pull, api_image_push, api_image_search, api_distribution, api_auth;
/* build.c */
api_handler api_build, api_build_prune;
/* system.c */
api_handler api_ping, api_version, api_info, api_disk_usage, api_empty_list, api_refuse_404, api_refuse_501,
	api_refuse_swarm;
/* networks.c */
api_handler api_network_list, api_network_inspect, api_network_create, api_network_remove, api_network_prune,
	api_network_connect, api_network_disconnect;
/* volumes.c */
api_handler api_volume_list, api_volume_create, api_volume_inspect, api_volume_remove, api_volume_prune;

#endif
