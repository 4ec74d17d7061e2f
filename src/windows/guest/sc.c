/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sc: services of this container, in Windows' words. Wine's can't list them and knows no more than half of the rest. */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_BYTES_MAX (256 * 1024)
#define CONFIG_BYTES_MAX 8192

struct word {
	const char *name;
	DWORD value;
};

#define END_OF_WORDS { NULL, 0 }

static const struct word types[] = { { "own", SERVICE_WIN32_OWN_PROCESS },
				     { "share", SERVICE_WIN32_SHARE_PROCESS },
				     { "kernel", SERVICE_KERNEL_DRIVER },
				     { "filesys", SERVICE_FILE_SYSTEM_DRIVER },
				     { "interact", SERVICE_INTERACTIVE_PROCESS | SERVICE_WIN32_OWN_PROCESS },
				     END_OF_WORDS };
static const struct word starts[] = { { "boot", SERVICE_BOOT_START },     { "system", SERVICE_SYSTEM_START },
				      { "auto", SERVICE_AUTO_START },     { "demand", SERVICE_DEMAND_START },
				      { "disabled", SERVICE_DISABLED },   { "delayed-auto", SERVICE_AUTO_START },
				      END_OF_WORDS };
static const struct word errors[] = { { "ignore", SERVICE_ERROR_IGNORE },
				      { "normal", SERVICE_ERROR_NORMAL },
				      { "severe", SERVICE_ERROR_SEVERE },
				      { "critical", SERVICE_ERROR_CRITICAL },
				      END_OF_WORDS };
static const struct word listed_types[] = { { "driver", SERVICE_DRIVER },
					    { "service", SERVICE_WIN32 },
					    { "all", SERVICE_WIN32 | SERVICE_DRIVER },
					    END_OF_WORDS };
static const struct word listed_states[] = {
	{ "active", SERVICE_ACTIVE }, { "inactive", SERVICE_INACTIVE }, { "all", SERVICE_STATE_ALL }, END_OF_WORDS
};

static const char *const state_names[] = { "",        "STOPPED",          "START_PENDING", "STOP_PENDING",
					   "RUNNING", "CONTINUE_PENDING", "PAUSE_PENDING", "PAUSED" };
static const char *const start_names[] = { "BOOT_START", "SYSTEM_START", "AUTO_START", "DEMAND_START", "DISABLED" };
static const char *const error_names[] = { "IGNORE", "NORMAL", "SEVERE", "CRITICAL" };

/* Windows' words for a type; others are numbers only. */
static const struct word type_names[] = { { "KERNEL_DRIVER", SERVICE_KERNEL_DRIVER },
					  { "FILE_SYSTEM_DRIVER", SERVICE_FILE_SYSTEM_DRIVER },
					  { "WIN32_OWN_PROCESS", SERVICE_WIN32_OWN_PROCESS },
					  { "WIN32_SHARE_PROCESS", SERVICE_WIN32_SHARE_PROCESS },
					  { "WIN32", SERVICE_WIN32 },
					  END_OF_WORDS };

/* What create and config are told, as NAME= VALUE or NAME=VALUE. */
struct settings {
	const char *type, *start, *error, *path, *group, *depend, *user, *display, *password, *tag, *state;
};

/* --- words -------------------------------------------------------------------------------------------------------- */

static int fail(const char *where, DWORD error)
{
	char text[512] = "";

	FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, error, 0, text, sizeof(text),
		       NULL);
	printf("[SC] %s FAILED %lu:\n\n%s%s\n", where, error, text, text[0] ? "" : "\n");
	return (int)error;
}

static DWORD word_value(const struct word *words, const char *text, const char *what)
{
	for (; words->name; words++)
		if (!_stricmp(words->name, text))
			return words->value;
	printf("ERROR:  Invalid %s= field\n", what);
	exit(ERROR_INVALID_COMMAND_LINE);
}

/* Names separated by slashes, as the service manager wants them: each with its end. */
static char *dependencies(const char *text)
{
	char *list = calloc(1, strlen(text) + 2);

	if (!list)
		exit(ERROR_OUTOFMEMORY);
	strcpy(list, text);
	for (char *at = list; *at; at++)
		if (*at == '/')
			*at = '\0';
	return list;
}

