/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ping as Windows has it: Wine's knows no -t, no IPv6 and no statistics at Ctrl-C. */
/* In this order: the second and third depend on the first. */
#include <ws2tcpip.h>

#include <iphlpapi.h>

#include <icmpapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERRUPTED 0xC000013A /* STATUS_CONTROL_C_EXIT */
#define BYTES_MAX 65500
#define DRIVER_TRIES 200 /* of 10 ms: the driver may still be starting */

static const char usage[] = "\nUsage: ping [-t] [-n count] [-l size] [-i TTL] [-w timeout] [-4] [-6] target_name\n\n"
			    "Options:\n"
			    "    -t             Ping the specified host until stopped.\n"
			    "                   To see statistics and continue - type Control-Break;\n"
			    "                   To stop - type Control-C.\n"
			    "    -n count       Number of echo requests to send.\n"
			    "    -l size        Send buffer size.\n"
			    "    -i TTL         Time To Live.\n"
			    "    -w timeout     Timeout in milliseconds to wait for each reply.\n"
			    "    -4             Force using IPv4.\n"
			    "    -6             Force using IPv6.\n\n";

struct options {
	const char *host;
	unsigned count, size, timeout, ttl;
	BOOL endless;
	int family;
};

/* The handler of console events has no argument: what it shows is here. */
static struct {
	char address[INET6_ADDRSTRLEN];
	unsigned sent, received, least, most, sum;
	volatile LONG ending;
} totals = { .least = ~0u };

static void show_statistics(void)
{
	unsigned lost = totals.sent - totals.received;

	printf("\nPing statistics for %s:\n    Packets: Sent = %u, Received = %u, Lost = %u (%u%% loss),\n",
	       totals.address, totals.sent, totals.received, lost, totals.sent ? lost * 100 / totals.sent : 0);
	if (totals.received)
		printf("Approximate round trip times in milli-seconds:\n    Minimum = %ums, Maximum = %ums, Average = %ums\n",
		       totals.least, totals.most, totals.sum / totals.received);
	fflush(stdout);
}

static BOOL WINAPI on_event(DWORD event)
{
	if (event == CTRL_BREAK_EVENT) {
		show_statistics();
		return TRUE;
	}
	if (InterlockedExchange(&totals.ending, 1))
		return TRUE;
	show_statistics();
	if (event == CTRL_C_EVENT)
		printf("Control-C\n");
	fflush(stdout);
	ExitProcess(INTERRUPTED);
	return TRUE;
}

/* The number after an option; ends the program as Windows does when it is bad. */
static unsigned number(const char *option, const char *text, unsigned most)
{
	char *end = NULL;
	unsigned long value = text ? strtoul(text, &end, 10) : 0;

	if (!text) {
		printf("Value must be supplied for option %s.\n", option);
		exit(1);
	}
	if (*end || end == text || value > most) {
		printf("Bad value for option %s, valid range is from 0 to %u.\n", option, most);
		exit(1);
	}
	return (unsigned)value;
}

static BOOL parse(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		char letter = a[1] && !a[2] ? a[1] : '?';

		if (a[0] != '-' && a[0] != '/') {
			o->host = a;
			continue;
		}
		switch (letter) {
		case 't':
			o->endless = TRUE;
			break;
		case 'n':
			o->count = number(a, argv[++i], ~0u);
			break;
		case 'l':
			o->size = number(a, argv[++i], BYTES_MAX);
			break;
		case 'w':
			o->timeout = number(a, argv[++i], ~0u);
			break;
		case 'i':
			o->ttl = number(a, argv[++i], 255);
			break;
		case '4':
			o->family = AF_INET;
			break;
		case '6':
			o->family = AF_INET6;
			break;
		default:
			if (letter != '?')
				printf("Bad option %s.\n", a);
			return FALSE;
		}
	}
	return o->host != NULL;
}

/* localhost is tried as IPv4 first: containers often have no IPv6 loopback. */
static struct addrinfo *resolve(const struct options *o)
{
	struct addrinfo hints = { .ai_family = o->family == AF_UNSPEC ? AF_INET : o->family }, *found = NULL;

	if (getaddrinfo(o->host, NULL, &hints, &found) && o->family == AF_UNSPEC) {
		hints.ai_family = AF_INET6;
		if (getaddrinfo(o->host, NULL, &hints, &found))
			return NULL;
	}
	return found;
}

static HANDLE open_driver(int family)
{
	HANDLE driver = INVALID_HANDLE_VALUE;

	for (int i = 0; i < DRIVER_TRIES && driver == INVALID_HANDLE_VALUE; i++) {
		if (i)
			Sleep(10);
		driver = family == AF_INET6 ? Icmp6CreateFile() : IcmpCreateFile();
	}
	return driver;
}

/* ICMPV6_ECHO_REPLY of icmpapi, which mingw's header lacks. */
struct icmp6_reply {
	struct {
		USHORT port;
		ULONG flow;
		USHORT address[8];
		ULONG scope;
	} __attribute__((packed)) address;
	ULONG status;
	UINT milliseconds;
};

