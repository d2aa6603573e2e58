/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stdin: reads a key, which is the first line of standard input, keeps it sealed, and answers each
 * further line with whether it is the key.
 * Build: cc stdin.c $(pkg-config --cflags --libs mgclient)
 */
#include <mgclient.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MOST 200

/*
 * Straight from the descriptor into guarded memory: stdio would keep a copy. Not a byte behind the
 * newline is taken. An empty line is no secret, which is NULL.
 */
static int read_line(struct mg_secret **linep)
{
	return mg_secret_from_fd_until(linep, STDIN_FILENO, '\n', LINE_MOST, MG_MEMORY_PREFER_LOCK);
}

/* The key is plaintext from here to the end of this function, and nowhere before or after. */
static int is_key(const struct mg_enclave *enclave, const struct mg_secret *guess)
{
	MG_AUTO_SECRET struct mg_secret *key = NULL;
	int status = mg_enclave_open(enclave, &key, MG_MEMORY_PREFER_LOCK);

	if (status != MG_OK)
		return status;
	return mg_secret_equal(key, mg_secret_data(guess), mg_secret_size(guess)) ? MG_OK : MG_NO;
}

static int read_key(struct mg_enclave **enclavep)
{
	MG_AUTO_SECRET struct mg_secret *key = NULL;
	int status = read_line(&key);

	/* Sealing destroys the secret; without one it is MG_INVALID. */
	return status == MG_OK ? mg_enclave_seal(enclavep, key) : status;
}

static int answer_guesses(const struct mg_enclave *enclave)
{
	for (;;) {
		MG_AUTO_SECRET struct mg_secret *guess = NULL;
		int status = read_line(&guess);

		if (status == MG_NO)
			return MG_OK; /* the end of the input */
		if (status == MG_OK)
			status = is_key(enclave, guess);
		if (status != MG_OK && status != MG_NO)
			return status;
		puts(status == MG_OK ? "yes" : "no");
	}
}

int main(void)
{
	MG_AUTO_ENCLAVE struct mg_enclave *enclave = NULL;
	int status = read_key(&enclave);

	if (status == MG_OK)
		status = answer_guesses(enclave);
	if (status != MG_OK)
		fprintf(stderr, "%s: %s\n", mg_status_name(status), mg_last_error());
	return status;
}
