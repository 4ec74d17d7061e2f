/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/guest/pipes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windows/guest/linux.h"
#include "windows/layout.h"

#define NAME_MAX_BYTES 96
#define BUFFER_BYTES 65536
#define STACK_BYTES 65536
#define INSTANCES 4 /* of a pipe that wait for clients */
#define RELAYS_MAX 256
#define BUSY_MS 10000  /* how long a busy server may take to have an instance free */
#define RETRY_MS 200
#define POLL_MS 5
#define DRAIN_MS 10000 /* how long the end of the container may be delayed by a host that doesn't read */

struct relay {
	struct pipes *all;
	struct relay *next;
	HANDLE pipe;
	long long sock;
	BOOL message;         /* of type message */
	volatile LONG users;  /* threads */
	volatile LONG waits;  /* the reader of the pipe waits for ... */
	OVERLAPPED read;      /* ... this */
	HANDLE read_event, write_event;
};

struct pipes {
	CRITICAL_SECTION lock;
	struct relay *relays;
	LONG n_relays;
	struct shared *shared;
};

struct shared {
	struct pipes *all;
	struct shared *next;
	HANDLE instance;     /* the first one, made before the program runs; NULL = the container serves */
	volatile LONG waits; /* an instance waits for a client, by ... */
	OVERLAPPED connect;  /* ... this */
	char name[NAME_MAX_BYTES];
};

/* --- sockets ---------------------------------------------------------------------------------------------------- */

static long long connect_to(const char *place, const char *name)
{
	struct linux_sockaddr_un address = { .family = LINUX_AF_UNIX };
	long long sock;

	if (snprintf(address.path, sizeof(address.path), WINDOWS_PIPES "/%s/%s", place, name) >=
	    (int)sizeof(address.path))
		return -1;
	sock = linux_call(SYS_SOCKET, LINUX_AF_UNIX, LINUX_SOCK_STREAM | LINUX_SOCK_CLOEXEC, 0);
	if (sock >= 0 && linux_again(SYS_CONNECT, sock, (long long)&address, sizeof(address)) < 0) {
		linux_call(SYS_CLOSE, sock, 0, 0);
		return -1;
	}
	return sock;
}

static BOOL send_all(long long sock, const char *data, DWORD n)
{
	while (n) {
		long long sent = linux_again(SYS_SENDTO, sock, (long long)data, n);

		if (sent <= 0)
			return FALSE;
		data += sent;
		n -= (DWORD)sent;
	}
	return TRUE;
}

/* Bytes that the other side of the socket hasn't read. */
static int unread(long long sock)
{
	int n = 0;

	return linux_call(SYS_IOCTL, sock, LINUX_SIOCOUTQ, (long long)&n) < 0 ? 0 : n;
}

/* Has the other side left altogether? Waits for it, ms (-1: for ever). */
static BOOL is_hung_up(long long sock, int ms)
{
	struct linux_pollfd p = { .fd = (int)sock };

	return linux_again(SYS_POLL, (long long)&p, 1, ms) != 0;
}

/* --- one connection --------------------------------------------------------------------------------------------- */

static void relay_leave(struct relay *r)
{
	if (InterlockedDecrement(&r->users))
		return;
	EnterCriticalSection(&r->all->lock);
	for (struct relay **at = &r->all->relays; *at; at = &(*at)->next)
		if (*at == r) {
			*at = r->next;
			break;
		}
	r->all->n_relays--;
	LeaveCriticalSection(&r->all->lock);
	CloseHandle(r->pipe); /* what is in it can still be read */
	CloseHandle(r->read_event);
	CloseHandle(r->write_event);
	linux_call(SYS_CLOSE, r->sock, 0, 0);
	free(r);
}

/* The error, or 0. A part of a message is no error. */
static DWORD read_pipe(struct relay *r, char *data, DWORD *n)
{
	DWORD error = 0;

	r->read = (OVERLAPPED){ .hEvent = r->read_event };
	if (!ReadFile(r->pipe, data, BUFFER_BYTES, NULL, &r->read))
		error = GetLastError();
	if (error && error != ERROR_IO_PENDING && error != ERROR_MORE_DATA)
		return error;
	InterlockedExchange(&r->waits, 1);
	error = GetOverlappedResult(r->pipe, &r->read, n, TRUE) ? 0 : GetLastError();
	InterlockedExchange(&r->waits, 0);
	return error == ERROR_MORE_DATA ? 0 : error;
}

static BOOL write_pipe(struct relay *r, const char *data, DWORD n)
{
	OVERLAPPED o = { .hEvent = r->write_event };
	DWORD done;

	if (!WriteFile(r->pipe, data, n, NULL, &o) && GetLastError() != ERROR_IO_PENDING)
		return FALSE;
	return GetOverlappedResult(r->pipe, &o, &done, TRUE);
}

