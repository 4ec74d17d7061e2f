/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where things are in the root file system of a Windows container, as Linux sees it. */
#ifndef SILO_WINDOWS_LAYOUT_H
#define SILO_WINDOWS_LAYOUT_H

#define WINDOWS_PREFIX  "/wine"
#define WINDOWS_DRIVE_C WINDOWS_PREFIX "/drive_c"
#define WINDOWS_DRIVES  WINDOWS_PREFIX "/drives" /* what is mounted as a drive: drives/d; silo-winit makes it D: */
#define WINDOWS_PIPES   "/run/pipes" /* sockets behind named pipes: client/NAME, server/NAME (guest/pipes.h) */
#define WINDOWS_LOADER  "/usr/lib/wine/wine64"
#define WINDOWS_SERVER  "/usr/lib/wine/wineserver64"
#define WINDOWS_LIMITS  "/usr/lib/silo/silo-limits.so"
#define WINDOWS_INIT    "/usr/lib/silo/silo-winit"

#endif
