/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a Windows container is to the kernel: a Linux process that runs Wine. Pure. */
#ifndef SILO_WINDOWS_PROCESS_H
#define SILO_WINDOWS_PROCESS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/* Member of a container's Config document, set at create: the image's os.version. No request can set it, inspect doesn't
 * show it. A container that has it is a Windows container. */
#define WINDOWS_KEY "WindowsVersion"

bool windows_is(const json_t *config);

#define WINDOWS_TRANSLATION_MIB 96 /* of code that QEMU has translated, where it emulates */

/**
 * windows_process - turn an OCI process object as it is made for Linux into that of a Windows program.
 *
 * @process  args: the program and its arguments; cwd: a path of Windows or "/"; user.username: Docker's --user. Changed
 *           in place: args become silo-winit's.
 * @escaped  args[0] is a command line already (ArgsEscaped)
 * ERR_INVALID: a user that there isn't, a working directory that can't be one.
 */
int windows_process(json_t *process, bool escaped, struct err *e) must_check;

/* Arguments as one command line, by the rules that CommandLineToArgvW reverses. Heap string. */
char *windows_command_line(const json_t *args, bool escaped);

/**
 * windows_path - where a path of Windows is in the container's root file system: "C:\data" is "/wine/drive_c/data",
 * "D:\x" is "/wine/drives/d/x". Other absolute paths ("\data", "/data") are on drive C:.
 *
 * Heap string, or NULL with ERR_INVALID "invalid volume specification" for one that isn't absolute.
 */
char *windows_path(const char *path, struct err *e) must_check;
/* The other way round, for a path that windows_path() has made; others are copied. Heap string. */
char *windows_path_shown(const char *path);
/**
 * windows_bind - "[source:]destination[:mode]" of -v with the destination as windows_path() has it. Heap string, or NULL
 * with *e.
 */
char *windows_bind(const char *text, struct err *e) must_check;
#define WINDOWS_PIPE_NAME_MAX 80
/* NAME of "\\.\pipe\NAME", written with either slash: borrowed from path. NULL when it is no pipe's, or can't be a file's. */
const char *windows_pipe_name(const char *path);
/* Whether -v SPEC is about a named pipe: its source, its destination, or both. Heap strings; NULL for what isn't there. */
bool windows_pipe_split(const char *spec, char **source, char **target, char **mode);
/* Whether it begins with a drive: "C:\" or "c:/". */
bool windows_path_has_drive(const char *path);

#endif