static void parse_settings(struct settings *s, int argc, char **argv)
{
	const struct {
		const char *name;
		const char **to;
	} names[] = {
		{ "type=", &s->type },     { "start=", &s->start },   { "error=", &s->error },
		{ "binpath=", &s->path },  { "group=", &s->group },   { "depend=", &s->depend },
		{ "obj=", &s->user },      { "tag=", &s->tag },       { "displayname=", &s->display },
		{ "password=", &s->password }, { "state=", &s->state },
	};

	for (int i = 0; i < argc; i++) {
		size_t k = 0, n = sizeof(names) / sizeof(names[0]);

		while (k < n && _strnicmp(argv[i], names[k].name, strlen(names[k].name)) != 0)
			k++;
		if (k == n || (!argv[i][strlen(names[k].name)] && i + 1 == argc)) {
			printf("ERROR:  Invalid Option\n");
			exit(ERROR_INVALID_COMMAND_LINE);
		}
		*names[k].to = argv[i][strlen(names[k].name)] ? argv[i] + strlen(names[k].name) : argv[++i];
	}
}

/* --- showing ------------------------------------------------------------------------------------------------------ */

static void show_type(DWORD type)
{
	const struct word *w = type_names;

	while (w->name && w->value != (type & (SERVICE_WIN32 | SERVICE_DRIVER)))
		w++;
	printf("        TYPE               : %lx  %s %s\n", type, w->name ? w->name : "",
	       type & SERVICE_INTERACTIVE_PROCESS ? "(interactive)" : "");
}

static void show_status(const char *name, const char *display, const SERVICE_STATUS_PROCESS *s, BOOL extended)
{
	DWORD state = s->dwCurrentState <= SERVICE_PAUSED ? s->dwCurrentState : 0;

	printf("\nSERVICE_NAME: %s \n", name);
	if (display)
		printf("DISPLAY_NAME: %s\n", display);
	show_type(s->dwServiceType);
	printf("        STATE              : %lu  %s \n", state, state_names[state]);
	printf("                                (%s, %s, %s)\n",
	       s->dwControlsAccepted & SERVICE_ACCEPT_STOP ? "STOPPABLE" : "NOT_STOPPABLE",
	       s->dwControlsAccepted & SERVICE_ACCEPT_PAUSE_CONTINUE ? "PAUSABLE" : "NOT_PAUSABLE",
	       s->dwControlsAccepted & SERVICE_ACCEPT_SHUTDOWN ? "ACCEPTS_SHUTDOWN" : "IGNORES_SHUTDOWN");
	printf("        WIN32_EXIT_CODE    : %lu  (0x%lx)\n", s->dwWin32ExitCode, s->dwWin32ExitCode);
	printf("        SERVICE_EXIT_CODE  : %lu  (0x%lx)\n", s->dwServiceSpecificExitCode,
	       s->dwServiceSpecificExitCode);
	printf("        CHECKPOINT         : 0x%lx\n        WAIT_HINT          : 0x%lx\n", s->dwCheckPoint,
	       s->dwWaitHint);
	if (extended)
		printf("        PID                : %lu\n        FLAGS              : %s\n", s->dwProcessId,
		       s->dwServiceFlags & SERVICE_RUNS_IN_SYSTEM_PROCESS ? "RUNS_IN_SYSTEM_PROCESS" : "");
}

static int show_one(SC_HANDLE service, const char *name, BOOL extended, const char *where)
{
	SERVICE_STATUS_PROCESS status;
	DWORD n;

	if (!QueryServiceStatusEx(service, SC_STATUS_PROCESS_INFO, (BYTE *)&status, sizeof(status), &n))
		return fail(where, GetLastError());
	show_status(name, NULL, &status, extended);
	return 0;
}

static int list(SC_HANDLE manager, int argc, char **argv, BOOL extended)
{
	ENUM_SERVICE_STATUS_PROCESSA *found = malloc(LIST_BYTES_MAX);
	struct settings s = { .type = "service", .state = "active" };
	DWORD needed, n = 0, resume = 0;

	parse_settings(&s, argc, argv);
	if (!found || !EnumServicesStatusExA(manager, SC_ENUM_PROCESS_INFO, word_value(listed_types, s.type, "type"),
					     word_value(listed_states, s.state, "state"), (BYTE *)found, LIST_BYTES_MAX,
					     &needed, &n, &resume, NULL))
		return fail("EnumServicesStatus", GetLastError());
	for (DWORD i = 0; i < n; i++)
		show_status(found[i].lpServiceName, found[i].lpDisplayName, &found[i].ServiceStatusProcess, extended);
	return 0;
}