static DWORD WINAPI from_pipe(void *arg)
{
	struct relay *r = arg;
	char *data = malloc(BUFFER_BYTES);
	DWORD n = 0, error = ERROR_NOT_ENOUGH_MEMORY;

	while (data && !(error = read_pipe(r, data, &n))) {
		if (n ? !send_all(r->sock, data, n) : r->message && linux_call(SYS_SHUTDOWN, r->sock, LINUX_SHUT_WR, 0))
			break;
	}
	free(data);
	/* A pipe that only we write to has nothing to read: no end. */
	if (error != ERROR_ACCESS_DENIED) {
		linux_call(SYS_SHUTDOWN, r->sock, LINUX_SHUT_WR, 0);
		while (unread(r->sock) && !is_hung_up(r->sock, POLL_MS))
			;
		linux_call(SYS_SHUTDOWN, r->sock, LINUX_SHUT_RDWR, 0);
	}
	relay_leave(r);
	return 0;
}

static DWORD WINAPI from_socket(void *arg)
{
	struct relay *r = arg;
	char *data = malloc(BUFFER_BYTES);
	long long n = -1;

	while (data && (n = linux_again(SYS_READ, r->sock, (long long)data, BUFFER_BYTES)) > 0)
		if (!write_pipe(r, data, (DWORD)n))
			break;
	free(data);
	if (n <= 0 && r->message)
		write_pipe(r, "", 0);
	is_hung_up(r->sock, -1);
	/* Again and again: the reader may just be between two reads. */
	while (r->users > 1) {
		CancelIoEx(r->pipe, &r->read);
		Sleep(POLL_MS);
	}
	relay_leave(r);
	return 0;
}

/* Both are taken. */
static void relay_start(struct pipes *all, HANDLE pipe, long long sock, BOOL message)
{
	static LPTHREAD_START_ROUTINE const ways[] = { from_pipe, from_socket };
	struct relay *r = calloc(1, sizeof(*r));

	if (!r || all->n_relays >= RELAYS_MAX) {
		free(r);
		CloseHandle(pipe);
		linux_call(SYS_CLOSE, sock, 0, 0);
		return;
	}
	*r = (struct relay){ .all = all, .pipe = pipe, .sock = sock, .message = message, .users = 2 };
	r->read_event = CreateEventA(NULL, TRUE, FALSE, NULL);
	r->write_event = CreateEventA(NULL, TRUE, FALSE, NULL);
	EnterCriticalSection(&all->lock);
	r->next = all->relays;
	all->relays = r;
	all->n_relays++;
	LeaveCriticalSection(&all->lock);
	for (int i = 0; i < 2; i++) {
		HANDLE thread = CreateThread(NULL, STACK_BYTES, ways[i], r, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);

		if (thread) {
			CloseHandle(thread);
		} else {
			linux_call(SYS_SHUTDOWN, sock, LINUX_SHUT_RDWR, 0);
			relay_leave(r);
		}
	}
}

/* --- the host serves -------------------------------------------------------------------------------------------- */

static HANDLE make_instance(const char *name)
{
	char path[NAME_MAX_BYTES + 16];

	snprintf(path, sizeof(path), "\\\\.\\pipe\\%s", name);
	return CreateNamedPipeA(path, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED,
				PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE, PIPE_UNLIMITED_INSTANCES, BUFFER_BYTES,
				BUFFER_BYTES, 0, NULL);
}

/* One that has left already may have left something in the pipe. */
static BOOL wait_client(struct shared *s, HANDLE pipe)
{
	HANDLE event = CreateEventA(NULL, TRUE, FALSE, NULL);
	DWORD n, error = ERROR_PIPE_CONNECTED;

	s->connect = (OVERLAPPED){ .hEvent = event };
	if (!ConnectNamedPipe(pipe, &s->connect))
		error = GetLastError();
	if (error == ERROR_IO_PENDING) {
		InterlockedExchange(&s->waits, 1);
		error = GetOverlappedResult(pipe, &s->connect, &n, TRUE) ? ERROR_PIPE_CONNECTED : GetLastError();
		InterlockedExchange(&s->waits, 0);
	}
	CloseHandle(event);
	return error == ERROR_PIPE_CONNECTED || error == ERROR_NO_DATA;
}

/* A client that finds no server on the host finds a broken pipe. */
static DWORD WINAPI take_clients(void *arg)
{
	struct shared *s = arg;
	HANDLE pipe = s->instance;

	for (; pipe != INVALID_HANDLE_VALUE; pipe = make_instance(s->name)) {
		long long sock = wait_client(s, pipe) ? connect_to("client", s->name) : -1;

		if (sock >= 0)
			relay_start(s->all, pipe, sock, TRUE);
		else
			CloseHandle(pipe);
	}
	return 0;
}

