/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tasklist [/v | /svc] [/fi FILTER]... [/fo table|list|csv] [/nh]: Wine's knows neither filters nor Windows' columns. */
#include <windows.h>

#include <psapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tlhelp32.h>

#include "windows/guest/rows.h"

#define FILTERS_MAX 32
#define SERVICES_BYTES_MAX (256 * 1024)

enum { IMAGE, PID, SESSION_NAME, SESSION, MEMORY, STATUS, USER, CPU, TITLE, SERVICES, FIELDS };

static const struct rows_column plain[] = { { "Image Name", 25, FALSE },
					    { "PID", 8, TRUE },
					    { "Session Name", 16, FALSE },
					    { "Session#", 11, TRUE },
					    { "Mem Usage", 12, TRUE } };
static const struct rows_column verbose[] = {
	{ "Image Name", 25, FALSE }, { "PID", 8, TRUE },        { "Session Name", 16, FALSE },
	{ "Session#", 11, TRUE },    { "Mem Usage", 12, TRUE }, { "Status", 15, FALSE },
	{ "User Name", 50, FALSE },  { "CPU Time", 12, TRUE },  { "Window Title", 72, FALSE },
};
static const struct rows_column with_services[] = { { "Image Name", 25, FALSE },
						    { "PID", 8, TRUE },
						    { "Services", 44, FALSE } };

static const struct {
	const char *name;
	int field;
	BOOL number;
} filter_names[] = {
	{ "IMAGENAME", IMAGE, FALSE }, { "PID", PID, TRUE },           { "SESSION", SESSION, TRUE },
	{ "SESSIONNAME", SESSION_NAME, FALSE }, { "MEMUSAGE", MEMORY, TRUE }, { "STATUS", STATUS, FALSE },
	{ "USERNAME", USER, FALSE },   { "CPUTIME", CPU, TRUE },       { "WINDOWTITLE", TITLE, FALSE },
	{ "SERVICES", SERVICES, FALSE },
};

enum { EQ = 1, NE = 2, GT = 4, LT = 8 };

static const struct {
	const char *name;
	int holds; /* EQ, GT, LT: for which outcomes of the comparison */
} operators[] = { { "eq", EQ }, { "ne", NE }, { "gt", GT }, { "lt", LT }, { "ge", GT | EQ }, { "le", LT | EQ } };

struct filter {
	int field, holds;
	BOOL number;
	const char *value;
};

struct task {
	char text[FIELDS][512];
	unsigned long long numbers[FIELDS];
};

struct tasklist {
	struct filter filters[FILTERS_MAX];
	int n;
	BOOL verbose, services;
	struct rows rows;
	ENUM_SERVICE_STATUS_PROCESSA *running;
	DWORD n_running;
};

static _Noreturn void fail(const char *text, const char *what)
{
	fprintf(stderr, "ERROR: %s%s%s%s\nType \"TASKLIST /?\" for usage.\n", text, what ? " - '" : "",
		what ? what : "", what ? "'." : "");
	exit(1);
}

/* --- filters ------------------------------------------------------------------------------------------------------ */

/* "NAME op value", the value with spaces in it where it has some. */
static void add_filter(struct tasklist *t, char *text)
{
	char *name = strtok(text, " "), *op = name ? strtok(NULL, " ") : NULL, *value = op ? strtok(NULL, "") : NULL;
	struct filter f = { .field = -1, .value = value };

	for (size_t i = 0; value && i < sizeof(filter_names) / sizeof(filter_names[0]); i++) {
		if (_stricmp(name, filter_names[i].name) != 0)
			continue;
		f.field = filter_names[i].field;
		f.number = filter_names[i].number;
	}
	for (size_t i = 0; value && i < sizeof(operators) / sizeof(operators[0]); i++)
		if (!_stricmp(op, operators[i].name))
			f.holds = operators[i].holds;
	if (f.field < 0 || !f.holds || (!f.number && f.holds != EQ && f.holds != NE) || t->n == FILTERS_MAX)
		fail("The search filter cannot be recognized.", NULL);
	t->filters[t->n++] = f;
}

