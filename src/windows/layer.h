/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A layer of a Windows image (Files/, Hives/, UtilityVM/) becomes a layer over Silo's Windows base: a tar in which drive C:
 * is wine/drive_c and the registry is Wine's files. Runs inside the helper, see image/unpack.h.
 * Source: OCI image-spec, layer.md; hcsshim, internal/wclayer and pkg/ociwclayer; go-winio, backuptar.
 */
#ifndef SILO_WINDOWS_LAYER_H
#define SILO_WINDOWS_LAYER_H

#include "image/unpack.h"

/* Before unpack_jail(): what lies below the layer, as UNPACK_WINDOWS describes it. Returns a detached, read-only mount. */
int windows_layer_below(struct err *e) must_check;

/**
 * windows_layer_convert - read the layer from `in`, write UNPACK_CONVERTED in root.
 *
 * @below    root file system of the layers below, or -1
 * @records  fd for UNPACK_NOTE records: what couldn't be kept; or -1
 * ERR_INVALID, ERR_LIMIT.
 */
int windows_layer_convert(int in, int root, int below, int records, const struct unpack_limits *limits,
			  struct unpack_result *out, struct err *e) must_check;

#endif
