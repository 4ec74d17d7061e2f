/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* systeminfo: what is true of a container. */
#include <windows.h>

#include <stdio.h>

#define CURRENT_VERSION "Software\\Microsoft\\Windows NT\\CurrentVersion"

static void read_value(const char *name, char *out, DWORD size)
{
	if (RegGetValueA(HKEY_LOCAL_MACHINE, CURRENT_VERSION, name, RRF_RT_REG_SZ, NULL, out, &size))
		out[0] = '\0';
}

int main(void)
{
	char product[128], build[32], host[256] = "";
	MEMORYSTATUSEX memory = { .dwLength = sizeof(memory) };
	DWORD n = sizeof(host);
	SYSTEM_INFO info;

	read_value("ProductName", product, sizeof(product));
	read_value("CurrentBuild", build, sizeof(build));
	GetComputerNameA(host, &n);
	GlobalMemoryStatusEx(&memory);
	GetSystemInfo(&info);
	printf("\nHost Name:                 %s\n", host);
	printf("OS Name:                   Microsoft %s\n", product);
	printf("OS Version:                10.0.%s N/A Build %s\n", build, build);
	printf("OS Manufacturer:           Wine (Silo)\n");
	printf("OS Configuration:          Standalone Server\n");
	printf("System Type:               x64-based PC\n");
	printf("Processor(s):              %lu Processor(s) Installed.\n", info.dwNumberOfProcessors);
	printf("Windows Directory:         C:\\Windows\nSystem Directory:          C:\\Windows\\system32\n");
	printf("Total Physical Memory:     %llu MB\n", memory.ullTotalPhys >> 20);
	printf("Available Physical Memory: %llu MB\n", memory.ullAvailPhys >> 20);
	return 0;
}
