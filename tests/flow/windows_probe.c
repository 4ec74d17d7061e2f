/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * windows_probe create NAME PORT: make one of everything that a container must have for itself, say "ready", wait for
 * stdin's end. windows_probe look NAME PORT: print what of it can be seen, a word each. windows_probe exit CODE. windows_probe events: print the
 * control events that come, "ready" first. windows_probe open PATH...: the exit code is how many can be opened.
 * windows_probe service: a service "flow", which has a file C:\\flow.txt while it runs.
 */
#include <winsock2.h>

#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tlhelp32.h>

static const char *text(const char *format, const char *name)
{
	static char out[256]; /* one at a time */

	snprintf(out, sizeof(out), format, name);
	return out;
}

static SOCKET make_socket(struct sockaddr_in *address, const char *port)
{
	WSADATA data;

	WSAStartup(MAKEWORD(2, 2), &data);
	memset(address, 0, sizeof(*address));
	address->sin_family = AF_INET;
	address->sin_port = htons((u_short)atoi(port));
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int create(const char *name, const char *port)
{
	struct sockaddr_in address;
	SOCKET listener = make_socket(&address, port);
	HKEY key;

	CloseHandle(CreateFileA(text("C:\\%s.txt", name), GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL));
	if (!CreateMutexA(NULL, FALSE, text("Global\\%s_mutex", name)) ||
	    !CreateEventA(NULL, TRUE, FALSE, text("Global\\%s_event", name)) ||
	    !CreateSemaphoreA(NULL, 1, 1, text("Local\\%s_semaphore", name)) ||
	    !CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, 4096,
				text("Global\\%s_section", name)) ||
	    CreateNamedPipeA(text("\\\\.\\pipe\\%s", name), PIPE_ACCESS_DUPLEX, PIPE_TYPE_BYTE, 4, 4096, 4096, 0,
			     NULL) == INVALID_HANDLE_VALUE ||
	    RegCreateKeyA(HKEY_LOCAL_MACHINE, text("Software\\%s", name), &key) ||
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

static BOOL process_runs(const char *image)
{
	HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
	PROCESSENTRY32 entry = { .dwSize = sizeof(entry) };

	for (BOOL more = Process32First(all, &entry); more; more = Process32Next(all, &entry))
		if (!_stricmp(entry.szExeFile, image))
			return TRUE;
	return FALSE;
}

static int look(const char *name, const char *port)
{
	struct sockaddr_in address;
	SOCKET s = make_socket(&address, port);
	HKEY key;

	saw("mutex", OpenMutexA(SYNCHRONIZE, FALSE, text("Global\\%s_mutex", name)) != NULL);
	saw("event", OpenEventA(SYNCHRONIZE, FALSE, text("Global\\%s_event", name)) != NULL);
	saw("semaphore", OpenSemaphoreA(SYNCHRONIZE, FALSE, text("Local\\%s_semaphore", name)) != NULL);
	saw("section", OpenFileMappingA(FILE_MAP_READ, FALSE, text("Global\\%s_section", name)) != NULL);
	saw("pipe", WaitNamedPipeA(text("\\\\.\\pipe\\%s", name), 1));
	saw("registry", !RegOpenKeyA(HKEY_LOCAL_MACHINE, text("software\\%s", name), &key));
	saw("file", GetFileAttributesA(text("c:\\%s.TXT", name)) != INVALID_FILE_ATTRIBUTES);
	saw("port", !connect(s, (struct sockaddr *)&address, sizeof(address)));
	saw("process", process_runs(text("mark-%s.exe", name)));
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

/* --- service ------------------------------------------------------------------------------------------------------ */

#define SERVICE "flow"
#define SERVICE_FILE "C:\\flow.txt"

static struct {
	SERVICE_STATUS_HANDLE handle;
	HANDLE stop;
} service;

static void tell_state(DWORD state)
{
	SERVICE_STATUS status = { .dwServiceType = SERVICE_WIN32_OWN_PROCESS,
				  .dwCurrentState = state,
				  .dwControlsAccepted = state == SERVICE_RUNNING ? SERVICE_ACCEPT_STOP : 0 };

	SetServiceStatus(service.handle, &status);
}

static DWORD WINAPI on_control(DWORD control, DWORD type, void *data, void *context)
{
	(void)type, (void)data, (void)context;
	if (control == SERVICE_CONTROL_STOP)
		SetEvent(service.stop);
	return NO_ERROR;
}

static void WINAPI service_main(DWORD argc, char **argv)
{
	(void)argc, (void)argv;
	service.stop = CreateEventA(NULL, TRUE, FALSE, NULL);
	service.handle = RegisterServiceCtrlHandlerExA(SERVICE, on_control, NULL);
	CloseHandle(CreateFileA(SERVICE_FILE, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL));
	tell_state(SERVICE_RUNNING);
	WaitForSingleObject(service.stop, INFINITE);
	DeleteFileA(SERVICE_FILE);
	tell_state(SERVICE_STOPPED);
}

static int serve(void)
{
	const SERVICE_TABLE_ENTRYA table[] = { { (char *)SERVICE, service_main }, { NULL, NULL } };

	return !StartServiceCtrlDispatcherA(table);
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

	if (!strcmp(what, "create") && argc > 3)
		return create(argv[2], argv[3]);
	if (!strcmp(what, "look") && argc > 3)
		return look(argv[2], argv[3]);
	if (!strcmp(what, "events"))
		return wait_for_events();
	if (!strcmp(what, "exit") && argc > 2)
		ExitProcess(strtoul(argv[2], NULL, 0));
	if (!strcmp(what, "open"))
		return count_open(argc - 2, argv + 2);
	if (!strcmp(what, "service"))
		return serve();
	return 99;
}
