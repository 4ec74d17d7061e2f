/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which of the VM's network cards have a wire: those that the engine's description of the network names. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/backend.h"
#include "isolation/hyperv/guest_docs.h"

/* The number of its card. */
static int check_interface(const struct sandbox *s, const json_t *interface, size_t n_taps, struct err *e)
{
	const char *name = json_str(interface, "name", ""), *mac = json_str(interface, "mac", "");
	int card = guest_card(interface, e);
	int64_t tap = json_int(interface, "tap", -1);

	if (card < 0)
		return -1;
	if (!*mac || strlen(mac) >= sizeof s->cards[0])
		return err_set(e, ERR_INVALID, 0, "network device %s: MAC \"%.40s\"", name, mac);
	if (*s->cards[card] && strcmp(s->cards[card], mac) != 0)
		return err_set(e, ERR_CONFLICT, 0, "the card of network device %s is in use", name);
	if (!*s->cards[card] && (tap < 0 || (uint64_t)tap >= n_taps))
		return err_set(e, ERR_INVALID, 0, "network device %s: no tap device", name);
	return card;
}

/* plugged receives a bit for each card that was. */
static int plug(struct sandbox *s, const json_t *network, const int *taps, size_t n_taps, unsigned *plugged,
		struct err *e)
{
	const json_t *interface;
	size_t i;

	*plugged = 0;
	json_array_foreach(json_object_get(network, "interfaces"), i, interface) {
		int card = check_interface(s, interface, n_taps, e);

		if (card < 0)
			return -1;
		if (*s->cards[card])
			continue;
		if (vm_plug_card(s->vm, card, taps[json_int(interface, "tap", 0)], e))
			return -1;
		*plugged |= 1u << card;
		snprintf(s->cards[card], sizeof s->cards[card], "%s", json_str(interface, "mac", ""));
	}
	return 0;
}

static void unplug(struct sandbox *s, unsigned cards)
{
	struct err e;

	for (int i = 0; i < GUEST_CARDS; i++) {
		if (!(cards & 1u << i))
			continue;
		if (vm_unplug_card(s->vm, i, &e))
			log_warn("%s", e.msg);
		*s->cards[i] = '\0';
	}
}

/* Cards with a wire that the description doesn't have. */
static unsigned left_over(const struct sandbox *s, const json_t *network)
{
	const json_t *interface;
	unsigned cards = 0;
	size_t i;

	for (int k = 0; k < GUEST_CARDS; k++)
		cards |= *s->cards[k] ? 1u << k : 0;
	json_array_foreach(json_object_get(network, "interfaces"), i, interface) {
		int card = guest_card(interface, NULL);

		cards &= card < 0 ? ~0u : ~(1u << card);
	}
	return cards;
}

int sandbox_plug_first(struct sandbox *s, struct err *e)
{
	const json_t *network = json_object_get(s->bundle->silo, "network");
	autoclose int tap = (int)json_int(network, "tap", -1);
	unsigned plugged;

	return plug(s, network, &tap, 1, &plugged, e);
}

/* /etc/hosts and the like speak of addresses: {"container", "files"} of each. */
static json_t *files_of_containers(const struct sandbox *s, struct err *e)
{
	autojson *all = json_array();

	for (const struct container *c = s->containers; c; c = c->next) {
		json_t *files = guest_files(c->bundle, e);

		if (!files)
			return NULL;
		json_array_append_new(all, json_pack("{s:s, s:o}", "container", c->id, "files", files));
	}
	return take_ptr(&all);
}

int sandbox_network(struct sandbox *s, const json_t *network, const int *taps, size_t n_taps, struct err *e)
{
	json_t *files = files_of_containers(s, e);
	autojson *request = files ? json_pack("{s:O, s:o}", "network", network, "containers", files) : NULL;
	unsigned plugged = 0;
	int rc;

	if (!request)
		return -1;

	if (s->lost) {
		*e = s->why;
		return -1;
	}
	rc = plug(s, network, taps, n_taps, &plugged, e) || agent_order(s, "network", request, e) ? -1 : 0;
	/* What is to go goes, whatever the guest has done about it. */
	unplug(s, left_over(s, network) | (rc ? plugged : 0));
	return rc;
}
