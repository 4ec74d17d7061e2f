/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses, their allocation, messages of the name server, commands of the packet filter: all pure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "network/dns_msg.h"
#include "network/firewall.h"
#include "network/ipam.h"
#include "network/relay.h"
#include "os/ipaddr.h"

static struct ip_net net_of(const char *text)
{
	struct ip_net n;

	assert_int_equal(ip_net_parse(text, &n), 0);
	return n;
}

static struct ip_addr addr_of(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(text, &a), 0);
	return a;
}

static void test_parse(void **state)
{
	static const char *const bad[] = { "",         "10.0.0.0", "10.0.0.0/",   "10.0.0.0/33", "10.0.0.0/-1",
					   "10.0.0/8", "::/129",   "10.0.0.0/8 ", "x/8",         "10.0.0.0/0008" };
	struct ip_net n;
	char text[IP_TEXT_MAX];

	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(ip_net_parse(bad[i], &n), -1);
	n = net_of("fd00::1/64");
	ip_net_format(&n, text);
	assert_string_equal(text, "fd00::1/64");
}

static void test_nets(void **state)
{
	struct ip_net a = net_of("10.1.2.3/20"), b = net_of("10.1.16.0/24"), c = net_of("10.0.0.0/8");
	struct ip_addr first = ip_first(&a), last = ip_last(&a), next = ip_next_net(&a);
	char text[IP_TEXT_MAX];

	ip_format(&first, text);
	assert_string_equal(text, "10.1.0.0");
	ip_format(&last, text);
	assert_string_equal(text, "10.1.15.255");
	ip_format(&next, text);
	assert_string_equal(text, "10.1.16.0");
	assert_false(ip_overlap(&a, &b));
	assert_true(ip_overlap(&b, &c) && ip_overlap(&c, &b));
}

static void test_mac(void **state)
{
	unsigned char mac[MAC_BYTES];
	struct ip_addr local;
	char text[IP_TEXT_MAX];

	assert_int_equal(mac_parse("02:42:ac:11:00", mac), -1);
	assert_int_equal(mac_parse("02:42:ac:11:00:0g", mac), -1);
	assert_int_equal(mac_parse("02:42:AC:11:00:02", mac), 0);
	mac_format(mac, text);
	assert_string_equal(text, "02:42:ac:11:00:02");
	local = mac_link_local(mac);
	ip_format(&local, text);
	assert_string_equal(text, "fe80::42:acff:fe11:2");
}

static bool below(void *arg, const struct ip_addr *a)
{
	return ip_compare(a, arg) < 0;
}

static bool every(void *arg, const struct ip_addr *a)
{
	return true;
}

static void test_ipam_address(void **state)
{
	struct ip_net net = net_of("10.0.0.1/29"), range = net_of("10.0.0.4/30");
	struct ip_addr limit = addr_of("10.0.0.2"), none = { 0 }, last = addr_of("10.0.0.6"), out;
	char text[IP_TEXT_MAX];
	struct err e;

	assert_int_equal(ipam_address(&net, NULL, &none, below, &limit, &out, &e), 0);
	ip_format(&out, text);
	assert_string_equal(text, "10.0.0.2");
	/* Not the broadcast address: it wraps. */
	assert_int_equal(ipam_address(&net, NULL, &last, below, &limit, &out, &e), 0);
	ip_format(&out, text);
	assert_string_equal(text, "10.0.0.2");
	assert_int_equal(ipam_address(&net, &range, &none, below, &limit, &out, &e), 0);
	ip_format(&out, text);
	assert_string_equal(text, "10.0.0.4");
	assert_int_equal(ipam_address(&net, NULL, &none, every, NULL, &out, &e), -1);
	assert_string_equal(e.msg, "no available IPv4 addresses on this network's address pools");
}

static bool clashes_with(void *arg, const struct ip_net *n)
{
	return ip_overlap(arg, n);
}

static void test_ipam_network(void **state)
{
	struct ipam_pool pool = { net_of("172.30.0.0/15"), 16 };
	struct ip_net used = net_of("172.30.5.0/24"), all = net_of("172.16.0.0/12"), out;
	char text[IP_TEXT_MAX];
	struct err e;

	assert_int_equal(ipam_network(&pool, 1, AF_INET, clashes_with, &used, &out, &e), 0);
	ip_net_format(&out, text);
	assert_string_equal(text, "172.31.0.0/16");
	assert_int_equal(ipam_network(&pool, 1, AF_INET, clashes_with, &all, &out, &e), -1);
}

static const unsigned char query[] =
	"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03WEB\x02n1\x00\x00\x01\x00\x01";

