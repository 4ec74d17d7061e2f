/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo-run.exe: starts the program of a Windows container, gives it a console where there is a terminal, delivers control
 * events, and reports the exact exit code. A Windows program that talks to silo-winit (control.h) by Linux system calls
 * of its own: Wine has no handles for sockets of that kind.
 */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>

#include "windows/guest/control.h"
#include "windows/guest/linux.h"
#include "windows/guest/pipes.h"

#define EXIT_BROKEN 125
#define JOB_PROCESSES_MAX 1024

struct launcher {
	long long control;
	WCHAR *command, *directory;
	int columns, rows; /* 0 = no console */
	HPCON console;
	HANDLE in, out;
	HANDLE job;
	PROCESS_INFORMATION program;
	struct pipes *pipes; /* NULL = none */
};

static long long receive(struct launcher *l, char *packet)
{
	long long n = linux_again(SYS_READ, l->control, (long long)packet, CONTROL_BYTES_MAX - 1);

	packet[n > 0 ? n : 0] = '\0';
	return n;
}

static void tell(struct launcher *l, char what, DWORD number)
{
	char packet[32];
	int n = sprintf(packet, "%c%lu", what, number);

	linux_call(SYS_WRITE, l->control, (long long)packet, n);
}

static WCHAR *wide(const char *text)
{
	int n = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
	WCHAR *out = malloc((size_t)n * sizeof(*out));

	if (!out)
		ExitProcess(EXIT_BROKEN);
	MultiByteToWideChar(CP_UTF8, 0, text, -1, out, n);
	return out;
}

static void set_variable(const char *text)
{
	WCHAR *name = wide(text), *value = wcschr(name, '=');

	if (value && value != name) {
		*value++ = '\0';
		SetEnvironmentVariableW(name, *value ? value : NULL);
	}
	free(name);
}

/* --- console ------------------------------------------------------------------------------------------------------ */

/* Wine has no ResizePseudoConsole: the window never may be larger than the buffer. */
static void resize(struct launcher *l, int columns, int rows)
{
	CONSOLE_SCREEN_BUFFER_INFO info;
	SMALL_RECT window = { 0 };

	if (columns < 1 || rows < 1 || columns > 1000 || rows > 1000 || !GetConsoleScreenBufferInfo(l->out, &info))
		return;
	window.Right = (SHORT)(min(columns, info.dwSize.X) - 1);
	window.Bottom = (SHORT)(min(rows, info.dwSize.Y) - 1);
	SetConsoleWindowInfo(l->out, TRUE, &window);
	SetConsoleScreenBufferSize(l->out, (COORD){ (SHORT)columns, (SHORT)rows });
	window.Right = (SHORT)(columns - 1);
	window.Bottom = (SHORT)(rows - 1);
	SetConsoleWindowInfo(l->out, TRUE, &window);
}

static BOOL WINAPI ignore_event(DWORD event)
{
	return TRUE;
}

typedef struct {
	USHORT length, maximum;
	const WCHAR *buffer;
} nt_string;

typedef struct {
	ULONG length;
	HANDLE root;
	nt_string *name;
	ULONG attributes;
	void *security, *quality;
} nt_attributes;

typedef LONG WINAPI nt_create_file(HANDLE *file, ACCESS_MASK access, nt_attributes *attributes, void *status,
				   void *size, ULONG file_attributes, ULONG share, ULONG disposition, ULONG options,
				   void *ea, ULONG ea_length);

/* What CreateProcess does for a child: open a connection below the console's reference, which makes it our console. */
static void join_console(HPCON console)
{
	nt_create_file *create = (nt_create_file *)(void *)GetProcAddress(GetModuleHandleA("ntdll"), "NtCreateFile");
	nt_string name = { 20, 22, L"Connection" };
	nt_attributes attributes = { sizeof(attributes), ((HANDLE *)console)[1], &name, 0, NULL, NULL };
	ULONG_PTR status[2];
	HANDLE connection;

	create(&connection, FILE_WRITE_EA | FILE_READ_EA | SYNCHRONIZE, &attributes, status, NULL,
	       FILE_ATTRIBUTE_NORMAL, 0, 1 /* FILE_OPEN */, 0x40 /* FILE_NON_DIRECTORY_FILE */, NULL, 0);
}