/* "12", "1:02:03" */
static unsigned long long filter_number(const char *text)
{
	unsigned long long value = 0, part = 0;

	for (; *text; text++) {
		if (*text == ':') {
			value = (value + part) * 60;
			part = 0;
		} else if (*text >= '0' && *text <= '9') {
			part = part * 10 + (unsigned)(*text - '0');
		}
	}
	return value + part;
}

/* A star at the end stands for anything. */
static BOOL text_equal(const char *text, const char *wanted)
{
	size_t n = strlen(wanted);

	return n && wanted[n - 1] == '*' ? !_strnicmp(text, wanted, n - 1) : !_stricmp(text, wanted);
}

static BOOL passes(const struct tasklist *t, const struct task *task)
{
	for (int i = 0; i < t->n; i++) {
		const struct filter *f = &t->filters[i];
		unsigned long long have = task->numbers[f->field], wanted = filter_number(f->value);
		BOOL equal = f->number ? have == wanted : text_equal(task->text[f->field], f->value);

		if (f->holds == NE ? equal
				   : !((f->holds & EQ && equal) || (f->holds & GT && f->number && have > wanted) ||
				       (f->holds & LT && f->number && have < wanted)))
			return FALSE;
	}
	return TRUE;
}

/* --- what is known of a process ----------------------------------------------------------------------------------- */

static void find_services(struct tasklist *t)
{
	SC_HANDLE manager = OpenSCManagerA(NULL, NULL, SC_MANAGER_ENUMERATE_SERVICE);
	DWORD needed, resume = 0;

	t->running = calloc(1, SERVICES_BYTES_MAX);
	if (!manager || !t->running ||
	    !EnumServicesStatusExA(manager, SC_ENUM_PROCESS_INFO, SERVICE_WIN32 | SERVICE_DRIVER, SERVICE_ACTIVE,
				   (BYTE *)t->running, SERVICES_BYTES_MAX, &needed, &t->n_running, &resume, NULL))
		t->n_running = 0;
}

static void tell_services(const struct tasklist *t, DWORD pid, char *out, size_t size)
{
	out[0] = '\0';
	for (DWORD i = 0; i < t->n_running; i++) {
		size_t n = strlen(out);

		if (t->running[i].ServiceStatusProcess.dwProcessId == pid)
			snprintf(out + n, size - n, "%s%s", n ? ", " : "", t->running[i].lpServiceName);
	}
	if (!out[0])
		snprintf(out, size, "N/A");
}

static void tell_user(HANDLE process, char *out, size_t size)
{
	char name[128], domain[128];
	DWORD n = sizeof(name), m = sizeof(domain), used;
	BYTE buffer[256];
	SID_NAME_USE use;
	HANDLE token;

	snprintf(out, size, "N/A");
	if (!OpenProcessToken(process, TOKEN_QUERY, &token))
		return;
	if (GetTokenInformation(token, TokenUser, buffer, sizeof(buffer), &used) &&
	    LookupAccountSidA(NULL, ((TOKEN_USER *)(void *)buffer)->User.Sid, name, &n, domain, &m, &use))
		snprintf(out, size, "%s\\%s", domain, name);
	CloseHandle(token);
}

static unsigned long long cpu_seconds(HANDLE process)
{
	FILETIME born, ended, kernel, user;

	if (!GetProcessTimes(process, &born, &ended, &kernel, &user))
		return 0;
	return ((((unsigned long long)kernel.dwHighDateTime << 32) + kernel.dwLowDateTime) +
		(((unsigned long long)user.dwHighDateTime << 32) + user.dwLowDateTime)) /
	       10000000;
}