static void test_dns_parse(void **state)
{
	unsigned char msg[sizeof(query)];
	struct dns_query q;

	assert_int_equal(dns_parse(query, sizeof(query) - 1, &q), 0);
	assert_string_equal(q.name, "web.n1");
	assert_int_equal(q.type, DNS_A);
	assert_int_equal(q.end, sizeof(query) - 1);
	for (size_t n = 0; n < sizeof(query) - 1; n++)
		assert_int_equal(dns_parse(query, n, &q), -1);
	memcpy(msg, query, sizeof(query));
	msg[2] |= 0x80; /* an answer */
	assert_int_equal(dns_parse(msg, sizeof(query) - 1, &q), -1);
	memcpy(msg, query, sizeof(query));
	msg[12] = 0xc0; /* a pointer */
	assert_int_equal(dns_parse(msg, sizeof(query) - 1, &q), -1);
	memcpy(msg, query, sizeof(query));
	msg[13] = '.';
	assert_int_equal(dns_parse(msg, sizeof(query) - 1, &q), -1);
}

static void test_dns_format(void **state)
{
	struct dns_records r = { .addresses = { addr_of("10.0.0.2"), addr_of("fd00::2") }, .n = 2 };
	unsigned char out[512];
	struct dns_query q;
	size_t n;

	assert_int_equal(dns_parse(query, sizeof(query) - 1, &q), 0);
	n = dns_format(query, &q, DNS_OK, &r, out, sizeof(out));
	assert_int_equal(n, q.end + 16);
	assert_int_equal(out[7], 1); /* the IPv6 address wasn't asked for */
	assert_memory_equal(out + n - 4, "\x0a\0\0\x02", 4);
	n = dns_format(query, &q, DNS_NO_NAME, NULL, out, sizeof(out));
	assert_int_equal(n, q.end);
	assert_int_equal(out[3] & 15, DNS_NO_NAME);
}

static void test_dns_reverse(void **state)
{
	static const char six[] = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
	struct ip_addr a;
	char text[IP_TEXT_MAX];

	assert_true(dns_reverse("2.1.0.10.in-addr.arpa", &a));
	ip_format(&a, text);
	assert_string_equal(text, "10.0.1.2");
	assert_true(dns_reverse(six, &a));
	ip_format(&a, text);
	assert_string_equal(text, "fd00::2");
	assert_false(dns_reverse("1.0.10.in-addr.arpa", &a));
	assert_false(dns_reverse("256.1.0.10.in-addr.arpa", &a));
	assert_false(dns_reverse("2.1.0.10.in-addr.arpa.example", &a));
	assert_false(dns_reverse("example.org", &a));
}

static void test_firewall(void **state)
{
	struct firewall *f = firewall_new("silo-x");
	struct ip_addr any = { .family = AF_INET }, local = addr_of("127.0.0.1"), to = addr_of("10.0.0.2");
	struct fw_port p = { .proto = "tcp", .host = &any, .host_port = 8080, .to = &to, .to_port = 80 };
	struct str out;

	str_init(&out, FIREWALL_TEXT_MAX);
	fw_port(f, &out, FW_ADD, &p);
	p.host = &local;
	fw_port(f, &out, FW_DELETE, &p);
	assert_string_equal(out.s, "add element inet silo-x any4 { 6 . 8080 : 10.0.0.2 . 80 }\n"
				   "delete element inet silo-x addr4 { 6 . 127.0.0.1 . 8080 }\n");
	str_fini(&out);
	str_init(&out, FIREWALL_TEXT_MAX);
	fw_create(f, &out);
	assert_non_null(strstr(out.s, "table inet silo-x {"));
	assert_non_null(strstr(out.s, "table bridge silo-x {"));
	assert_null(strchr(out.s, '%'));
	str_fini(&out);
	firewall_free(f);
	assert_true(fw_name_is_valid("br-0123456789ab"));
	assert_false(fw_name_is_valid("br0\" accept"));
	assert_false(fw_name_is_valid("0123456789abcdef"));
}

