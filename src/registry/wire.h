/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between silod and silo-registry, the helper that speaks to registries: one process per pull or push, without
 * privileges. Its fd 3 is a SOCK_SEQPACKET socket with messages of base/msg.h.
 *
 * The first message configures it; the helper reads what it names as root, then gives up everything:
 *	{"endpoints": [{"url": "https://HOST[:PORT]", "verify": bool, "mirror": bool, "certs": [directories]}, ...],
 *	 "name": "library/x", "actions": "pull" or "pull,push", "attempts": n, "user_agent": "...",
 *	 "auth": {"username", "password", "identitytoken", "registrytoken"}}
 *
 * Every further message is an operation, and carries one end of a SOCK_SEQPACKET pair, followed by a regular file where
 * the operation reads or writes one. On that socket the helper tells {"bytes": n} (so many are in the file, or have
 * been sent), {"retry_s": n} (it waits), and at the end {"done": {...}} or {"error": {...}, "code": "DENIED"}, where
 * code is the registry's own word. Closing the socket cancels the operation, closing fd 3 ends the helper.
 *
 *	op          members                       file            done
 *	manifest    reference (tag or digest)     receives it     media_type
 *	blob        digest, size, urls            receives it
 *	exists      digest                                        exists
 *	upload      digest, size, from            is sent         result: "uploaded" or "mounted"
 *	            (repository to mount it from)
 *	put         reference, media_type, size   is sent
 *	tags                                      receives a JSON array of strings
 *	check                                                     (the credentials are good) identity_token
 *	search      term, limit                   receives the registry's answer
 *	compress                                  is read; a second file receives it in gzip form
 *
 * What the helper writes is as trustworthy as the network: whoever reads it checks digests and sizes.
 */
#ifndef SILO_REGISTRY_WIRE_H
#define SILO_REGISTRY_WIRE_H

#include "base/attr.h"

#define REGISTRY_CONTROL_FD 3
#define REGISTRY_UID 1899999999u /* below those of the VMs: far from users and system accounts */

#define REGISTRY_JSON_MAX (4 * MIB) /* a manifest, a config, a list of tags */
#define REGISTRY_ENDPOINTS_MAX 8

#endif