static int query(SC_HANDLE manager, SC_HANDLE service, int argc, char **argv)
{
	BOOL extended = !_stricmp(argv[1], "queryex");

	if (argc < 3 || strchr(argv[2], '='))
		return list(manager, argc - 2, argv + 2, extended);
	return show_one(service, argv[2], extended, "QueryServiceStatus");
}

static int show_config(SC_HANDLE manager, SC_HANDLE service, int argc, char **argv)
{
	QUERY_SERVICE_CONFIGA *c = malloc(CONFIG_BYTES_MAX);
	const char *at;
	DWORD n;

	if (!c || !QueryServiceConfigA(service, c, CONFIG_BYTES_MAX, &n))
		return fail("QueryServiceConfig", GetLastError());
	printf("[SC] QueryServiceConfig SUCCESS\n\nSERVICE_NAME: %s\n", argv[2]);
	show_type(c->dwServiceType);
	printf("        START_TYPE         : %lu   %s\n", c->dwStartType,
	       c->dwStartType <= SERVICE_DISABLED ? start_names[c->dwStartType] : "");
	printf("        ERROR_CONTROL      : %lu   %s\n", c->dwErrorControl,
	       c->dwErrorControl <= SERVICE_ERROR_CRITICAL ? error_names[c->dwErrorControl] : "");
	printf("        BINARY_PATH_NAME   : %s\n        LOAD_ORDER_GROUP   : %s\n        TAG                : %lu\n",
	       c->lpBinaryPathName, c->lpLoadOrderGroup ? c->lpLoadOrderGroup : "", c->dwTagId);
	printf("        DISPLAY_NAME       : %s\n        DEPENDENCIES       : ", c->lpDisplayName);
	for (at = c->lpDependencies; at && *at; at += strlen(at) + 1)
		printf("%s%s\n", at == c->lpDependencies ? "" : "                           : ", at);
	printf("%s        SERVICE_START_NAME : %s\n", c->lpDependencies && *c->lpDependencies ? "" : "\n",
	       c->lpServiceStartName);
	return 0;
}

static int show_description(SC_HANDLE manager, SC_HANDLE service, int argc, char **argv)
{
	SERVICE_DESCRIPTIONA *d = calloc(1, CONFIG_BYTES_MAX);
	DWORD n;

	if (!d || !QueryServiceConfig2A(service, SERVICE_CONFIG_DESCRIPTION, (BYTE *)d, CONFIG_BYTES_MAX, &n))
		return fail("QueryServiceConfig2", GetLastError());
	printf("[SC] QueryServiceConfig2 SUCCESS\n\nSERVICE_NAME: %s\nDESCRIPTION:  %s\n", argv[2],
	       d->lpDescription ? d->lpDescription : "");
	return 0;
}

/* --- changing ----------------------------------------------------------------------------------------------------- */

static int create(SC_HANDLE manager, SC_HANDLE service, int argc, char **argv)
{
	struct settings s = { .type = "own", .start = "demand", .error = "normal" };

	parse_settings(&s, argc - 3, argv + 3);
	if (!s.path) {
		printf("ERROR:  binPath= is missing\n");
		return ERROR_INVALID_COMMAND_LINE;
	}
	service = CreateServiceA(manager, argv[2], s.display ? s.display : argv[2], SERVICE_ALL_ACCESS,
				 word_value(types, s.type, "type"), word_value(starts, s.start, "start"),
				 word_value(errors, s.error, "error"), s.path, s.group, NULL,
				 s.depend ? dependencies(s.depend) : NULL, s.user, s.password);
	if (!service)
		return fail("CreateService", GetLastError());
	printf("[SC] CreateService SUCCESS\n");
	return 0;
}

static int configure(SC_HANDLE manager, SC_HANDLE service, int argc, char **argv)
{
	struct settings s = { 0 };

	parse_settings(&s, argc - 3, argv + 3);
	if (!ChangeServiceConfigA(service, s.type ? word_value(types, s.type, "type") : SERVICE_NO_CHANGE,
				  s.start ? word_value(starts, s.start, "start") : SERVICE_NO_CHANGE,
				  s.error ? word_value(errors, s.error, "error") : SERVICE_NO_CHANGE, s.path, s.group,
				  NULL, s.depend ? dependencies(s.depend) : NULL, s.user, s.password, s.display))
		return fail("ChangeServiceConfig", GetLastError());
	printf("[SC] ChangeServiceConfig SUCCESS\n");
	return 0;
}

