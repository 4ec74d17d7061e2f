/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* net start, stop, user, localgroup. A container has the accounts that its engine gives it; none can be made. */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_BYTES_MAX (256 * 1024)
#define POLL_MS 50
#define WAIT_MS 60000
#define LINE "-------------------------------------------------------------------------------\n"

enum {
	NERR_NOT_STARTED = 3521,
	NERR_ALREADY_STARTED = 2182,
	NERR_NO_SERVICE = 2185,
	NERR_NO_USER = 2221,
	NERR_NO_GROUP = 1376
};

/* The accounts that `docker run --user` knows. */
static const struct {
	const char *name, *comment, *groups;
} users[] = { { "ContainerAdministrator", "Administrator of this container", "*Administrators" },
	      { "ContainerUser", "User of this container", "*Users" } };

static int failed(const char *text, int help)
{
	fprintf(stderr, "%s\n\nMore help is available by typing NET HELPMSG %d.\n\n", text, help);
	return 2;
}

static int done(void)
{
	printf("The command completed successfully.\n\n");
	return 0;
}

/* --- services ----------------------------------------------------------------------------------------------------- */

static int list_services(SC_HANDLE manager)
{
	ENUM_SERVICE_STATUSA *found = malloc(LIST_BYTES_MAX);
	DWORD needed, n = 0, resume = 0;

	if (!found ||
	    !EnumServicesStatusA(manager, SERVICE_WIN32, SERVICE_ACTIVE, found, LIST_BYTES_MAX, &needed, &n, &resume))
		return failed("The services can't be listed.", (int)GetLastError());
	printf("These Windows services are started:\n\n");
	for (DWORD i = 0; i < n; i++)
		printf("   %s\n", found[i].lpDisplayName);
	printf("\n");
	return done();
}

/* By its name or the one that is shown. */
static SC_HANDLE open_service(SC_HANDLE manager, const char *name, DWORD access, char *shown, DWORD size)
{
	char key[256];
	DWORD n = sizeof(key);
	SC_HANDLE service = OpenServiceA(manager, name, access);

	if (!service && GetServiceKeyNameA(manager, name, key, &n))
		service = OpenServiceA(manager, key, access);
	else
		snprintf(key, sizeof(key), "%s", name);
	if (!GetServiceDisplayNameA(manager, key, shown, &size))
		snprintf(shown, size, "%s", name);
	return service;
}

static DWORD wait_while(SC_HANDLE service, DWORD pending)
{
	SERVICE_STATUS s = { .dwCurrentState = pending };

	for (int waited = 0; waited < WAIT_MS && s.dwCurrentState == pending; waited += POLL_MS) {
		if (!QueryServiceStatus(service, &s))
			return 0;
		if (s.dwCurrentState == pending) {
			printf(".");
			fflush(stdout);
			Sleep(POLL_MS);
		}
	}
	return s.dwCurrentState;
}

static int start(SC_HANDLE manager, const char *name)
{
	char shown[256];
	SC_HANDLE service = open_service(manager, name, SERVICE_START | SERVICE_QUERY_STATUS, shown, sizeof(shown));

	if (!service)
		return failed("The service name is invalid.", NERR_NO_SERVICE);
	printf("The %s service is starting.", shown);
	fflush(stdout);
	if (!StartServiceA(service, 0, NULL)) {
		DWORD error = GetLastError();

		printf("\n");
		if (error == ERROR_SERVICE_ALREADY_RUNNING)
			return failed("The requested service has already been started.", NERR_ALREADY_STARTED);
		fprintf(stderr, "System error %lu has occurred.\n\n", error);
		return 2;
	}
	if (wait_while(service, SERVICE_START_PENDING) != SERVICE_RUNNING) {
		printf("\n");
		fprintf(stderr, "The %s service could not be started.\n", shown);
		return 2;
	}
	printf("\nThe %s service was started successfully.\n\n", shown);
	return 0;
}