static BOOL open_console(struct launcher *l, STARTUPINFOEXW *start)
{
	SECURITY_ATTRIBUTES inherit = { sizeof(inherit), NULL, TRUE };
	COORD size = { (SHORT)l->columns, (SHORT)l->rows };
	SIZE_T bytes = 0;

	if (CreatePseudoConsole(size, GetStdHandle(STD_INPUT_HANDLE), GetStdHandle(STD_OUTPUT_HANDLE), 0, &l->console))
		return FALSE;
	InitializeProcThreadAttributeList(NULL, 1, 0, &bytes);
	start->lpAttributeList = malloc(bytes);
	if (!start->lpAttributeList || !InitializeProcThreadAttributeList(start->lpAttributeList, 1, 0, &bytes) ||
	    !UpdateProcThreadAttribute(start->lpAttributeList, 0, PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE, l->console,
				       sizeof(l->console), NULL, NULL))
		return FALSE;
	start->StartupInfo.cb = sizeof(*start);
	join_console(l->console);
	l->in = CreateFileA("CONIN$", GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, &inherit,
			    OPEN_EXISTING, 0, NULL);
	l->out = CreateFileA("CONOUT$", GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, &inherit,
			     OPEN_EXISTING, 0, NULL);
	start->StartupInfo.hStdInput = l->in;
	start->StartupInfo.hStdOutput = start->StartupInfo.hStdError = l->out;
	SetConsoleCtrlHandler(ignore_event, TRUE);
	return l->in != INVALID_HANDLE_VALUE && l->out != INVALID_HANDLE_VALUE;
}

