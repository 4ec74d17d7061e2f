/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* systeminfo [/fo table|list|csv] [/nh]: what is true of a container. */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "windows/guest/rows.h"

#define CURRENT_VERSION "Software\\Microsoft\\Windows NT\\CurrentVersion"
#define PROCESSOR "Hardware\\Description\\System\\CentralProcessor\\0"
#define LABEL_WIDTH 26
#define ROWS_MAX 32

struct info {
	struct rows_column labels[ROWS_MAX];
	char text[ROWS_MAX][256];
	int n;
};

static const char *read_value(const char *key, const char *name, char out[static 256])
{
	DWORD size = 256;

	if (RegGetValueA(HKEY_LOCAL_MACHINE, key, name, RRF_RT_REG_SZ, NULL, out, &size))
		out[0] = '\0';
	return out;
}

static __attribute__((format(printf, 3, 4))) void add(struct info *i, const char *label, const char *format, ...)
{
	va_list args;

	if (i->n == ROWS_MAX)
		return;
	va_start(args, format);
	vsnprintf(i->text[i->n], sizeof(i->text[0]), format, args);
	va_end(args);
	i->labels[i->n] = (struct rows_column){ label, (int)max(strlen(label), strlen(i->text[i->n])), FALSE };
	i->n++;
}

static void add_system(struct info *i)
{
	char value[256], build[256], host[256] = "";
	time_t boot = time(NULL) - (time_t)(GetTickCount64() / 1000);
	DWORD n = sizeof(host);

	GetComputerNameA(host, &n);
	read_value(CURRENT_VERSION, "CurrentBuild", build);
	add(i, "Host Name", "%s", host);
	add(i, "OS Name", "Microsoft %s", read_value(CURRENT_VERSION, "ProductName", value));
	add(i, "OS Version", "10.0.%s N/A Build %s", build, build);
	add(i, "OS Manufacturer", "Wine (Silo)");
	add(i, "OS Configuration", "Standalone Server");
	add(i, "OS Build Type", "Multiprocessor Free");
	strftime(value, sizeof(value), "%m/%d/%Y, %I:%M:%S %p", localtime(&boot));
	add(i, "System Boot Time", "%s", value);
}

static void add_machine(struct info *i)
{
	char value[256], number[32];
	MEMORYSTATUSEX memory = { .dwLength = sizeof(memory) };
	TIME_ZONE_INFORMATION zone;
	SYSTEM_INFO info;

	GlobalMemoryStatusEx(&memory);
	GetSystemInfo(&info);
	GetTimeZoneInformation(&zone);
	add(i, "System Type", "x64-based PC");
	add(i, "Processor(s)", "%lu Processor(s) Installed.", info.dwNumberOfProcessors);
	add(i, "Processor", "%s", read_value(PROCESSOR, "ProcessorNameString", value));
	add(i, "Windows Directory", "C:\\Windows");
	add(i, "System Directory", "C:\\Windows\\system32");
	add(i, "Time Zone", "%ls", zone.StandardName);
	add(i, "Total Physical Memory", "%s MB", rows_number(memory.ullTotalPhys >> 20, number));
	add(i, "Available Physical Memory", "%s MB", rows_number(memory.ullAvailPhys >> 20, number));
	add(i, "Virtual Memory: Max Size", "%s MB", rows_number(memory.ullTotalPageFile >> 20, number));
	add(i, "Virtual Memory: Available", "%s MB", rows_number(memory.ullAvailPageFile >> 20, number));
	add(i, "Virtual Memory: In Use", "%s MB",
	    rows_number((memory.ullTotalPageFile - memory.ullAvailPageFile) >> 20, number));
	add(i, "Domain", "WORKGROUP");
	add(i, "Hotfix(s)", "N/A");
}

int main(int argc, char **argv)
{
	struct info *info = calloc(1, sizeof(*info));
	const char *values[ROWS_MAX];
	struct rows r = { .format = ROWS_LIST };

	if (!info)
		return 1;
	for (int i = 1; i < argc; i++) {
		if (!_stricmp(argv[i], "/nh")) {
			r.no_header = TRUE;
		} else if (!_stricmp(argv[i], "/fo") && i + 1 < argc && rows_parse_format(argv[i + 1], &r.format)) {
			i++;
		} else {
			fprintf(stderr, "ERROR: Invalid argument/option - '%s'.\nType \"SYSTEMINFO /?\" for usage.\n",
				argv[i]);
			return 1;
		}
	}
	add_system(info);
	add_machine(info);
	if (r.format == ROWS_LIST) {
		printf("\n");
		for (int i = 0; i < info->n; i++)
			printf("%s:%*s%s\n", info->labels[i].title,
			       max(1, LABEL_WIDTH - (int)strlen(info->labels[i].title)), "", info->text[i]);
		return 0;
	}
	for (int i = 0; i < info->n; i++)
		values[i] = info->text[i];
	r.columns = info->labels;
	r.n = info->n;
	rows_print(&r, values);
	return 0;
}
