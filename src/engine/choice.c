/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Choices made at create: the name, the isolation mode. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/create.h"

int create_check_name(const char *name, struct err *e)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t n = strlen(name);
	bool ok = n >= 2 && n <= 255 && strchr(letters, name[0]);

	for (size_t i = 1; ok && i < n; i++)
		ok = strchr(letters, name[i]) || strchr("_.-", name[i]);
	if (ok)
		return 0;
	return err_set(e, ERR_INVALID, 0, "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
		       name);
}

void create_random_name(int attempt, char out[static 64])
{
	static const char *const adjectives[] = {
		"able",	   "amber",  "brave",  "breezy", "bright", "brisk",  "calm",   "candid", "cheery",  "clever", "cosy",
		"crisp",   "curious", "daring", "dapper", "eager",  "earnest", "fair",  "fluent", "frosty",  "gentle", "glad",
		"golden",  "hardy",  "hasty",  "honest", "humble", "jolly",  "keen",   "kind",	 "lively",  "lucid",  "mellow",
		"merry",   "mighty", "modest", "nimble", "noble",  "patient", "placid", "polite", "prompt", "proud",  "quiet",
		"rapid",   "ready",  "robust", "rustic", "serene", "sharp",  "sober",  "sturdy", "subtle",  "sunny",  "swift",
		"tidy",	   "tough",  "vivid",  "wise",	 "witty",
	};
	static const char *const surnames[] = {
		"abel",	    "ampere",  "babbage", "banach",  "bell",	 "bohr",    "boole",   "braille", "cauchy",  "chandra",
		"cori",	    "curie",   "darwin",  "dijkstra", "dirac",	 "einstein", "elion",  "erdos",	  "euler",   "faraday",
		"fermat",   "fourier", "franklin", "galileo", "galois",	 "gauss",   "germain", "goedel",  "hamilton", "hertz",
		"hilbert",  "hopper",  "hubble",  "hypatia", "johnson",	 "joliot",  "kepler",  "knuth",	  "kovalevskaya",
		"lamarr",   "leavitt", "lovelace", "maxwell", "mendel",	 "meitner", "newton",  "noether", "ohm",     "pascal",
		"pasteur",  "planck",  "poincare", "ramanujan", "ritchie", "rubin", "sagan",   "shannon", "tesla",   "turing",
		"volta",    "watt",    "wiles",	  "wu",	     "yalow",
	};
	unsigned int dice[3] = { 0 };

	if (getrandom(dice, sizeof(dice), 0) != (ssize_t)sizeof(dice))
		dice[0] = (unsigned int)attempt;
	snprintf(out, 64, "%s_%s", adjectives[dice[0] % array_len(adjectives)],
		 surnames[dice[1] % array_len(surnames)]);
	if (attempt >= 2)
		snprintf(out + strlen(out), 64 - strlen(out), "%u", dice[2] % (attempt < 5 ? 10 : 1000000));
}

/* --- isolation ------------------------------------------------------------------------------------------------------- */

/* SMBIOS 3.x, 7.4.1 "System Enclosure or Chassis Types": desktops, portables, tablets, convertibles, small PCs. */
static const unsigned char client_chassis[] = { 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 24, 30, 31, 32, 35, 36 };

/* 1 client, 0 something else, -1 not said. machine-info(5). */
static int by_machine_info(const char *text)
{
	static const char *const clients[] = { "desktop", "laptop", "convertible", "tablet", "handset" };
	const char *line = str_starts(text, "CHASSIS=") ? text : strstr(text, "\nCHASSIS=");
	size_t n;

	if (!line)
		return -1;
	line += strcspn(line, "=") + 1;
	line += *line == '"' || *line == '\'';
	n = strcspn(line, "\"'\n \t");
	for (size_t i = 0; i < array_len(clients); i++) {
		if (strlen(clients[i]) == n && strncmp(clients[i], line, n) == 0)
			return 1;
	}
	return 0;
}

bool host_is_client(const char *machine_info, const char *chassis_type, bool is_virtual)
{
	int said = by_machine_info(machine_info);
	long type = strtol(chassis_type, NULL, 10);

	if (said >= 0)
		return said;
	if (is_virtual) /* hypervisors call their machines desktops */
		return false;
	return type > 0 && memchr(client_chassis, (int)type, sizeof(client_chassis)) && type < 256;
}

bool host_is_client_here(void)
{
	autostr info, chassis, cpu;

	str_init(&info, 64 * KIB);
	str_init(&chassis, 64);
	str_init(&cpu, 4 * MIB);
	if (io_read_file(AT_FDCWD, "/etc/machine-info", &info, NULL) < 0)
		str_puts(&info, "");
	if (io_read_file(AT_FDCWD, "/sys/class/dmi/id/chassis_type", &chassis, NULL) < 0)
		str_puts(&chassis, "");
	if (io_read_file(AT_FDCWD, "/proc/cpuinfo", &cpu, NULL) < 0)
		str_puts(&cpu, "");
	return host_is_client(info.s ? info.s : "", chassis.s ? chassis.s : "", cpu.s && strstr(cpu.s, " hypervisor"));
}

const char *isolation_choose(const char *requested, const char *daemon, bool client_machine, struct err *e)
{
	if (requested && *requested && strcasecmp(requested, "default") != 0) {
		if (strcasecmp(requested, "process") == 0)
			return "process";
		if (strcasecmp(requested, "hyperv") == 0)
			return "hyperv";
		err_set(e, ERR_INVALID, 0, "invalid isolation (%s): Silo supports 'default', 'process', or 'hyperv'",
			requested);
		return NULL;
	}
	if (daemon)
		return daemon;
	return client_machine ? "hyperv" : "process";
}