static void test_firewall_closed(void **state)
{
	struct firewall *f = firewall_new("silo-x");
	struct ip_addr a = addr_of("10.0.0.2"), b = addr_of("10.0.0.3"), six = addr_of("fd00::2");
	static const unsigned char mac[MAC_BYTES] = { 2, 0x42, 10, 0, 0, 2 };
	struct fw_endpoint x = { .port = "veth1", .mac = mac, .addresses = { &a, &six }, .closed = true };
	struct fw_link l = { .from = &a, .to = &b, .proto = "udp", .port = 53 };
	struct str out;

	str_init(&out, FIREWALL_TEXT_MAX);
	fw_endpoint(f, &out, FW_ADD, &x);
	assert_non_null(strstr(out.s, "add element bridge silo-x closed { \"veth1\" }"));
	assert_non_null(strstr(out.s, "targets6 { \"veth1\" . 0xfd000000000000000000000000000002 }"));
	str_fini(&out);
	str_init(&out, FIREWALL_TEXT_MAX);
	fw_link(f, &out, FW_DELETE, &l);
	assert_string_equal(out.s, "delete element inet silo-x links4 { 10.0.0.2 . 10.0.0.3 . 17 . 53 }\n"
				   "delete element bridge silo-x links4 { 10.0.0.2 . 10.0.0.3 . 17 . 53 }\n");
	str_fini(&out);
	firewall_free(f);
}

/* A socket on 127.0.0.1, and its port. */
static int local_socket(int type, unsigned short *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, type, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static int local_client(int type, unsigned short port)
{
	struct sockaddr_in a = { AF_INET, htons(port), { htonl(INADDR_LOOPBACK) }, { 0 } };
	int fd = socket(AF_INET, type, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void expect_text(int fd, const char *text)
{
	char got[16] = "";

	assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), strlen(text));
	assert_string_equal(got, text);
}

static void test_relay_stream(void **state)
{
	struct relay_target t = { .key = "c1", .to = { AF_INET, { 127, 0, 0, 1 } } };
	struct err e;
	struct relay *r = relay_new(&e);
	unsigned short front;
	int door = local_socket(SOCK_STREAM, &front), server = local_socket(SOCK_STREAM, &t.port), client, peer;

	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(relay_add(r, door, &t, &e), 0);
	client = local_client(SOCK_STREAM, front);
	peer = accept(server, NULL, NULL);
	assert_int_equal(send(client, "hello", 5, 0), 5);
	expect_text(peer, "hello");
	/* Half closed: the answer still comes. */
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	expect_text(peer, "");
	assert_int_equal(send(peer, "bye", 3, 0), 3);
	expect_text(client, "bye");
	close(peer);
	expect_text(client, "");
	close(client);
	/* Forgetting ends what is under way. */
	client = local_client(SOCK_STREAM, front);
	peer = accept(server, NULL, NULL);
	relay_forget(r, "c1");
	expect_text(client, "");
	close(client);
	close(peer);
	close(server);
	close(door);
	relay_free(r);
}

static void test_relay_refused(void **state)
{
	struct relay_target t = { .key = "c1", .to = { AF_INET, { 127, 0, 0, 1 } } };
	struct err e;
	struct relay *r = relay_new(&e);
	unsigned short front;
	int door = local_socket(SOCK_STREAM, &front), nobody = local_socket(SOCK_STREAM, &t.port), client;
	char byte;

	assert_int_equal(relay_add(r, door, &t, &e), 0);
	client = local_client(SOCK_STREAM, front);
	assert_true(recv(client, &byte, 1, 0) <= 0);
	close(client);
	close(nobody);
	close(door);
	relay_free(r);
}

static void test_relay_datagrams(void **state)
{
	struct relay_target t = { .key = "c1", .udp = true, .to = { AF_INET, { 127, 0, 0, 1 } } };
	struct err e;
	struct relay *r = relay_new(&e);
	struct sockaddr_in from;
	socklen_t n = sizeof(from);
	unsigned short front;
	int door = local_socket(SOCK_DGRAM, &front), server = local_socket(SOCK_DGRAM, &t.port), client;
	char got[16];

	assert_int_equal(relay_add(r, door, &t, &e), 0);
	client = local_client(SOCK_DGRAM, front);
	assert_int_equal(send(client, "ping", 4, 0), 4);
	assert_int_equal(recvfrom(server, got, sizeof(got), 0, (struct sockaddr *)&from, &n), 4);
	assert_int_equal(sendto(server, "pong", 4, 0, (struct sockaddr *)&from, n), 4);
	expect_text(client, "pong");
	close(client);
	close(server);
	close(door);
	relay_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_nets),
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_ipam_address),
		cmocka_unit_test(test_ipam_network),
		cmocka_unit_test(test_dns_parse),
		cmocka_unit_test(test_dns_format),
		cmocka_unit_test(test_dns_reverse),
		cmocka_unit_test(test_firewall),
		cmocka_unit_test(test_firewall_closed),
		cmocka_unit_test(test_relay_stream),
		cmocka_unit_test(test_relay_refused),
		cmocka_unit_test(test_relay_datagrams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
