/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/handlers.h"

#define TEXT_FILES "copying files to or from a container is not supported yet"
#define TEXT_EXPORT "exporting a container's file system is not supported yet"
#define TEXT_CHANGES "listing the changes of a container's file system is not supported yet"
#define TEXT_COMMIT "making an image of a container is not supported yet: build it elsewhere, then docker load or docker import"
#define TEXT_BUILD "building images is not supported yet: build them elsewhere, then docker load or docker import"
#define TEXT_SAVE "saving images is not supported yet"
#define TEXT_REGISTRY "registries are not supported yet: docker load and docker import bring images in"
#define TEXT_WEBSOCKET "attaching by WebSocket is not supported: use POST /containers/{id}/attach"
#define TEXT_CHECKPOINT "checkpoints are not supported"
#define TEXT_SWARM "swarm mode is not supported"
#define TEXT_PLUGINS "plugins are not supported"

/* One line per operation of the Engine API. since: first API version, minor part of 1.x. body max: 0 = no body. */
const struct route routes[] = {
	/* method   path                              since body max  flags     handler */
	{ "GET",    "/_ping",                         24, 0,         R_PLAIN,  api_ping },
	{ "HEAD",   "/_ping",                         24, 0,         R_PLAIN,  api_ping },
	{ "GET",    "/version",                       24, 0,         R_PLAIN,  api_version },
	{ "GET",    "/info",                          24, 0,         R_PLAIN,  api_info },
	{ "GET",    "/events",                        24, 0,         R_PLAIN,  api_events },
	{ "GET",    "/system/df",                     25, 0,         R_PLAIN,  api_disk_usage },
	{ "POST",   "/auth",                          24, 0,         R_PLAIN,  api_refuse_501, TEXT_REGISTRY },

	{ "GET",    "/containers/json",               24, 0,         R_PLAIN,  api_container_list },
	{ "POST",   "/containers/create",             24, 4 * MIB,   R_JSON,   api_container_create },
	{ "POST",   "/containers/prune",              25, 0,         R_PLAIN,  api_container_prune },
	{ "GET",    "/containers/{id}/json",          24, 0,         R_PLAIN,  api_container_inspect },
	{ "POST",   "/containers/{id}/start",         24, 0,         R_PLAIN,  api_container_start },
	{ "POST",   "/containers/{id}/stop",          24, 0,         R_PLAIN,  api_container_stop },
	{ "POST",   "/containers/{id}/restart",       24, 0,         R_PLAIN,  api_container_restart },
	{ "POST",   "/containers/{id}/kill",          24, 0,         R_PLAIN,  api_container_kill },
	{ "POST",   "/containers/{id}/pause",         24, 0,         R_PLAIN,  api_container_pause },
	{ "POST",   "/containers/{id}/unpause",       24, 0,         R_PLAIN,  api_container_unpause },
	{ "POST",   "/containers/{id}/rename",        24, 0,         R_PLAIN,  api_container_rename },
	{ "POST",   "/containers/{id}/resize",        24, 0,         R_PLAIN,  api_container_resize },
	{ "POST",   "/containers/{id}/update",        24, 1 * MIB,   R_JSON,   api_container_update },
	{ "GET",    "/containers/{id}/top",           24, 0,         R_PLAIN,  api_container_top },
	{ "GET",    "/containers/{id}/stats",         24, 0,         R_PLAIN,  api_container_stats },
	{ "GET",    "/containers/{id}/logs",          24, 0,         R_PLAIN,  api_container_logs },
	{ "POST",   "/containers/{id}/wait",          24, 0,         R_PLAIN,  api_container_wait },
	{ "POST",   "/containers/{id}/attach",        24, 0,         R_PLAIN,  api_container_attach },
	{ "GET",    "/containers/{id}/attach/ws",     24, 0,         R_PLAIN,  api_refuse_501, TEXT_WEBSOCKET },
	{ "POST",   "/containers/{id}/exec",          24, 1 * MIB,   R_JSON,   api_exec_create },
	{ "GET",    "/containers/{id}/changes",       24, 0,         R_PLAIN,  api_refuse_501, TEXT_CHANGES },
	{ "GET",    "/containers/{id}/export",        24, 0,         R_PLAIN,  api_refuse_501, TEXT_EXPORT },
	{ "GET",    "/containers/{id}/archive",       24, 0,         R_PLAIN,  api_refuse_501, TEXT_FILES },
	{ "HEAD",   "/containers/{id}/archive",       24, 0,         R_PLAIN,  api_refuse_501, TEXT_FILES },
	{ "PUT",    "/containers/{id}/archive",       24, 0,         R_PLAIN,  api_refuse_501, TEXT_FILES },
	{ "GET",    "/containers/{id}/checkpoints",   25, 0,         R_PLAIN,  api_refuse_501, TEXT_CHECKPOINT },
	{ "POST",   "/containers/{id}/checkpoints",   25, 0,         R_PLAIN,  api_refuse_501, TEXT_CHECKPOINT },
	{ "DELETE", "/containers/{id}",               24, 0,         R_PLAIN,  api_container_remove },
	{ "POST",   "/commit",                        24, 0,         R_PLAIN,  api_refuse_501, TEXT_COMMIT },

	{ "POST",   "/exec/{id}/start",               24, 64 * KIB,  R_JSON,   api_exec_start },
	{ "POST",   "/exec/{id}/resize",              24, 0,         R_PLAIN,  api_exec_resize },
	{ "GET",    "/exec/{id}/json",                24, 0,         R_PLAIN,  api_exec_inspect },

	{ "GET",    "/images/json",                   24, 0,         R_PLAIN,  api_image_list },
	{ "GET",    "/images/search",                 24, 0,         R_PLAIN,  api_refuse_501, TEXT_REGISTRY },
	{ "GET",    "/images/get",                    24, 0,         R_PLAIN,  api_refuse_501, TEXT_SAVE },
	{ "POST",   "/images/create",                 24, 0,         R_UPLOAD, api_image_create },
	{ "POST",   "/images/load",                   24, 0,         R_UPLOAD, api_image_load },
	{ "POST",   "/images/prune",                  25, 0,         R_PLAIN,  api_image_prune },
	{ "GET",    "/images/{name*}/json",           24, 0,         R_PLAIN,  api_image_inspect },
	{ "GET",    "/images/{name*}/history",        24, 0,         R_PLAIN,  api_image_history },
	{ "GET",    "/images/{name*}/get",            24, 0,         R_PLAIN,  api_refuse_501, TEXT_SAVE },
	{ "POST",   "/images/{name*}/tag",            24, 0,         R_PLAIN,  api_image_tag },
	{ "POST",   "/images/{name*}/push",           24, 0,         R_PLAIN,  api_refuse_501, TEXT_REGISTRY },
	{ "DELETE", "/images/{name*}",                24, 0,         R_PLAIN,  api_image_remove },
	{ "GET",    "/distribution/{name*}/json",     30, 0,         R_PLAIN,  api_refuse_404, TEXT_REGISTRY },
	{ "POST",   "/build",                         24, 0,         R_PLAIN,  api_refuse_501, TEXT_BUILD },
	{ "POST",   "/build/prune",                   31, 0,         R_PLAIN,  api_build_prune },

	{ "GET",    "/networks",                      24, 0,         R_PLAIN,  api_network_list },
	{ "GET",    "/networks/{id}",                 24, 0,         R_PLAIN,  api_network_inspect },
	{ "POST",   "/networks/create",               24, 1 * MIB,   R_JSON,   api_network_create },
	{ "POST",   "/networks/prune",                25, 0,         R_PLAIN,  api_network_prune },
	{ "POST",   "/networks/{id}/connect",         24, 1 * MIB,   R_JSON,   api_network_connect },
	{ "POST",   "/networks/{id}/disconnect",      24, 64 * KIB,  R_JSON,   api_network_disconnect },
	{ "DELETE", "/networks/{id}",                 24, 0,         R_PLAIN,  api_network_remove },
	{ "GET",    "/volumes",                       24, 0,         R_PLAIN,  api_volume_list },
	{ "POST",   "/volumes/create",                24, 1 * MIB,   R_JSON,   api_volume_create },
	{ "POST",   "/volumes/prune",                 25, 0,         R_PLAIN,  api_volume_prune },
	{ "GET",    "/volumes/{name}",                24, 0,         R_PLAIN,  api_volume_inspect },
	{ "DELETE", "/volumes/{name}",                24, 0,         R_PLAIN,  api_volume_remove },

	{ "GET",    "/swarm",                         24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/swarm/unlockkey",               24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "POST",   "/swarm/init",                    24, 0,         R_PLAIN,  api_refuse_501, TEXT_SWARM },
	{ "POST",   "/swarm/join",                    24, 0,         R_PLAIN,  api_refuse_501, TEXT_SWARM },
	{ "POST",   "/swarm/{verb}",                  24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/services",                      24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/services/{id*}",                24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "POST",   "/services/{id*}",                24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "DELETE", "/services/{id}",                 24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/tasks",                         24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/tasks/{id*}",                   24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/nodes",                         24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/nodes/{id}",                    24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "POST",   "/nodes/{id*}",                   24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "DELETE", "/nodes/{id}",                    24, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/secrets",                       25, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/secrets/{id}",                  25, 0,         R_PLAIN,  api_refuse_swarm },
	{ "POST",   "/secrets/{id*}",                 25, 0,         R_PLAIN,  api_refuse_swarm },
	{ "DELETE", "/secrets/{id}",                  25, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/configs",                       30, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/configs/{id}",                  30, 0,         R_PLAIN,  api_refuse_swarm },
	{ "POST",   "/configs/{id*}",                 30, 0,         R_PLAIN,  api_refuse_swarm },
	{ "DELETE", "/configs/{id}",                  30, 0,         R_PLAIN,  api_refuse_swarm },
	{ "GET",    "/plugins",                       25, 0,         R_PLAIN,  api_empty_list },
	{ "GET",    "/plugins/{name*}",               25, 0,         R_PLAIN,  api_refuse_501, TEXT_PLUGINS },
	{ "POST",   "/plugins/{name*}",               25, 0,         R_PLAIN,  api_refuse_501, TEXT_PLUGINS },
	{ "DELETE", "/plugins/{name*}",               25, 0,         R_PLAIN,  api_refuse_501, TEXT_PLUGINS },
};
const size_t n_routes = array_len(routes);