/* --- the container serves --------------------------------------------------------------------------------------- */

/* With the rights that the server gives: it may only read, or only write. */
static HANDLE open_pipe(const char *name)
{
	static const DWORD accesses[] = { GENERIC_READ | GENERIC_WRITE, GENERIC_READ | FILE_WRITE_ATTRIBUTES,
					  GENERIC_WRITE | FILE_READ_ATTRIBUTES };
	char path[NAME_MAX_BYTES + 16];
	HANDLE pipe = INVALID_HANDLE_VALUE;

	snprintf(path, sizeof(path), "\\\\.\\pipe\\%s", name);
	for (size_t i = 0; i < sizeof(accesses) / sizeof(accesses[0]) && pipe == INVALID_HANDLE_VALUE; i++) {
		do
			pipe = CreateFileA(path, accesses[i], 0, NULL, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, NULL);
		while (pipe == INVALID_HANDLE_VALUE && GetLastError() == ERROR_PIPE_BUSY &&
		       WaitNamedPipeA(path, BUSY_MS));
		if (pipe == INVALID_HANDLE_VALUE && GetLastError() != ERROR_ACCESS_DENIED)
			break;
	}
	return pipe;
}

static void bring_client(struct pipes *all, const char *name, long long sock)
{
	DWORD flags = 0, mode = PIPE_READMODE_MESSAGE;
	HANDLE pipe = open_pipe(name);

	if (pipe == INVALID_HANDLE_VALUE) {
		linux_call(SYS_CLOSE, sock, 0, 0);
		return;
	}
	GetNamedPipeInfo(pipe, &flags, NULL, NULL, NULL);
	if (flags & PIPE_TYPE_MESSAGE)
		SetNamedPipeHandleState(pipe, &mode, NULL, NULL);
	relay_start(all, pipe, sock, (flags & PIPE_TYPE_MESSAGE) != 0);
}

/* Until nobody listens any more: then the container is at its end. */
static DWORD WINAPI wait_clients(void *arg)
{
	struct shared *s = arg;
	long long sock;
	char byte;

	while ((sock = connect_to("server", s->name)) >= 0) {
		if (linux_again(SYS_READ, sock, (long long)&byte, 1) == 1) {
			bring_client(s->all, s->name, sock);
			continue;
		}
		linux_call(SYS_CLOSE, sock, 0, 0);
		Sleep(RETRY_MS);
	}
	return 0;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

struct pipes *pipes_new(void)
{
	struct pipes *all = calloc(1, sizeof(*all));

	if (all)
		InitializeCriticalSection(&all->lock);
	return all;
}

static BOOL start(struct pipes *all, const char *name, HANDLE instance, LPTHREAD_START_ROUTINE run)
{
	struct shared *s = calloc(1, sizeof(*s));
	HANDLE thread = NULL;

	if (s && strlen(name) < sizeof(s->name)) {
		s->all = all;
		s->instance = instance;
		strcpy(s->name, name);
		s->next = all->shared;
		thread = CreateThread(NULL, STACK_BYTES, run, s, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
	}
	if (!thread) {
		free(s);
		return FALSE;
	}
	CloseHandle(thread);
	all->shared = s; /* for good: pipes live as long as the launcher */
	return TRUE;
}

BOOL pipes_use(struct pipes *all, const char *name)
{
	for (int i = 0; i < INSTANCES; i++) {
		HANDLE instance = make_instance(name);

		if (instance == INVALID_HANDLE_VALUE || !start(all, name, instance, take_clients))
			return FALSE;
	}
	return TRUE;
}

BOOL pipes_serve(struct pipes *all, const char *name)
{
	return start(all, name, NULL, wait_clients);
}

/* No client that hasn't got its relay yet. */
static BOOL is_waiting(const struct shared *s)
{
	return !s->instance || (s->waits && !HasOverlappedIoCompleted(&s->connect));
}

/* Nothing unread in the pipe, nothing in our hands, nothing unread in the socket. */
static BOOL is_idle(struct relay *r)
{
	DWORD available = 0;

	if (PeekNamedPipe(r->pipe, NULL, 0, NULL, &available, NULL) && available)
		return FALSE;
	return r->waits && !HasOverlappedIoCompleted(&r->read) && !unread(r->sock);
}

void pipes_drain(struct pipes *all)
{
	for (int waited = 0; waited < DRAIN_MS; waited += POLL_MS) {
		BOOL idle = TRUE;

		for (const struct shared *s = all->shared; s && idle; s = s->next)
			idle = is_waiting(s);
		EnterCriticalSection(&all->lock);
		for (struct relay *r = all->relays; r && idle; r = r->next)
			idle = is_idle(r);
		LeaveCriticalSection(&all->lock);
		if (idle)
			return;
		Sleep(POLL_MS);
	}
}
