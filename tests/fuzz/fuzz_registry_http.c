/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A registry that answers every request with the input: redirects, challenges, tokens, ranges, endless bodies, all
 * through libcurl and the operations of silo-registry. The first byte chooses the operation. It is the proxy too, so
 * that nothing leaves this machine whatever the input names.
 */
#include <curl/curl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "registry/client.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define BLOB "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define BLOB_BYTES 1000
#define REQUESTS_MAX 40

static struct {
	int listener, port;
	pthread_mutex_t lock;
	uint8_t answer[64 * 1024];
	size_t n;
	int left; /* requests that are answered, so that an input can't go on for ever */
} server = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Read a request's head, answer, close. */
static void serve_one(int fd)
{
	static uint8_t answer[sizeof(server.answer)];
	char head[4096] = "";
	size_t have = 0, n = 0;
	ssize_t got;

	while (have < sizeof(head) - 1 && !strstr(head, "\r\n\r\n") &&
	       (got = read(fd, head + have, sizeof(head) - 1 - have)) > 0) {
		have += (size_t)got;
		head[have] = '\0';
	}
	pthread_mutex_lock(&server.lock);
	if (server.left-- > 0) {
		n = server.n;
		memcpy(answer, server.answer, n);
	}
	pthread_mutex_unlock(&server.lock);
	if (n && write(fd, answer, n) < 0)
		return;
	shutdown(fd, SHUT_WR);
	while (read(fd, head, sizeof(head)) > 0)
		;
}

static void *serve(void *arg)
{
	for (;;) {
		int fd = accept(server.listener, NULL, NULL);

		if (fd < 0)
			continue;
		serve_one(fd);
		close(fd);
	}
	return NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const proxies[] = { "http_proxy", "https_proxy", "all_proxy" };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	pthread_t thread;

	signal(SIGPIPE, SIG_IGN);
	server.listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(server.listener, (struct sockaddr *)&a, n) || listen(server.listener, 64) ||
	    getsockname(server.listener, (struct sockaddr *)&a, &n))
		abort();
	server.port = ntohs(a.sin_port);
	autofree char *url = xasprintf("http://127.0.0.1:%d", server.port);

	for (size_t i = 0; i < array_len(proxies); i++)
		setenv(proxies[i], url, 1);
	curl_global_init(CURL_GLOBAL_ALL);
	return pthread_create(&thread, NULL, serve, NULL);
}

static void run(const char *op)
{
	json_t *config = json_pack("{s:s, s:s, s:i, s:{s:s, s:s}, s:[{s:s, s:b, s:b}, {s:s, s:b, s:b}]}", "name", "a/b",
				   "actions", "pull", "attempts", 1, "auth", "username", "u", "password", "p",
				   "endpoints", "url", "http://mirror.test", "verify", 0, "mirror", 1, "url",
				   "http://registry.test", "verify", 0, "mirror", 0);
	autojson *args = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s}", "op", op, "digest", BLOB, "reference",
				   "latest", "size", BLOB_BYTES, "from", "c/d", "media_type", "x/y", "term", "t");
	struct client c;
	struct err e = { 0 };
	int pair[2], file = memfd_create("fuzz", MFD_CLOEXEC);

	if (client_init(&c, config, &e) || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) || file < 0)
		abort();
	struct job j = {
		.client = &c, .args = args, .reply = pair[0], .file = file, .file2 = -1, .http = http_new(&e)
	};
	autojson *result = operation_run(&j, &e);

	/* What was downloaded is never more than what was asked for; an error has a text. */
	if (!strcmp(op, "blob") && lseek(file, 0, SEEK_END) > BLOB_BYTES)
		__builtin_trap();
	if (!result && !e.msg[0])
		__builtin_trap();
	http_free(j.http);
	client_fini(&c);
	close(file);
	close(pair[0]);
	close(pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const operations[] = { "manifest", "blob", "exists", "upload",
						  "put",      "tags", "check",  "search" };

	if (n < 2 || n - 1 > sizeof(server.answer))
		return 0;
	pthread_mutex_lock(&server.lock);
	memcpy(server.answer, data + 1, n - 1);
	server.n = n - 1;
	server.left = REQUESTS_MAX;
	pthread_mutex_unlock(&server.lock);
	run(operations[data[0] % array_len(operations)]);
	return 0;
}