struct reply {
	DWORD status, milliseconds;
	int ttl; /* -1 = not known */
};

static BOOL send4(HANDLE driver, const struct options *o, const struct addrinfo *to, char *data, char *buffer,
		  DWORD bytes, struct reply *out)
{
	IP_OPTION_INFORMATION info = { .Ttl = (UCHAR)o->ttl };
	ICMP_ECHO_REPLY *r = (void *)buffer;

	if (!IcmpSendEcho(driver, ((struct sockaddr_in *)to->ai_addr)->sin_addr.s_addr, data, (WORD)o->size,
			  o->ttl ? &info : NULL, buffer, bytes, o->timeout))
		return FALSE;
	*out = (struct reply){ r->Status, r->RoundTripTime, r->Options.Ttl };
	return TRUE;
}

static BOOL send6(HANDLE driver, const struct options *o, const struct addrinfo *to, char *data, char *buffer,
		  DWORD bytes, struct reply *out)
{
	struct sockaddr_in6 from = { .sin6_family = AF_INET6 };
	IP_OPTION_INFORMATION info = { .Ttl = (UCHAR)(o->ttl ? o->ttl : 128) };
	struct icmp6_reply *r = (void *)buffer;

	if (!Icmp6SendEcho2(driver, NULL, NULL, NULL, &from, (struct sockaddr_in6 *)to->ai_addr, data, (WORD)o->size,
			    &info, buffer, bytes, o->timeout))
		return FALSE;
	*out = (struct reply){ r->status, r->milliseconds, -1 };
	return TRUE;
}

static void count_reply(const struct options *o, const struct reply *r)
{
	totals.received++;
	totals.sum += r->milliseconds;
	totals.least = min(totals.least, r->milliseconds);
	totals.most = max(totals.most, r->milliseconds);
	printf("Reply from %s: ", totals.address);
	if (r->ttl >= 0)
		printf("bytes=%u ", o->size);
	printf("time%s%lums ", r->milliseconds ? "=" : "<", r->milliseconds ? r->milliseconds : 1);
	if (r->ttl >= 0)
		printf("TTL=%d", r->ttl);
	printf("\n");
}

static void show_failure(DWORD status)
{
	static const struct {
		DWORD status;
		const char *text;
	} texts[] = {
		{ IP_REQ_TIMED_OUT, "Request timed out." },
		{ IP_DEST_NET_UNREACHABLE, "Destination net unreachable." },
		{ IP_DEST_HOST_UNREACHABLE, "Destination host unreachable." },
		{ IP_TTL_EXPIRED_TRANSIT, "TTL expired in transit." },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (texts[i].status == status) {
			printf("%s\n", texts[i].text);
			return;
		}
	}
	printf("PING: transmit failed. General failure. \n");
}

static int ping(const struct options *o, const struct addrinfo *to)
{
	DWORD bytes = o->size + 256;
	char *data = malloc(o->size + 1), *buffer = malloc(bytes);
	HANDLE driver = open_driver(to->ai_family);

	if (!data || !buffer || driver == INVALID_HANDLE_VALUE) {
		printf("Unable to contact IP driver. General failure.\n");
		return 1;
	}
	for (unsigned i = 0; i < o->size; i++)
		data[i] = (char)('a' + i % 23);
	for (unsigned i = 0; o->endless || i < o->count; i++) {
		struct reply r = { 0 };
		BOOL ok;

		if (i)
			Sleep(1000);
		totals.sent++;
		ok = (to->ai_family == AF_INET6 ? send6 : send4)(driver, o, to, data, buffer, bytes, &r);
		if (ok && r.status == IP_SUCCESS)
			count_reply(o, &r);
		else
			show_failure(ok ? r.status : GetLastError());
		fflush(stdout);
	}
	if (!InterlockedExchange(&totals.ending, 1))
		show_statistics();
	return totals.received ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct options o = { .count = 4, .size = 32, .timeout = 4000, .family = AF_UNSPEC };
	struct addrinfo *to;
	WSADATA wsa;

	setvbuf(stdout, NULL, _IOFBF, 4096); /* flushed a line at a time: a console shows every write by itself */
	if (!parse(&o, argc, argv)) {
		printf("%s", usage);
		return 1;
	}
	WSAStartup(MAKEWORD(2, 2), &wsa);
	to = resolve(&o);
	if (!to) {
		printf("Ping request could not find host %s. Please check the name and try again.\n", o.host);
		return 1;
	}
	getnameinfo(to->ai_addr, (socklen_t)to->ai_addrlen, totals.address, sizeof(totals.address), NULL, 0,
		    NI_NUMERICHOST);
	SetConsoleCtrlHandler(on_event, TRUE);
	if (strcmp(totals.address, o.host) != 0)
		printf("\nPinging %s [%s] with %u bytes of data:\n", o.host, totals.address, o.size);
	else
		printf("\nPinging %s with %u bytes of data:\n", o.host, o.size);
	fflush(stdout);
	return ping(&o, to);
}
