/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pipe_probe talk NAME CLIENTS BYTES: so many clients of \\.\pipe\NAME at once; each gets back what it sends, ends its half
 * with an empty message, and reads what is said then. Prints a line of it each: type of the pipe, bytes, last words.
 * pipe_probe serve NAME byte|message CLIENTS: prints "ready"; so many clients get back in capitals what they say.
 */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX 16
#define PIECE 5000

static HANDLE open_pipe(const char *path)
{
	HANDLE pipe;

	do
		pipe = CreateFileA(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
	while (pipe == INVALID_HANDLE_VALUE && GetLastError() == ERROR_PIPE_BUSY && WaitNamedPipeA(path, 60000));
	if (pipe == INVALID_HANDLE_VALUE) {
		printf("open: error %lu\n", GetLastError());
		exit(1);
	}
	return pipe;
}

/* How many bytes have come back. */
static long exchange(HANDLE pipe, long bytes)
{
	char data[PIECE];
	long back = 0;
	DWORD n;

	for (long sent = 0; sent < bytes; sent += PIECE) {
		memset(data, 'a', sizeof(data));
		WriteFile(pipe, data, (DWORD)min(bytes - sent, PIECE), &n, NULL);
		while (back < min(bytes, sent + PIECE) && ReadFile(pipe, data, sizeof(data), &n, NULL) && n)
			for (DWORD i = 0; i < n; i++)
				back += data[i] == 'A';
	}
	return back;
}

static int talk(const char *path, int clients, long bytes)
{
	HANDLE pipes[CLIENTS_MAX];

	for (int i = 0; i < clients; i++)
		pipes[i] = open_pipe(path);
	for (int i = clients; i-- > 0;) {
		char words[64] = "";
		DWORD n, flags = 0;
		long back = exchange(pipes[i], bytes);

		GetNamedPipeInfo(pipes[i], &flags, NULL, NULL, NULL);
		WriteFile(pipes[i], words, 0, &n, NULL);
		while (ReadFile(pipes[i], words, sizeof(words) - 1, &n, NULL) && n)
			words[n] = '\0';
		printf("%s %ld %s\n", flags & PIPE_TYPE_MESSAGE ? "message" : "byte", back, words);
	}
	return 0;
}

static DWORD WINAPI answer(void *pipe)
{
	char data[PIECE];
	DWORD n;

	/* one message may come in parts */
	while ((ReadFile(pipe, data, sizeof(data), &n, NULL) || GetLastError() == ERROR_MORE_DATA) && n) {
		CharUpperBuffA(data, n);
		WriteFile(pipe, data, n, &n, NULL);
	}
	FlushFileBuffers(pipe);
	CloseHandle(pipe);
	return 0;
}

static int serve(const char *path, BOOL message, int clients)
{
	HANDLE threads[CLIENTS_MAX];

	for (int i = 0; i < clients; i++) {
		HANDLE pipe = CreateNamedPipeA(path, PIPE_ACCESS_DUPLEX,
					       message ? PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE : PIPE_TYPE_BYTE,
					       PIPE_UNLIMITED_INSTANCES, PIECE, PIECE, 0, NULL);

		if (!i)
			printf("ready\n"), fflush(stdout);
		ConnectNamedPipe(pipe, NULL);
		threads[i] = CreateThread(NULL, 0, answer, pipe, 0, NULL);
	}
	WaitForMultipleObjects((DWORD)clients, threads, TRUE, INFINITE);
	return 0;
}

int main(int argc, char **argv)
{
	char path[256];

	if (argc != 5 || atoi(argv[3]) > CLIENTS_MAX || atoi(argv[4]) < 0)
		return 99;
	snprintf(path, sizeof(path), "\\\\.\\pipe\\%s", argv[2]);
	if (!strcmp(argv[1], "talk"))
		return talk(path, atoi(argv[3]), atol(argv[4]));
	return serve(path, !strcmp(argv[3], "message"), min(atoi(argv[4]), CLIENTS_MAX));
}
