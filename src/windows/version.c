/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/version.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define CURRENT_VERSION "Software\\Microsoft\\Windows NT\\CurrentVersion"
#define CONTROL_SET "System\\ControlSet001"

static const struct windows_version versions[] = {
	{ 14393, "ltsc2016", "Windows Server 2016 Datacenter", "1607", NULL },
	{ 17763, "ltsc2019", "Windows Server 2019 Datacenter", "1809", NULL },
	{ 20348, "ltsc2022", "Windows Server 2022 Datacenter", "2009", "21H2" },
	{ 25398, "23h2", "Windows Server Datacenter", "2009", "23H2" },
	{ 26100, "ltsc2025", "Windows Server 2025 Datacenter", "2009", "24H2" },
};

/* The release under which this build was known before it had a year, and the number itself. */
static const struct {
	const char *tag;
	unsigned build;
} other_tags[] = { { "1809", 17763 }, { "10.0.17763.1", 17763 }, { "10.0.20348.1", 20348 }, { "10.0.26100.1", 26100 } };

const struct windows_version *windows_version_by_build(unsigned build)
{
	for (size_t i = 0; i < array_len(versions); i++)
		if (versions[i].build == build)
			return &versions[i];
	return NULL;
}

const struct windows_version *windows_version_at(size_t i)
{
	return i < array_len(versions) ? &versions[i] : NULL;
}

const struct windows_version *windows_version_by_tag(const char *tag)
{
	size_t n = strlen(tag) - (str_ends(tag, "-amd64") ? strlen("-amd64") : 0);

	for (size_t i = 0; i < array_len(other_tags); i++)
		if (strlen(other_tags[i].tag) == n && !strncmp(other_tags[i].tag, tag, n))
			return windows_version_by_build(other_tags[i].build);
	for (size_t i = 0; i < array_len(versions); i++)
		if (strlen(versions[i].name) == n && !strncmp(versions[i].name, tag, n))
			return &versions[i];
	return NULL;
}

void windows_version_apply(struct registry *system, const struct windows_version *v, bool nano)
{
	char build[16], revision[24];

	snprintf(build, sizeof(build), "%u", v->build);
	snprintf(revision, sizeof(revision), "dword:%08x", WINDOWS_REVISION);
	const char *const strings[][2] = {
		{ "CurrentBuild", build },
		{ "CurrentBuildNumber", build },
		{ "CurrentVersion", "6.3" },
		{ "CSDVersion", "" },
		{ "ProductName", v->product },
		{ "EditionID", nano ? "ServerDatacenterNano" : "ServerDatacenter" },
		{ "InstallationType", nano ? "Nano Server" : "Server Core" },
		{ "ReleaseId", v->release },
	};

	for (size_t i = 0; i < array_len(strings); i++)
		registry_set_string(system, CURRENT_VERSION, strings[i][0], strings[i][1]);
	if (v->display)
		registry_set_string(system, CURRENT_VERSION, "DisplayVersion", v->display);
	else
		registry_set(system, CURRENT_VERSION, "DisplayVersion", NULL);
	registry_set(system, CURRENT_VERSION, "CurrentMajorVersionNumber", "dword:0000000a");
	registry_set(system, CURRENT_VERSION, "CurrentMinorVersionNumber", "dword:00000000");
	registry_set(system, CURRENT_VERSION, "UBR", revision);
	registry_set_string(system, CONTROL_SET "\\Control\\ProductOptions", "ProductType", "ServerNT");
	registry_set(system, CONTROL_SET "\\Control\\Windows", "CSDVersion", "dword:00000000");
}

int windows_version_parse(const char *os_version, unsigned *build, unsigned *revision)
{
	char rest;

	*revision = 0;
	if (sscanf(os_version, "10.0.%u.%u%c", build, revision, &rest) == 2)
		return 0;
	return sscanf(os_version, "10.0.%u%c", build, &rest) == 1 ? 0 : -1;
}

/* The oldest image that a host runs process-isolated: the long-term release before it, and none before 20348. */
static unsigned process_floor(unsigned host)
{
	static const unsigned releases[] = { 26100, 20348 };

	for (size_t i = 0; i < array_len(releases); i++)
		if (releases[i] < host)
			return releases[i];
	return host;
}

int windows_version_fits(const char *host, const char *image, bool hyperv, struct err *e)
{
	unsigned host_build, host_revision, build, revision;
	bool fits;

	if (windows_version_parse(host, &host_build, &host_revision))
		return err_set(e, ERR_INVALID, 0, "windows-host-version: \"%.64s\" is no version such as 10.0.20348",
			       host);
	if (windows_version_parse(image, &build, &revision))
		return err_set(e, ERR_INVALID, 0, "invalid version of Windows: \"%.64s\"", image);
	if (build > host_build)
		return err_set(e, ERR_INVALID, 0,
			       "a Windows version 10.0.%u-based image is incompatible with a 10.0.%u host", build,
			       host_build);
	if (hyperv)
		return 0;
	fits = host_build < 20348 ? build == host_build : build >= process_floor(host_build);
	if (host_build == 14393 && host_revision && revision != host_revision)
		fits = false;
	return fits ? 0
		    : err_set(e, ERR_INVALID, 0,
			      "The container operating system does not match the host operating system. (0xc0370101)");
}
