/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * windows_probe create: make one of everything that a container must have for itself, say "ready", wait for stdin's end.
 * windows_probe look: print what of it can be seen, a word each. windows_probe exit CODE. windows_probe events: print the
 * control events that come, "ready" first. windows_probe open PATH...: the exit code is how many can be opened.
 */
#include <winsock2.h>

#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT 5555

static SOCKET make_socket(struct sockaddr_in *address)
{
	WSADATA data;

	WSAStartup(MAKEWORD(2, 2), &data);
	memset(address, 0, sizeof(*address));
	address->sin_family = AF_INET;
	address->sin_port = htons(PORT);
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int create(void)
{
	struct sockaddr_in address;
	SOCKET listener = make_socket(&address);
	HANDLE file = CreateFileA("C:\\probe.txt", GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
	HKEY key;

	CloseHandle(file);
	if (!CreateMutexA(NULL, FALSE, "Global\\probe_mutex") ||
	    !CreateEventA(NULL, TRUE, FALSE, "Global\\probe_event") ||
	    !CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, 4096, "Global\\probe_section") ||
	    CreateNamedPipeA("\\\\.\\pipe\\probe_pipe", PIPE_ACCESS_DUPLEX, PIPE_TYPE_BYTE, 4, 4096, 4096, 0, NULL) ==
		    INVALID_HANDLE_VALUE ||
	    RegCreateKeyA(HKEY_LOCAL_MACHINE, "Software\\Probe", &key) ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 5))
		return 1;
	printf("ready\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

static void saw(const char *what, BOOL it)
{
	if (it)
		printf("%s\n", what);
}

static int look(void)
{
	struct sockaddr_in address;
	SOCKET s = make_socket(&address);
	HKEY key;

	saw("mutex", OpenMutexA(SYNCHRONIZE, FALSE, "Global\\probe_mutex") != NULL);
	saw("event", OpenEventA(SYNCHRONIZE, FALSE, "Global\\probe_event") != NULL);
	saw("section", OpenFileMappingA(FILE_MAP_READ, FALSE, "Global\\probe_section") != NULL);
	saw("pipe", WaitNamedPipeA("\\\\.\\pipe\\probe_pipe", 1));
	saw("registry", !RegOpenKeyA(HKEY_LOCAL_MACHINE, "Software\\Probe", &key));
	saw("file", GetFileAttributesA("c:\\PROBE.TXT") != INVALID_FILE_ATTRIBUTES);
	saw("port", !connect(s, (struct sockaddr *)&address, sizeof(address)));
	saw("drive z", GetFileAttributesA("Z:\\") != INVALID_FILE_ATTRIBUTES);
	return 0;
}

static BOOL WINAPI on_event(DWORD event)
{
	printf("event %lu\n", event);
	fflush(stdout);
	ExitProcess(70 + event);
	return TRUE;
}

static int wait_for_events(void)
{
	SetConsoleCtrlHandler(on_event, TRUE);
	printf("ready\n");
	fflush(stdout);
	Sleep(INFINITE);
	return 0;
}

static int count_open(int n, char **paths)
{
	int opened = 0;

	for (int i = 0; i < n; i++)
		opened += CreateFileA(paths[i], GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING,
				      FILE_FLAG_BACKUP_SEMANTICS, NULL) != INVALID_HANDLE_VALUE;
	return opened;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "create"))
		return create();
	if (!strcmp(what, "look"))
		return look();
	if (!strcmp(what, "events"))
		return wait_for_events();
	if (!strcmp(what, "exit") && argc > 2)
		ExitProcess(strtoul(argv[2], NULL, 0));
	if (!strcmp(what, "open"))
		return count_open(argc - 2, argv + 2);
	return 99;
}
