/*
 * A BearSSL client, as the device is one: TLS 1.0 to 1.2, the minimal X.509 engine, trust anchors from DER files.
 *
 *   tls_client <port> <name|-> <seconds since 1970> <anchor.der>...
 *
 * Connects to 127.0.0.1, expects the server's certificate to be for <name> ("-": any name, as when a sketch connects to
 * an IPAddress) at the time given. Prints "ok" and exits 0 after a complete handshake, or "error <BearSSL code>" and
 * exits 1; exits 2 when it could not try. An anchor is a CA only if its basicConstraints say so.
 */
#include <arpa/inet.h>
#include <bearssl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define MAX_ANCHORS 16
#define MAX_DER 16384
#define TIMEOUT_SECONDS 60
#define DAYS_BEFORE_1970 719528L /* BearSSL counts from the year 0 */

struct name { unsigned char *data; size_t length; };

static void fail(const char *what)
{
	fprintf(stderr, "tls_client: %s\n", what);
	exit(2);
}

static unsigned char *copy(const void *data, size_t length)
{
	unsigned char *made = malloc(length ? length : 1);

	if (made == NULL) fail("out of memory");
	memcpy(made, data, length);
	return made;
}

static void append_name(void *context, const void *data, size_t length)
{
	struct name *name = context;

	name->data = realloc(name->data, name->length + length);
	if (name->data == NULL) fail("out of memory");
	memcpy(name->data + name->length, data, length);
	name->length += length;
}

static int load_anchor(const char *path, br_x509_trust_anchor *anchor)
{
	static unsigned char der[MAX_DER];
	br_x509_decoder_context decoder;
	struct name name = { NULL, 0 };
	const br_x509_pkey *key;
	FILE *file = fopen(path, "rb");
	size_t length;

	if (file == NULL) fail(path);
	length = fread(der, 1, sizeof der, file);
	fclose(file);
	br_x509_decoder_init(&decoder, append_name, &name);
	br_x509_decoder_push(&decoder, der, length);
	key = br_x509_decoder_get_pkey(&decoder);
	if (key == NULL) {
		printf("error %d anchor\n", br_x509_decoder_last_error(&decoder));
		return 0;
	}
	memset(anchor, 0, sizeof *anchor);
	anchor->dn.data = name.data;
	anchor->dn.len = name.length;
	anchor->flags = br_x509_decoder_isCA(&decoder) ? BR_X509_TA_CA : 0;
	anchor->pkey = *key;
	if (key->key_type == BR_KEYTYPE_RSA) {
		anchor->pkey.key.rsa.n = copy(key->key.rsa.n, key->key.rsa.nlen);
		anchor->pkey.key.rsa.e = copy(key->key.rsa.e, key->key.rsa.elen);
	} else {
		anchor->pkey.key.ec.q = copy(key->key.ec.q, key->key.ec.qlen);
	}
	return 1;
}

static int connect_to(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	struct timeval limit = { TIMEOUT_SECONDS, 0 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail(strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	return fd;
}

static int low_read(void *context, unsigned char *data, size_t length)
{
	ssize_t got = read(*(int *)context, data, length);

	return got > 0 ? (int)got : -1;
}

static int low_write(void *context, const unsigned char *data, size_t length)
{
	ssize_t sent = send(*(int *)context, data, length, MSG_NOSIGNAL);

	return sent > 0 ? (int)sent : -1;
}

int main(int argc, char **argv)
{
	static br_ssl_client_context client;
	static br_x509_minimal_context x509;
	static unsigned char buffer[BR_SSL_BUFSIZE_BIDI];
	br_x509_trust_anchor anchors[MAX_ANCHORS];
	br_sslio_context io;
	const char *name;
	long long now;
	int count, fd;

	if (argc < 5 || argc - 4 > MAX_ANCHORS) fail("usage: tls_client <port> <name|-> <time> <anchor.der>...");
	name = strcmp(argv[2], "-") ? argv[2] : NULL;
	now = atoll(argv[3]);
	for (count = 0; count < argc - 4; count++) {
		if (!load_anchor(argv[4 + count], &anchors[count])) return 1;
	}
	br_ssl_client_init_full(&client, &x509, anchors, (size_t)count);
	br_x509_minimal_set_time(&x509, (uint32_t)(now / 86400 + DAYS_BEFORE_1970), (uint32_t)(now % 86400));
	br_ssl_engine_set_buffer(&client.eng, buffer, sizeof buffer, 1);
	if (!br_ssl_client_reset(&client, name, 0)) fail("cannot start");
	fd = connect_to(atoi(argv[1]));
	br_sslio_init(&io, &client.eng, low_read, &fd, low_write, &fd);
	br_sslio_write_all(&io, "GET / HTTP/1.0\r\n\r\n", 18);
	br_sslio_flush(&io); /* the first flush runs the handshake, and fails if that does */
	if (br_ssl_engine_current_state(&client.eng) & BR_SSL_CLOSED) {
		printf("error %d\n", br_ssl_engine_last_error(&client.eng));
		return 1;
	}
	printf("ok\n");
	br_sslio_close(&io);
	close(fd);
	return 0;
}