static void examine(const struct tasklist *t, const PROCESSENTRY32 *entry, struct task *task)
{
	PROCESS_MEMORY_COUNTERS memory = { .cb = sizeof(memory) };
	HANDLE process = OpenProcess(PROCESS_QUERY_INFORMATION | PROCESS_VM_READ, FALSE, entry->th32ProcessID);
	unsigned long long cpu;
	DWORD session = 0;
	char number[32];

	memset(task, 0, sizeof(*task));
	if (process)
		GetProcessMemoryInfo(process, &memory, sizeof(memory));
	ProcessIdToSessionId(entry->th32ProcessID, &session);
	cpu = process ? cpu_seconds(process) : 0;
	task->numbers[PID] = entry->th32ProcessID;
	task->numbers[SESSION] = session;
	task->numbers[MEMORY] = memory.WorkingSetSize / 1024;
	task->numbers[CPU] = cpu;
	sprintf(task->text[IMAGE], "%.255s", entry->szExeFile);
	sprintf(task->text[PID], "%lu", entry->th32ProcessID);
	sprintf(task->text[SESSION_NAME], "%s", session ? "Console" : "Services");
	sprintf(task->text[SESSION], "%lu", session);
	sprintf(task->text[MEMORY], "%s K", rows_number(task->numbers[MEMORY], number));
	sprintf(task->text[STATUS], "Running");
	sprintf(task->text[CPU], "%llu:%02llu:%02llu", cpu / 3600, cpu / 60 % 60, cpu % 60);
	sprintf(task->text[TITLE], "N/A");
	if (process)
		tell_user(process, task->text[USER], sizeof(task->text[USER]));
	tell_services(t, entry->th32ProcessID, task->text[SERVICES], sizeof(task->text[SERVICES]));
	CloseHandle(process);
}

/* --- output ------------------------------------------------------------------------------------------------------- */

static void show(struct tasklist *t, const struct task *task)
{
	const char *values[FIELDS];

	for (int i = 0; i < FIELDS; i++)
		values[i] = task->text[i];
	if (t->services)
		values[2] = task->text[SERVICES];
	rows_print(&t->rows, values);
}

static int list(struct tasklist *t)
{
	HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
	PROCESSENTRY32 entry = { .dwSize = sizeof(entry) };
	struct task *task = malloc(sizeof(*task));

	find_services(t);
	for (BOOL more = task && Process32First(snapshot, &entry); more; more = Process32Next(snapshot, &entry)) {
		examine(t, &entry, task);
		if (passes(t, task))
			show(t, task);
	}
	if (!t->rows.printed)
		printf("INFO: No tasks are running which match the specified criteria.\n");
	return 0;
}

static void parse(struct tasklist *t, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *option = argv[i];

		if (!_stricmp(option, "/v"))
			t->verbose = TRUE;
		else if (!_stricmp(option, "/svc"))
			t->services = TRUE;
		else if (!_stricmp(option, "/nh"))
			t->rows.no_header = TRUE;
		else if (!_stricmp(option, "/fi") && i + 1 < argc)
			add_filter(t, argv[++i]);
		else if (!_stricmp(option, "/fo") && i + 1 < argc && rows_parse_format(argv[i + 1], &t->rows.format))
			i++;
		else if (!_stricmp(option, "/fo") && i + 1 < argc)
			fail("Invalid value specified for the /FO option.", NULL);
		else
			fail("Invalid argument/option", option);
	}
	if (t->verbose && t->services)
		fail("Invalid syntax. /V and /SVC options cannot be specified together.", NULL);
}

int main(int argc, char **argv)
{
	struct tasklist *t = calloc(1, sizeof(*t));

	if (!t)
		return 1;
	if (argc > 1 && !strcmp(argv[1], "/?")) {
		printf("\nTASKLIST [/V | /SVC] [/FI filter] [/FO format] [/NH]\n\n"
		       "    /V    what else is known of each task\n    /SVC  the services in each process\n"
		       "    /FI   \"IMAGENAME eq ping.exe\", \"PID gt 100\", \"MEMUSAGE le 5000\", ...: IMAGENAME, PID, SESSION,\n"
		       "          SESSIONNAME, MEMUSAGE, STATUS, USERNAME, CPUTIME, WINDOWTITLE, SERVICES\n"
		       "    /FO   TABLE, LIST or CSV\n    /NH   no column titles\n");
		return 0;
	}
	parse(t, argc, argv);
	t->rows.columns = t->verbose ? verbose : t->services ? with_services : plain;
	t->rows.n = t->verbose ? 9 : t->services ? 3 : 5;
	return list(t);
}
