/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* getmac [/fo table|list|csv] [/nh] [/v]: the network cards of the container. */
#include <winsock2.h>

#include <iphlpapi.h>
#include <stdio.h>
#include <stdlib.h>

#include "windows/guest/rows.h"

#define ADAPTERS_BYTES 65536

static const struct rows_column plain[] = { { "Physical Address", 19, FALSE }, { "Transport Name", 58, FALSE } };
static const struct rows_column verbose[] = { { "Connection Name", 15, FALSE },
					      { "Network Adapter", 15, FALSE },
					      { "Physical Address", 19, FALSE },
					      { "Transport Name", 58, FALSE } };

static void show(struct rows *r, const IP_ADAPTER_ADDRESSES *a)
{
	char mac[32] = "", transport[128], name[64], description[128];
	const char *const values[] = { name, description, mac, transport };

	for (ULONG i = 0; i < a->PhysicalAddressLength && i < 8; i++)
		sprintf(mac + 3 * i, "%02X%s", a->PhysicalAddress[i], i + 1 < a->PhysicalAddressLength ? "-" : "");
	snprintf(name, sizeof(name), "%ls", a->FriendlyName);
	snprintf(description, sizeof(description), "%ls", a->Description);
	snprintf(transport, sizeof(transport), "\\Device\\Tcpip_%s", a->AdapterName);
	rows_print(r, r->n == 4 ? values : values + 2);
}

int main(int argc, char **argv)
{
	struct rows r = { .columns = plain, .n = 2 };
	IP_ADAPTER_ADDRESSES *list = malloc(ADAPTERS_BYTES);
	ULONG size = ADAPTERS_BYTES;

	for (int i = 1; i < argc; i++) {
		if (!_stricmp(argv[i], "/v")) {
			r.columns = verbose;
			r.n = 4;
		} else if (!_stricmp(argv[i], "/nh")) {
			r.no_header = TRUE;
		} else if (!_stricmp(argv[i], "/fo") && i + 1 < argc && rows_parse_format(argv[i + 1], &r.format)) {
			i++;
		} else {
			fprintf(stderr, "ERROR: Invalid argument/option - '%s'.\nType \"GETMAC /?\" for usage.\n",
				argv[i]);
			return 1;
		}
	}
	if (!list || GetAdaptersAddresses(AF_UNSPEC, 0, NULL, list, &size))
		size = 0;
	for (const IP_ADAPTER_ADDRESSES *a = size ? list : NULL; a; a = a->Next)
		if (a->PhysicalAddressLength && a->IfType != IF_TYPE_SOFTWARE_LOOPBACK)
			show(&r, a);
	if (!r.printed)
		printf("INFO: No network adapters found.\n");
	return 0;
}
