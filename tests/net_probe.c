/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tests and script/bench run in containers: a server, clients that measure, frames as they are told. Static.
 *
 *	net-probe serve PORT                  TCP: first byte 'e' = echo, 's' = swallow; UDP: echo
 *	net-probe send HOST PORT SECONDS      megabytes per second into a swallowing connection
 *	net-probe round HOST PORT COUNT       median round trip of one byte, in microseconds
 *	net-probe connect HOST PORT COUNT     median time of connect, one round trip and close, in microseconds
 *	net-probe frame DEVICE HEX...         send Ethernet frames
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (128 * 1024)
#define FRAME_MAX 1600
#define COUNT_MAX 100000

static char chunk[CHUNK];

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static socklen_t address(const char *host, const char *port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)atoi(port));
		return sizeof(*v4);
	}
	check(inet_pton(AF_INET6, host, &v6->sin6_addr) == 1, host);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)atoi(port));
	return sizeof(*v6);
}

/* --- server ------------------------------------------------------------------------------------------------------------------- */

static void serve_stream(int fd)
{
	int on = 1;
	char mode;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (read(fd, &mode, 1) != 1)
		return;
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n <= 0 || (mode == 'e' && write(fd, chunk, (size_t)n) != n))
			return;
	}
}

static void serve_datagrams(int fd)
{
	for (;;) {
		struct sockaddr_storage from;
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(fd, chunk, sizeof(chunk), 0, (struct sockaddr *)&from, &from_len);

		if (n >= 0)
			(void)!sendto(fd, chunk, (size_t)n, 0, (struct sockaddr *)&from, from_len);
	}
}

/* Both families where the kernel has IPv6. */
static int bound(int type, const char *port)
{
	struct sockaddr_storage a;
	bool has6 = access("/proc/sys/net/ipv6", F_OK) == 0;
	socklen_t n = address(has6 ? "::" : "0.0.0.0", port, &a);
	int fd = socket(a.ss_family, type, 0), on = 1;

	check(fd >= 0, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	check(bind(fd, (struct sockaddr *)&a, n) == 0, "bind");
	return fd;
}

static int serve(const char *port)
{
	int tcp = bound(SOCK_STREAM, port), udp = bound(SOCK_DGRAM, port);

	check(listen(tcp, 128) == 0, "listen");
	signal(SIGCHLD, SIG_IGN);
	if (fork() == 0)
		serve_datagrams(udp);
	for (;;) {
		int fd = accept(tcp, NULL, NULL);

		if (fd >= 0 && fork() == 0) {
			serve_stream(fd);
			_exit(0);
		}
		close(fd);
	}
}

/* --- clients ------------------------------------------------------------------------------------------------------------------ */

static int stream(const char *host, const char *port, char mode)
{
	struct sockaddr_storage a;
	socklen_t n = address(host, port, &a);
	int fd = socket(a.ss_family, SOCK_STREAM, 0), on = 1;

	check(fd >= 0 && connect(fd, (struct sockaddr *)&a, n) == 0, "connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	check(write(fd, &mode, 1) == 1, "write");
	return fd;
}

static int send_for(const char *host, const char *port, double seconds)
{
	int fd = stream(host, port, 's');
	double start = now_us(), took = 0, sent = 0;
	char end;

	while (took < seconds * 1e6) {
		ssize_t n = write(fd, chunk, sizeof(chunk));

		check(n > 0, "write");
		sent += (double)n;
		took = now_us() - start;
	}
	shutdown(fd, SHUT_WR);
	check(read(fd, &end, 1) == 0, "read"); /* the other side has it all */
	printf("%.3f\n", sent / (now_us() - start));
	return 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int rounds(const char *host, const char *port, int count, bool reconnect)
{
	static double times[COUNT_MAX];
	int fd = reconnect ? -1 : stream(host, port, 'e');
	char byte = 'x';

	check(count > 0 && count <= COUNT_MAX, "count");
	for (int i = 0; i < count; i++) {
		double start = now_us();

		if (reconnect)
			fd = stream(host, port, 'e');
		check(write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1, "round trip");
		if (reconnect)
			close(fd);
		times[i] = now_us() - start;
	}
	qsort(times, (size_t)count, sizeof(*times), by_value);
	printf("%.1f\n", times[count / 2]);
	return 0;
}

static int frames(const char *device, char **hex)
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device) };

	check(fd >= 0 && to.sll_ifindex, device);
	for (; *hex; hex++) {
		unsigned char frame[FRAME_MAX];
		unsigned value;
		size_t n;

		for (n = 0; n < sizeof(frame) && sscanf(*hex + 2 * n, "%2x", &value) == 1; n++)
			frame[n] = (unsigned char)value;
		check(sendto(fd, frame, n, 0, (struct sockaddr *)&to, sizeof(to)) == (ssize_t)n, "send a frame");
	}
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2]);
	if (argc == 5 && strcmp(argv[1], "send") == 0)
		return send_for(argv[2], argv[3], atof(argv[4]));
	if (argc == 5 && (strcmp(argv[1], "round") == 0 || strcmp(argv[1], "connect") == 0))
		return rounds(argv[2], argv[3], atoi(argv[4]), argv[1][0] == 'c');
	if (argc >= 4 && strcmp(argv[1], "frame") == 0)
		return frames(argv[2], argv + 3);
	fprintf(stderr, "usage: net-probe serve|send|round|connect|frame ...\n");
	return 2;
}