static int describe(SC_HANDLE manager, SC_HANDLE service, int argc, char **argv)
{
	SERVICE_DESCRIPTIONA d = { .lpDescription = argc > 3 ? argv[3] : "" };

	if (!ChangeServiceConfig2A(service, SERVICE_CONFIG_DESCRIPTION, &d))
		return fail("ChangeServiceConfig2", GetLastError());
	printf("[SC] ChangeServiceConfig2 SUCCESS\n");
	return 0;
}

static int start(SC_HANDLE manager, SC_HANDLE service, int argc, char **argv)
{
	if (!StartServiceA(service, (DWORD)argc - 3, (const char **)(argv + 3)))
		return fail("StartService", GetLastError());
	return show_one(service, argv[2], TRUE, "StartService");
}

static int control(SC_HANDLE manager, SC_HANDLE service, int argc, char **argv)
{
	static const struct word controls[] = { { "stop", SERVICE_CONTROL_STOP },
						{ "pause", SERVICE_CONTROL_PAUSE },
						{ "continue", SERVICE_CONTROL_CONTINUE },
						{ "interrogate", SERVICE_CONTROL_INTERROGATE },
						END_OF_WORDS };
	SERVICE_STATUS ignored;

	if (!ControlService(service, word_value(controls, argv[1], "control"), &ignored))
		return fail("ControlService", GetLastError());
	return show_one(service, argv[2], FALSE, "ControlService");
}

static int delete (SC_HANDLE manager, SC_HANDLE service, int argc, char **argv)
{
	if (!DeleteService(service))
		return fail("DeleteService", GetLastError());
	printf("[SC] DeleteService SUCCESS\n");
	return 0;
}

static const struct command {
	const char *name;
	DWORD access; /* to the service; 0 = it isn't opened */
	int (*run)(SC_HANDLE manager, SC_HANDLE service, int argc, char **argv);
} commands[] = {
	{ "query", SERVICE_QUERY_STATUS, query },
	{ "queryex", SERVICE_QUERY_STATUS, query },
	{ "qc", SERVICE_QUERY_CONFIG, show_config },
	{ "qdescription", SERVICE_QUERY_CONFIG, show_description },
	{ "create", 0, create },
	{ "config", SERVICE_CHANGE_CONFIG, configure },
	{ "description", SERVICE_CHANGE_CONFIG, describe },
	{ "start", SERVICE_START | SERVICE_QUERY_STATUS, start },
	{ "stop", SERVICE_STOP | SERVICE_QUERY_STATUS, control },
	{ "pause", SERVICE_PAUSE_CONTINUE | SERVICE_QUERY_STATUS, control },
	{ "continue", SERVICE_PAUSE_CONTINUE | SERVICE_QUERY_STATUS, control },
	{ "interrogate", SERVICE_INTERROGATE | SERVICE_QUERY_STATUS, control },
	{ "delete", DELETE, delete },
};

static int run(const struct command *c, int argc, char **argv)
{
	BOOL lists = c->run == query && (argc < 3 || strchr(argv[2], '='));
	SC_HANDLE manager = OpenSCManagerA(
		NULL, NULL, c->access ? SC_MANAGER_CONNECT | SC_MANAGER_ENUMERATE_SERVICE : SC_MANAGER_CREATE_SERVICE);
	SC_HANDLE service = NULL;

	if (!manager)
		return fail("OpenSCManager", GetLastError());
	if (argc < 3 && !lists) {
		printf("ERROR:  the name of a service is missing\n");
		return ERROR_INVALID_COMMAND_LINE;
	}
	if (c->access && !lists) {
		service = OpenServiceA(manager, argv[2], c->access);
		if (!service)
			return fail(c->run == query ? "EnumQueryServicesStatus:OpenService" : "OpenService",
				    GetLastError());
	}
	return c->run(manager, service, argc, argv);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!_stricmp(argv[1], commands[i].name))
			return run(&commands[i], argc, argv);
	if (argc > 1)
		printf("\n*** Unrecognized Command ***\n");
	printf("USAGE:\n        sc [command] [service name] <option1> <option2>...\n\nCommands:");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		printf(" %s", commands[i].name);
	printf("\n");
	return argc > 1 ? ERROR_INVALID_COMMAND_LINE : 0;
}
