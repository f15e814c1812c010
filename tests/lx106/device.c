/*
 * The device's own part of an update, run on the emulated CPU of the ESP8266, with what each step costs in instructions.
 *
 *   device verify KEY.der IMAGE                                     prints "accepted" or "refused", then what it cost
 *   device fetch KEY.der NAME SECONDS ANCHOR.der REQUEST FD...      connects as the core does, on open sockets of the host
 *   device patch BASE PATCH MD5                                     decodes as the library does
 *
 * "fetch" makes one connection a descriptor, from the second on with the session of the one before (F21, F27c), sends
 * the bytes in REQUEST and reads the answer to its end. For each it prints
 *
 *   handshake INSTRUCTIONS full|resumed SUITE CURVE
 *   answer INSTRUCTIONS BYTES STATUS
 *
 * or "error CODE" (BearSSL's) and ends; if the status is 200, then its body is verified as an image (F1, F27e). Costs are
 * those of BearSSL and of nothing else: no radio, no TCP, no flash. "patch" prints the library's error, the instructions, the
 * bytes of memory, the bytes of the image and their SHA-256. The seed of the random generator is constant, so
 * that a run repeats: good for counting, and for nothing else.
 */
#include "../peers/public_key.h"
#include <bearssl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT = 1, READ = 3, WRITE = 4, OPEN = 5, ARGC = 1000, ARGV_SIZE = 1001, ARGV = 1002 };
enum { MAX_ARGS = 16, MAX_IMAGE = 4 << 20, MAX_DER = 16384, CHUNK = 128, WORD = 4 };
enum { IN_SIZE = 16384 + 325, OUT_SIZE = 512 + 85 }; /* the core's default buffers (F27c) */
#define DAYS_BEFORE_1970 719528 /* BearSSL counts from the year 0 */

int simcall(int number, int a, int b, int c);
void run(void);
size_t patch_decoder_size(void);
int decode_patch(const unsigned char *sketch, size_t sketch_size, const char *md5, const unsigned char *patch,
                 size_t patch_size, unsigned char *to, size_t room, size_t *made);

static unsigned char image[MAX_IMAGE], key_der[MAX_DER], anchor_der[MAX_DER], request[MAX_DER], subject[1024];

static void put(const char *text)
{
	simcall(WRITE, 1, (int)text, (int)strlen(text));
}

static void put_number(uint32_t value)
{
	char digits[12], *at = digits + sizeof digits;

	*--at = 0;
	do *--at = (char)('0' + value % 10); while (value /= 10);
	put(" ");
	put(at);
}

static void end(int code)
{
	simcall(EXIT, code, 0, 0);
	for (;;) { }
}

static void fail(const char *what)
{
	put("failed: ");
	put(what);
	put("\n");
	end(2);
}

static size_t load(const char *path, unsigned char *to, size_t limit)
{
	int file = simcall(OPEN, (int)path, 0, 0), got;
	size_t size = 0;

	if (file < 0) fail(path);
	while (size < limit && (got = simcall(READ, file, (int)(to + size), (int)(limit - size))) > 0) size += (size_t)got;
	if (size == limit) fail("a file is too large");
	return size;
}

static uint32_t per_cycle;

static uint32_t cycles(void)
{
	uint32_t value;

	__asm__ volatile("rsr.ccount %0" : "=r"(value));
	return value;
}

/* How many instructions QEMU runs in a cycle of the counter: with -icount it does so at a constant rate. */
static void calibrate(void)
{
	uint32_t start = cycles(), turns = 100000, spent;

	__asm__ volatile("1: addi %0, %0, -1\n\tbnez %0, 1b" : "+r"(turns));
	spent = cycles() - start;
	per_cycle = (200000 + spent / 2) / spent;
}

static void put_cost(const char *what, uint32_t start)
{
	uint32_t spent = cycles() - start;

	put(what);
	put_number(spent * per_cycle);
}

