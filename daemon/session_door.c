/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/wire/channel.h"
#include "daemon/log.h"
#include "daemon/peer.h"

/*
 * Who is let in. Whoever comes more often than he may is told so before anything is made for him:
 * it has to cost less to turn somebody away than to come.
 */

/* -- who is not ---------------------------------------------------------------------------- */

/* Of a connection that never was a session. */
static void turn_away(const struct peer *peer, int socket, const char *why)
{
	log_stranger("closed the connection of uid %ld, pid %ld: %s", (long)peer->uid,
		(long)peer->pid, why);
	close(socket);
}

static const char *const refusals[] = {
	[HELLO_TOO_MANY_SESSIONS] = "its user has twice as many as quota-sessions allows",
	[HELLO_TOO_MANY_HANDSHAKES] = "its user comes more often than quota-handshakes allows",
};

/*
 * What it has sent, or sends yet, is never read, so that its end may find the connection reset; but
 * what we say now comes first there.
 */
static void refuse(const struct peer *peer, int socket, enum hello_refusal refusal)
{
	uint8_t hello[HELLO_SIZE];

	hello_write_refusal(hello, refusal);
	(void)!send(socket, hello, sizeof(hello), MSG_DONTWAIT | MSG_NOSIGNAL);
	turn_away(peer, socket, refusals[refusal]);
}

/* -- who is -------------------------------------------------------------------------------- */

static struct session *session_new(struct sessions *sessions, const struct peer *peer)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->sessions = sessions;
	session->served.daemon = sessions->daemon;
	session->served.outbox = &sessions->outbox;
	session->served.peer = *peer;
	uv_pipe_init(sessions->loop, &session->pipe, 0);
	uv_timer_init(sessions->loop, &session->timer);
	session->pipe.data = session->timer.data = session;
	session->handles = 2;
	session->next = sessions->first;
	if (sessions->first)
		sessions->first->previous = session;
	sessions->first = session;
	sessions->count++;
	sessions->daemon->sessions = sessions->count;
	if (sessions->on_count)
		sessions->on_count(sessions);
	return session;
}

/* A session for `user`, which is its own from then on; NULL: it has failed. */
static struct session *begin(struct sessions *sessions, const struct peer *peer, struct user *user)
{
	struct session *session = session_new(sessions, peer);

	if (!session) {
		log_warning("turned a connection away: out of memory");
		user_leave(user);
		return NULL;
	}
	session->user = user;
	session->limited = !policy_privileged(&sessions->daemon->policy, peer);
	return session;
}

/* Returns 0, and the socket is the session's; or a negative errno. */
static int open_session(struct session *session, int socket, const char *listener)
{
	struct peer *peer = &session->served.peer;
	int r = peer_take(peer, socket);

	if (r < 0) {
		session_fail(session, peer_words(r), 0);
		return r;
	}
	peer->listener = listener[0] ? listener : NULL;
	peer->shown = &session->served.transfers.shown;
	r = uv_pipe_open(&session->pipe, socket);
	if (r < 0)
		session_fail(session, "it cannot be opened", r);
	return r;
}

static void let_in(struct sessions *sessions, const struct peer *peer, struct user *user,
	int socket, const char *listener)
{
	struct session *session = begin(sessions, peer, user);

	if (!session || open_session(session, socket, listener) < 0) {
		close(socket);
		return;
	}
	session->input_deadline = uv_now(sessions->loop) + HELLO_MS;
	session_read(session);
	session_arm(session);
}

/* It is what the user had of this round, together with what he is served in it: no handshake. */
static void put_on_account(struct user *user, uint64_t spent_ns)
{
	user_spend(user, spent_ns);
	(void)user_let_in(user);
}

/* -- the door ------------------------------------------------------------------------------ */

bool sessions_accept(struct sessions *sessions, int socket, const char *listener)
{
	struct daemon *daemon = sessions->daemon;
	uint64_t begin_ns = daemon_now_ns();
	enum hello_refusal refusal = HELLO_NOT_REFUSED;
	struct user *user = NULL;
	struct peer peer;
	int r = peer_name(&peer, socket);

	if (r == 0) {
		user = user_enter(&daemon->users, (uint32_t)peer.uid, begin_ns / 1000);
		r = user ? 0 : -ENOMEM;
	}
	if (r < 0) {
		turn_away(&peer, socket, peer_words(r));
		return false;
	}
	if (!policy_privileged(&daemon->policy, &peer))
		refusal = user_come(user, begin_ns / 1000);
	if (refusal == HELLO_NOT_REFUSED) {
		let_in(sessions, &peer, user, socket, listener);
	} else {
		refuse(&peer, socket, refusal);
		user_leave(user);
	}
	if (refusal != HELLO_NOT_REFUSED || daemon->users.count > 1)
		put_on_account(user, daemon_now_ns() - begin_ns);
	return refusal == HELLO_NOT_REFUSED;
}
