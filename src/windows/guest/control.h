/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What silo-winit (Linux, pid 1 of a Windows container) and silo-run.exe (Windows, the launcher; with a terminal silo-console.exe) say to each other: one
 * message is one packet of a SOCK_SEQPACKET pair, a letter and its text in UTF-8. The launcher gets the descriptor's
 * number in the environment variable CONTROL_VARIABLE.
 */
#ifndef SILO_WINDOWS_CONTROL_H
#define SILO_WINDOWS_CONTROL_H

#define CONTROL_VARIABLE "SILO_CONTROL"
#define CONTROL_BYTES_MAX 65536

/* to the launcher */
#define CONTROL_SETENV 'V'   /* NAME=VALUE; before CONTROL_RUN */
#define CONTROL_DIRECTORY 'D' /* working directory of the program; before CONTROL_RUN */
#define CONTROL_SIZE 'R'     /* "COLUMNS ROWS": of the terminal; before CONTROL_RUN: there is one */
#define CONTROL_PIPE_CLIENT 'P' /* NAME: programs of the container may use this pipe of the host; before CONTROL_RUN */
#define CONTROL_PIPE_SERVER 'Q' /* NAME: a program of the container serves this pipe for the host; before CONTROL_RUN */
#define CONTROL_RUN 'X'      /* the command line */
#define CONTROL_EVENT 'C'    /* number of a console control event, for all that the program has started */
#define CONTROL_KEY_C 'T'    /* Ctrl-C was typed */

/* from the launcher */
#define CONTROL_FAILED 'F' /* number: why the program couldn't be started, an error of Windows */
#define CONTROL_ENDED 'E'  /* number: exit code, 32 bit */

#endif
