/*
 * ep_deal - the turn of an outbox.
 *
 * Frames that come together go to all connections alike, as runs: a worker takes long for a job, and one that gets all
 * of a notification's jobs while others have none would be the slowest way to do them. Writing happens behind the turn, in
 * those of the connections, so the turn is short.
 */
#include "net/ep_deal.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "base/assert.h"

#define LOOKS      32 /* connections that a turn gives to */
#define PEER_BYTES (1024 * 1024)

/* What a turn leaves to be done behind it. */
typedef struct leftovers {
	spr_ep_connection *look[LOOKS]; /* a reference each */
	unsigned n;
	spr_ep_connection *died; /* by next_died; the outbox's reference */
	spr_ep_queue cancelled;
} leftovers;

/* ---- with the turn ---- */

static void
add_known(spr_ep_deal *self, spr_ep_connection *c)
{
	c->is_known = true;
	c->prev_known = NULL;
	c->next_known = self->known;
	if (c->next_known != NULL)
		c->next_known->prev_known = c;
	self->known = c;
}

static void
remove_known(spr_ep_deal *self, spr_ep_connection *c)
{
	if (self->visited == c)
		self->visited = c->next_known;
	if (c->prev_known != NULL)
		c->prev_known->next_known = c->next_known;
	else
		self->known = c->next_known;
	if (c->next_known != NULL)
		c->next_known->prev_known = c->prev_known;
}

/* What it was given comes back when it looks, behind the turn. */
static void
let_go(spr_ep_deal *self, spr_ep_connection *c, leftovers *left)
{
	if (c->is_known)
		remove_known(self, c);
	spr_ep_loads_remove(&self->loads, &c->load);
	c->next_died = left->died;
	left->died = c;
}

static void
take_returned(spr_ep_deal *self, spr_ep_connection *c, leftovers *left)
{
	if (!c->is_known && !c->is_dead) { /* new: its reference is the outbox's now */
		add_known(self, c);
		spr_ep_loads_add(&self->loads, &c->load);
	} else if (!c->is_known) { /* it died before it was seen here */
		let_go(self, c, left);
	} else {
		if (!c->is_dead)
			spr_ep_loads_add(&self->loads, &c->load);
		spr_ep_connection_drop(c);
	}
}

static void
cancel_aborted(spr_ep_queue *queue, leftovers *left)
{
	spr_ep_queue kept = {0};
	spr_ep_frame *frame;

	while ((frame = spr_ep_queue_take(queue)) != NULL)
		spr_ep_queue_append(spr_ep_frame_is_aborted(frame) ? &left->cancelled : &kept,
				    frame);
	*queue = kept;
}

/* One that was sent before its lane was aborted may come behind the visit, which looks only once. */
static void
take_posted(spr_ep_deal *self, leftovers *left)
{
	spr_ep_queue posted = {0};
	spr_ep_frame *frame;

	/* relaxed: the turn of the visit came before, or it is this one, and looks for itself (E15) */
	if (atomic_load_explicit(&self->hub.n_aborts, memory_order_relaxed) == 0) {
		spr_ep_queue_pop(&self->pending, &self->hub.posted); /* E2 */
		return;
	}
	spr_ep_queue_pop(&posted, &self->hub.posted); /* E2 */
	cancel_aborted(&posted, left);
	while ((frame = spr_ep_queue_take(&posted)) != NULL)
		spr_ep_queue_append(&self->pending, frame);
}

static void
take_events(spr_ep_deal *self, leftovers *left)
{
	spr_stack_entry *entry, *next;

	take_posted(self, left);
	/* deaths first: what has died is given nothing */
	for (entry = spr_mailbox_pop_all(&self->hub.died); entry != NULL; entry = next) {
		spr_ep_connection *c = SPR_STACK_CONTAINER(entry, spr_ep_connection, died);

		next = spr_stack_next(entry);
		c->is_dead = true;
		if (c->is_known)
			let_go(self, c, left);
	}
	for (entry = spr_mailbox_pop_all(&self->hub.returned); entry != NULL; entry = next) {
		spr_ep_connection *c = SPR_STACK_CONTAINER(entry, spr_ep_connection, returned);

		next = spr_stack_next(entry);
		take_returned(self, c, left);
	}
}

static void
add_look(spr_ep_connection *c, leftovers *left)
{
	spr_ep_connection_hold(c);
	left->look[left->n++] = c;
}

/* True: not all of them fitted into this turn. */
static bool
visit(spr_ep_deal *self, leftovers *left)
{
	/* relaxed: set before the turn was asked for (E15) */
	if (atomic_exchange_explicit(&self->wants_visit, false, memory_order_relaxed)) {
		cancel_aborted(&self->pending, left);
		self->visited = self->known;
	}
	while (self->visited != NULL && left->n < LOOKS) {
		add_look(self->visited, left);
		self->visited = self->visited->next_known;
	}
	return (self->visited != NULL);
}

