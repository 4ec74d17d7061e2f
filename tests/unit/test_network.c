/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses, their allocation, messages of the name server, commands of the packet filter: all pure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "network/dns_msg.h"
#include "network/firewall.h"
#include "network/ipam.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),	       cmocka_unit_test(test_nets),	  cmocka_unit_test(test_mac),
		cmocka_unit_test(test_ipam_address),   cmocka_unit_test(test_ipam_network), cmocka_unit_test(test_dns_parse),
		cmocka_unit_test(test_dns_format),     cmocka_unit_test(test_dns_reverse),  cmocka_unit_test(test_firewall),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
