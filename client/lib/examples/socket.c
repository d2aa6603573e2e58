/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket PATH NAME: listens at PATH, takes a key of 32 bytes from whoever connects, and stores it.
 * Build: cc socket.c $(pkg-config --cflags --libs mgclient)
 */
#include <mgclient.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define KEY_SIZE 32

static struct sockaddr_un place = { .sun_family = AF_UNIX };

/* When the library calls this, every secret of the process is wiped; the signal ends it then. */
static void leave(int signal)
{
	(void)signal;
	unlink(place.sun_path);
}

/* A socket for the caller's own user alone, or -1. */
static int listen_at(const char *path)
{
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(place.sun_path))
		return -1;
	strcpy(place.sun_path, path);
	umask(0177);
	if (listener < 0 || bind(listener, (struct sockaddr *)&place, sizeof(place)) < 0 ||
		listen(listener, 1) < 0)
		return -1;
	return listener;
}

/* From the socket into guarded memory, however many pieces it comes in. MG_NO: too few bytes. */
static int receive(int listener, struct mg_secret **keyp)
{
	int peer = accept(listener, NULL, NULL);
	int status = mg_secret_from_fd(keyp, peer, KEY_SIZE, MG_MEMORY_PREFER_LOCK);

	close(peer);
	return status;
}

/* What a sender that left too early has sent is in *keyp all the same, and is wiped here. */
static int take_key(int listener, const char *name)
{
	MG_AUTO_CLIENT struct mg_client *client = NULL;
	MG_AUTO_SECRET struct mg_secret *key = NULL;
	int status = receive(listener, &key);

	if (status == MG_OK)
		status = mg_open(&client, NULL);
	if (status == MG_OK)
		status = mg_set(client, name, mg_secret_data(key), mg_secret_size(key), NULL, NULL);
	return status;
}

int main(int argc, char **argv)
{
	int listener, status;

	if (argc != 3) {
		fprintf(stderr, "usage: %s PATH NAME\n", argv[0]);
		return MG_INVALID;
	}
	status = mg_catch_signals((const int[]){ SIGINT, SIGTERM, 0 }, leave);
	listener = listen_at(argv[1]);
	if (listener < 0) {
		perror(argv[1]);
		return MG_INTERNAL;
	}
	if (status == MG_OK)
		status = take_key(listener, argv[2]);
	if (status != MG_OK)
		fprintf(stderr, "%s: %s\n", mg_status_name(status), mg_last_error());
	unlink(argv[1]);
	return status;
}
