/*
 * test_peer - how a peer reads.
 */
#include <string.h>

#include "spr_test.h"

#include "net/peer.h"

static void
test_texts(void **state)
{
	char text[SPR_PEER_TEXT_MAX];
	spr_peer peer = {.kind = SPR_PEER_UNKNOWN};
	int32_t pid = 4194304;

	(void)state;
	assert_string_equal(spr_peer_text(&peer, text), "");
	peer = (spr_peer){.kind = SPR_PEER_TCP4, .address = {1, 2, 3, 4}, .port = 567};
	assert_string_equal(spr_peer_text(&peer, text), "tcp://1.2.3.4:567");
	peer = (spr_peer){.kind = SPR_PEER_TCP6, .address = {[15] = 1}, .port = 65535};
	assert_string_equal(spr_peer_text(&peer, text), "tcp://[::1]:65535");
	memset(peer.address, 0xfe, sizeof(peer.address));
	assert_string_equal(spr_peer_text(&peer, text),
			    "tcp://[fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]:65535");
	peer = (spr_peer){.kind = SPR_PEER_IPC};
	memcpy(peer.address, &pid, sizeof(pid));
	assert_string_equal(spr_peer_text(&peer, text), "ipc:pid=4194304");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts)};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