/* Verifies as the updater does: the hash in pieces of 128 bytes, then the signature; prints what each of them costs. */
static void verify(const unsigned char *data, size_t size, const br_rsa_public_key *key)
{
	unsigned char computed[br_sha256_SIZE], opened[br_sha256_SIZE];
	br_sha256_context context;
	uint32_t start = cycles(), good;
	size_t offset, length, said = 0;

	if (size >= WORD) memcpy(&said, data + size - WORD, WORD);
	if (said != key->nlen || size < said + WORD) {
		put("refused\n");
		return;
	}
	size -= said + WORD;
	br_sha256_init(&context);
	for (offset = 0; offset < size; offset += length) {
		length = size - offset < CHUNK ? size - offset : CHUNK;
		br_sha256_update(&context, data + offset, length);
	}
	br_sha256_out(&context, computed);
	put_cost("hash", start);
	start = cycles();
	good = br_rsa_i15_pkcs1_vrfy(data + size, said, BR_HASH_OID_SHA256, sizeof opened, key, opened);
	put_cost("\nsignature", start);
	put(good == 1 && memcmp(computed, opened, sizeof opened) == 0 ? "\naccepted\n" : "\nrefused\n");
}

static void append(void *context, const void *data, size_t length)
{
	br_x500_name *name = context;

	if (length > sizeof subject - name->len) fail("the anchor's name is too long");
	memcpy(name->data + name->len, data, length);
	name->len += length;
}

/* The anchor's key stays in the decoder. */
static void load_anchor(const char *path, br_x509_trust_anchor *anchor)
{
	static br_x509_decoder_context decoder;
	const br_x509_pkey *key;

	anchor->dn.data = subject;
	br_x509_decoder_init(&decoder, append, &anchor->dn);
	br_x509_decoder_push(&decoder, anchor_der, load(path, anchor_der, sizeof anchor_der));
	key = br_x509_decoder_get_pkey(&decoder);
	if (key == NULL) fail("no anchor");
	anchor->flags = br_x509_decoder_isCA(&decoder) ? BR_X509_TA_CA : 0;
	anchor->pkey = *key;
}

static int low_read(void *context, unsigned char *data, size_t length)
{
	int got = simcall(READ, *(int *)context, (int)data, (int)length);

	return got > 0 ? got : -1;
}

static int low_write(void *context, const unsigned char *data, size_t length)
{
	int sent = simcall(WRITE, *(int *)context, (int)data, (int)length);

	return sent > 0 ? sent : -1;
}

static void finish_if_closed(br_ssl_engine_context *engine)
{
	if (!(br_ssl_engine_current_state(engine) & BR_SSL_CLOSED) || br_ssl_engine_last_error(engine) == 0) return;
	put("error");
	put_number((uint32_t)br_ssl_engine_last_error(engine));
	put("\n");
	end(1);
}

/* One connection: a handshake, the request, the whole answer. Returns the answer's size. */
static size_t fetch(br_ssl_client_context *client, const char *name, int socket, size_t request_size, int resume)
{
	br_ssl_session_parameters before, after;
	br_sslio_context io;
	uint32_t start = cycles();
	size_t size = 0;
	int got, same;

	br_ssl_engine_get_session_parameters(&client->eng, &before);
	if (!br_ssl_client_reset(client, name, resume)) fail("cannot start");
	br_sslio_init(&io, &client->eng, low_read, &socket, low_write, &socket);
	br_sslio_flush(&io); /* the first flush runs the handshake */
	finish_if_closed(&client->eng);
	br_ssl_engine_get_session_parameters(&client->eng, &after);
	put_cost("handshake", start);
	same = after.session_id_len && !memcmp(before.session_id, after.session_id, sizeof after.session_id);
	put(same ? " resumed" : " full");
	put_number(after.cipher_suite);
	put_number((uint32_t)br_ssl_engine_get_ecdhe_curve(&client->eng));
	start = cycles();
	br_sslio_write_all(&io, request, request_size);
	br_sslio_flush(&io);
	while (size < sizeof image && (got = br_sslio_read(&io, image + size, sizeof image - size)) > 0) size += (size_t)got;
	finish_if_closed(&client->eng);
	put_cost("\nanswer", start);
	put_number(size);
	return size;
}