/* Frames for one connection: its share, or what it has room for. */
static void
deal_one(spr_ep_deal *self, spr_ep_connection *c, leftovers *left)
{
	unsigned share = (self->pending.n + self->loads.n - 1) / self->loads.n;
	spr_ep_queue run = {0};
	size_t bytes = 0, size = 0;
	spr_ep_frame *frame;

	for (; share > 0 && (frame = self->pending.head) != NULL; share--) {
		size = spr_ep_writer_size(&c->writer, frame);
		if (spr_ep_frame_is_aborted(frame)) {
			spr_ep_queue_append(&left->cancelled, spr_ep_queue_take(&self->pending));
			continue;
		}
		if (!spr_ep_loads_has_room(&self->loads, &c->load, bytes, size))
			break;
		bytes += size;
		spr_ep_queue_append(&run, spr_ep_queue_take(&self->pending));
	}
	if (run.head != NULL) {
		spr_ep_loads_give(&self->loads, &c->load, bytes);
		spr_ep_writer_give(&c->writer, &run); /* E2 */
		add_look(c, left);
	} else if (share > 0 && self->pending.head != NULL) {
		spr_ep_loads_set_full(&self->loads, &c->load, size);
	}
}

/* True: there is more to deal, and room, but not in this turn. */
static bool
deal(spr_ep_deal *self, leftovers *left)
{
	spr_ep_load *load;

	while (self->pending.head != NULL && (load = spr_ep_loads_pick(&self->loads)) != NULL) {
		if (left->n == LOOKS)
			return (true);
		deal_one(self, SPR_STACK_CONTAINER(load, spr_ep_connection, load), left);
	}
	return (false);
}

/* ---- behind it ---- */

/* True: there is news, look again. */
static bool
do_leftovers(spr_ep_deal *self, leftovers *left)
{
	spr_ep_connection *next;
	bool is_news = false;

	for (unsigned i = 0; i < left->n; i++) {
		is_news |= spr_ep_connection_look(left->look[i]);
		spr_ep_connection_drop(left->look[i]);
	}
	for (spr_ep_connection *c = left->died; c != NULL; c = next) {
		next = c->next_died;
		is_news |= spr_ep_connection_look(c);
		spr_ep_connection_drop(c);
	}
	spr_ep_frames_end(&left->cancelled, self->hub.config.on_done, SPR_E_CANCELLED);
	return (is_news);
}

void
spr_ep_deal_look(spr_ep_deal *self)
{
	bool again = true;

	while (again && spr_turn_take(&self->turn)) {
		leftovers left;

		left.n = 0;
		left.died = NULL;
		left.cancelled = (spr_ep_queue){0};
		take_events(self, &left);
		again = visit(self, &left);
		again |= deal(self, &left);
		again |= spr_turn_give_back(&self->turn);
		again |= do_leftovers(self, &left);
	}
}

static void
look_at_hub(spr_ep_hub *hub)
{
	spr_ep_deal_look(SPR_STACK_CONTAINER(hub, spr_ep_deal, hub));
}

void
spr_ep_deal_visit(spr_ep_deal *self)
{
	/* relaxed: the turn that is asked for sees it (E15) */
	atomic_store_explicit(&self->wants_visit, true, memory_order_relaxed);
	spr_ep_deal_look(self);
}

void
spr_ep_deal_init(spr_ep_deal *self, const spr_push_config *config,
		 void (*wants_poll)(spr_ep_hub *hub, bool has_progressed))
{
	self->hub.config = *config;
	self->hub.look = look_at_hub;
	self->hub.wants_poll = wants_poll;
	spr_sp_places_init(&self->hub.places, "outbox");
	spr_stack_init(&self->hub.posted);
	spr_stack_init(&self->hub.returned);
	spr_stack_init(&self->hub.died);
	self->loads.limit = config->peer_bytes != 0 ? config->peer_bytes : PEER_BYTES;
}

bool
spr_ep_deal_is_passed_on(spr_ep_deal *self)
{
	bool is_empty = true;

	if (!spr_turn_take(&self->turn))
		return (false);
	for (spr_ep_connection *c = self->known; c != NULL; c = c->next_known) {
		int unacked = 0;

		if (!c->writer.is_ipc && ioctl(c->watch.fd, SIOCOUTQ, &unacked) == 0)
			is_empty &= unacked == 0;
	}
	if (spr_turn_give_back(&self->turn))
		spr_ep_deal_look(self);
	return (is_empty);
}

void
spr_ep_deal_fini(spr_ep_deal *self)
{
	leftovers left = {0};
	spr_ep_frame *frame;

	(void)spr_turn_take(&self->turn);
	take_events(self, &left);
	while (left.died != NULL) {
		spr_ep_connection *c = left.died;

		left.died = c->next_died;
		spr_ep_connection_end(c);
	}
	while (self->known != NULL) {
		spr_ep_connection *c = self->known;

		remove_known(self, c);
		spr_ep_connection_end(c);
	}
	/* acquire: pairs with the release in the drop of a connection */
	SPR_ASSERT(atomic_load_explicit(&self->hub.n_connections, memory_order_acquire) == 0);
	while ((frame = spr_ep_queue_take(&self->pending)) != NULL)
		spr_ep_frame_free(frame);
	spr_sp_places_fini(&self->hub.places);
}