static int stop(SC_HANDLE manager, const char *name)
{
	char shown[256];
	SC_HANDLE service = open_service(manager, name, SERVICE_STOP | SERVICE_QUERY_STATUS, shown, sizeof(shown));
	SERVICE_STATUS s;

	if (!service)
		return failed("The service name is invalid.", NERR_NO_SERVICE);
	if (!ControlService(service, SERVICE_CONTROL_STOP, &s)) {
		char text[320];

		if (GetLastError() != ERROR_SERVICE_NOT_ACTIVE) {
			fprintf(stderr, "System error %lu has occurred.\n\n", GetLastError());
			return 2;
		}
		snprintf(text, sizeof(text), "The %s service is not started.", shown);
		return failed(text, NERR_NOT_STARTED);
	}
	printf("The %s service is stopping.", shown);
	if (wait_while(service, SERVICE_STOP_PENDING) != SERVICE_STOPPED) {
		printf("\n");
		fprintf(stderr, "The %s service could not be stopped.\n", shown);
		return 2;
	}
	printf("\nThe %s service was stopped successfully.\n\n", shown);
	return 0;
}

static int services(int argc, char **argv)
{
	SC_HANDLE manager = OpenSCManagerA(NULL, NULL, SC_MANAGER_CONNECT | SC_MANAGER_ENUMERATE_SERVICE);
	BOOL starts = !_stricmp(argv[1], "start");

	if (!manager)
		return failed("The service manager can't be reached.", (int)GetLastError());
	if (argc < 3)
		return starts ? list_services(manager)
			      : failed("The syntax of this command is:\n\nNET STOP service", 0);
	return starts ? start(manager, argv[2]) : stop(manager, argv[2]);
}

/* --- accounts ----------------------------------------------------------------------------------------------------- */

static const char *host_name(char out[static 64])
{
	DWORD n = 64;

	return GetComputerNameA(out, &n) ? out : "";
}

static BOOL wants_change(int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		if (argv[i][0] == '/' || i > 2)
			return TRUE;
	return FALSE;
}

static int refuse_change(const char *what)
{
	fprintf(stderr,
		"net %s: accounts can't be made or changed in the Windows base of Silo, which is made from Wine: "
		"a container has ContainerAdministrator and ContainerUser.\n",
		what);
	return 2;
}

static int show_user(const char *name)
{
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		if (_stricmp(users[i].name, name) != 0)
			continue;
		printf("User name                    %s\nFull Name                    \nComment                      %s\n"
		       "Account active               Yes\nAccount expires              Never\n\n"
		       "Local Group Memberships      %s\nGlobal Group memberships     *None\n",
		       users[i].name, users[i].comment, users[i].groups);
		return done();
	}
	return failed("The user name could not be found.", NERR_NO_USER);
}

static int user(int argc, char **argv)
{
	char host[64];

	if (wants_change(argc, argv))
		return refuse_change("user");
	if (argc > 2)
		return show_user(argv[2]);
	printf("\nUser accounts for \\\\%s\n\n" LINE, host_name(host));
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
		printf("%-25s", users[i].name);
	printf("\n");
	return done();
}

static int localgroup(int argc, char **argv)
{
	char host[64];

	if (wants_change(argc, argv))
		return refuse_change("localgroup");
	if (argc < 3) {
		printf("\nAliases for \\\\%s\n\n" LINE "*Administrators\n*Users\n", host_name(host));
		return done();
	}
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		if (_stricmp(users[i].groups + 1, argv[2]) != 0)
			continue;
		printf("Alias name     %s\nComment        \n\nMembers\n\n" LINE "%s\n", users[i].groups + 1, users[i].name);
		return done();
	}
	return failed("The specified local group does not exist.", NERR_NO_GROUP);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = { { "start", services }, { "stop", services }, { "user", user }, { "localgroup", localgroup } };

	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!_stricmp(argv[1], commands[i].name))
			return commands[i].run(argc, argv);
	printf("The syntax of this command is:\n\nNET\n    [ LOCALGROUP | START | STOP | USER ]\n\n");
	if (argc > 1)
		fprintf(stderr, "net %s: not in the Windows base of Silo, which is made from Wine.\n", argv[1]);
	return argc > 1;
}