/* Returns where the body begins, 0 where there is none. */
static size_t end_of_head(size_t size)
{
	size_t at;

	for (at = 4; at <= size; at++)
		if (memcmp(image + at - 4, "\r\n\r\n", 4) == 0) return at;
	return 0;
}

static void start_client(br_ssl_client_context *client, br_x509_trust_anchor *anchor, uint32_t seconds)
{
	static br_x509_minimal_context x509;
	static unsigned char in[IN_SIZE], out[OUT_SIZE];

	br_ssl_client_init_full(client, &x509, anchor, 1);
	br_x509_minimal_set_time(&x509, seconds / 86400 + DAYS_BEFORE_1970, seconds % 86400);
	br_ssl_engine_set_buffers_bidi(&client->eng, in, sizeof in, out, sizeof out);
	br_ssl_engine_inject_entropy(&client->eng, "a constant seed of 32 characters", 32);
}

static void fetch_each(char **args, int count, const br_rsa_public_key *key)
{
	static br_ssl_client_context client;
	static br_x509_trust_anchor anchor;
	size_t request_size = load(args[3], request, sizeof request), size, body;
	int i, status;

	load_anchor(args[2], &anchor);
	start_client(&client, &anchor, (uint32_t)strtoul(args[1], NULL, 10));
	for (i = 4; i < count; i++) {
		size = fetch(&client, args[0], atoi(args[i]), request_size, i > 4);
		body = end_of_head(size);
		status = body ? atoi((char *)image + 9) : 0; /* HTTP/1.x NNN */
		put_number((uint32_t)status);
		put("\n");
		if (status == 200) verify(image + body, size - body, key);
	}
}

static void put_sha256(const unsigned char *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char digest[br_sha256_SIZE];
	br_sha256_context context;
	char pair[] = "xx";

	br_sha256_init(&context);
	br_sha256_update(&context, data, size);
	br_sha256_out(&context, digest);
	put(" ");
	for (size_t i = 0; i < sizeof digest; i++) {
		pair[0] = digits[digest[i] >> 4];
		pair[1] = digits[digest[i] & 15];
		put(pair);
	}
}

static void patch(char **args)
{
	static unsigned char sketch[MAX_IMAGE], bytes[MAX_IMAGE];
	size_t sketch_size = load(args[0], sketch, sizeof sketch), size = load(args[1], bytes, sizeof bytes), made;
	uint32_t start = cycles();
	int error = decode_patch(sketch, sketch_size, args[2], bytes, size, image, sizeof image, &made);
	uint32_t spent = cycles() - start;

	put("patch");
	put_number((uint32_t)error);
	put_number(spent * per_cycle);
	put_number((uint32_t)patch_decoder_size());
	put_number((uint32_t)made);
	put_sha256(image, made);
	put("\n");
}

void run(void)
{
	static char *args[MAX_ARGS + 1], room[4096];
	br_rsa_public_key key;
	int count = simcall(ARGC, 0, 0, 0);

	if (count < 4 || count > MAX_ARGS || simcall(ARGV_SIZE, 0, 0, 0) > (int)sizeof room) fail("arguments");
	simcall(ARGV, (int)room, 0, 0);
	memcpy(args, room, (size_t)count * sizeof *args);
	calibrate();
	if (strcmp(args[1], "patch") == 0 && count == 5) {
		patch(args + 2);
		end(0);
	}
	if (!read_rsa_key(key_der, load(args[2], key_der, sizeof key_der), &key)) fail("no RSA key");
	if (strcmp(args[1], "verify") == 0) verify(image, load(args[3], image, sizeof image), &key);
	else if (strcmp(args[1], "fetch") == 0 && count > 7) fetch_each(args + 3, count - 3, &key);
	else fail("arguments");
	end(0);
}