static void type_ctrl_c(struct launcher *l)
{
	INPUT_RECORD keys[2] = { 0 };
	DWORD written;

	for (int i = 0; i < 2; i++) {
		keys[i].EventType = KEY_EVENT;
		keys[i].Event.KeyEvent.bKeyDown = !i;
		keys[i].Event.KeyEvent.wRepeatCount = 1;
		keys[i].Event.KeyEvent.wVirtualKeyCode = 'C';
		keys[i].Event.KeyEvent.uChar.UnicodeChar = 3;
		keys[i].Event.KeyEvent.dwControlKeyState = LEFT_CTRL_PRESSED;
	}
	WriteConsoleInputW(l->in, keys, 2, &written);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

/* Wine delivers no event to processes without a console: start the routine that the console would start. */
static void send_event(DWORD pid, DWORD event)
{
	HANDLE process = OpenProcess(PROCESS_ALL_ACCESS, FALSE, pid), thread = NULL;
	void *routine = (void *)GetProcAddress(GetModuleHandleA("kernelbase.dll"), "CtrlRoutine");

	if (process && routine)
		thread = CreateRemoteThread(process, NULL, 0, (LPTHREAD_START_ROUTINE)routine, (void *)(ULONG_PTR)event,
					    0, NULL);
	if (thread)
		CloseHandle(thread);
	if (process)
		CloseHandle(process);
}

static void send_event_to_all(struct launcher *l, DWORD event)
{
	size_t bytes = sizeof(JOBOBJECT_BASIC_PROCESS_ID_LIST) + JOB_PROCESSES_MAX * sizeof(ULONG_PTR);
	JOBOBJECT_BASIC_PROCESS_ID_LIST *list = calloc(1, bytes);

	if (list && QueryInformationJobObject(l->job, JobObjectBasicProcessIdList, list, (DWORD)bytes, NULL) &&
	    list->NumberOfProcessIdsInList) {
		for (DWORD i = 0; i < list->NumberOfProcessIdsInList; i++)
			send_event((DWORD)list->ProcessIdList[i], event);
	} else {
		send_event(l->program.dwProcessId, event);
	}
	free(list);
}

static DWORD WINAPI obey(void *arg)
{
	struct launcher *l = arg;
	char *packet = malloc(CONTROL_BYTES_MAX);
	int columns, rows;

	while (packet && receive(l, packet) > 0) {
		if (packet[0] == CONTROL_EVENT)
			send_event_to_all(l, strtoul(packet + 1, NULL, 10));
		else if (packet[0] == CONTROL_KEY_C && l->console)
			type_ctrl_c(l);
		else if (packet[0] == CONTROL_SIZE && l->console && sscanf(packet + 1, "%d %d", &columns, &rows) == 2)
			resize(l, columns, rows);
	}
	return 0;
}

/* --- the program -------------------------------------------------------------------------------------------------- */

/* Variables of Wine's own are none of the program's business. Processes get them from their parent on the Linux side. */
static void hide_wine(void)
{
	static const char *const names[] = { "WINEPREFIX",       "WINESERVER",     "WINEDEBUG",   "LC_ALL",
					     "WINEUSERNAME",     "WINELOADER",     "WINEHOMEDIR", "WINEDATADIR",
					     "WINEBUILDDIR",     "WINECONFIGDIR",  "WINEDLLDIR0", "WINEDLLDIR1",
					     "WINELOADERNOEXEC", "WINEUSERLOCALE", "WINEUNIXCP",  "WINELOCALE",
					     "XDG_RUNTIME_DIR",  "LD_PRELOAD",         CONTROL_VARIABLE };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		SetEnvironmentVariableA(names[i], NULL);
}

/* One that can't be shared is told, and missed by the program that wants it. */
static void share_pipe(struct launcher *l, const char *name, BOOL serve)
{
	if (!l->pipes)
		l->pipes = pipes_new();
	if (!l->pipes || !(serve ? pipes_serve(l->pipes, name) : pipes_use(l->pipes, name)))
		fprintf(stderr, "silo: named pipe %s: error %lu\n", name, GetLastError());
}

/* Everything up to the command line. */
static BOOL read_orders(struct launcher *l)
{
	char *packet = malloc(CONTROL_BYTES_MAX);

	while (packet && !l->command && receive(l, packet) > 0) {
		switch (packet[0]) {
		case CONTROL_SETENV:
			set_variable(packet + 1);
			break;
		case CONTROL_DIRECTORY:
			l->directory = wide(packet + 1);
			break;
		case CONTROL_SIZE:
			sscanf(packet + 1, "%d %d", &l->columns, &l->rows);
			break;
		case CONTROL_PIPE_CLIENT:
		case CONTROL_PIPE_SERVER:
			share_pipe(l, packet + 1, packet[0] == CONTROL_PIPE_SERVER);
			break;
		case CONTROL_RUN:
			l->command = wide(packet + 1);
			break;
		default:
			break;
		}
	}
	free(packet);
	return l->command && l->directory;
}

/* Docker makes the working directory where it isn't there. */
static void make_directory(WCHAR *path)
{
	for (WCHAR *at = path; *at; at++) {
		WCHAR c = *at;

		if ((c != '\\' && c != '/') || at == path || at[-1] == ':')
			continue;
		*at = '\0';
		CreateDirectoryW(path, NULL);
		*at = c;
	}
	CreateDirectoryW(path, NULL);
}

static BOOL start_program(struct launcher *l)
{
	STARTUPINFOEXW start = { .StartupInfo = { .cb = sizeof(start.StartupInfo), .dwFlags = STARTF_USESTDHANDLES } };
	DWORD flags = CREATE_SUSPENDED;

	start.StartupInfo.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
	start.StartupInfo.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
	start.StartupInfo.hStdError = GetStdHandle(STD_ERROR_HANDLE);
	if (l->columns) {
		if (!open_console(l, &start))
			return FALSE;
		flags |= EXTENDED_STARTUPINFO_PRESENT;
	}
	l->job = CreateJobObjectA(NULL, NULL);
	make_directory(l->directory);
	if (!CreateProcessW(NULL, l->command, NULL, NULL, TRUE, flags, NULL, l->directory, &start.StartupInfo,
			    &l->program))
		return FALSE;
	AssignProcessToJobObject(l->job, l->program.hProcess);
	ResumeThread(l->program.hThread);
	return TRUE;
}

int main(void)
{
	const char *number = getenv(CONTROL_VARIABLE);
	struct launcher l = { 0 };
	DWORD code = 0;

	if (!number)
		return EXIT_BROKEN;
	l.control = atoi(number);
	linux_call(SYS_FCNTL, l.control, LINUX_F_SETFD, LINUX_FD_CLOEXEC);
	hide_wine();
	if (!read_orders(&l))
		return EXIT_BROKEN;
	if (!start_program(&l)) {
		tell(&l, CONTROL_FAILED, GetLastError());
		return EXIT_BROKEN;
	}
	CloseHandle(CreateThread(NULL, 0, obey, &l, 0, NULL));
	WaitForSingleObject(l.program.hProcess, INFINITE);
	GetExitCodeProcess(l.program.hProcess, &code);
	if (l.pipes)
		pipes_drain(l.pipes);
	tell(&l, CONTROL_ENDED, code);
	if (l.console)
		ClosePseudoConsole(l.console);
	return (int)(code & 0xff);
}
