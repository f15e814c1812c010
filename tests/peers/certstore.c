/*
 * What the device's CertStore makes of an archive, on the same X.509 code that the device runs.
 *
 *   certstore <archive> [<seconds since 1970> <leaf.der> <intermediate.der>...]
 *   certstore - < LINES        the same for each line of arguments, and a line "end" behind each answer
 *
 * Prints "count <n>" (what initCertStore returns), one line a member that gets indexed,
 *
 *   member <index> <verdict> <first> <hash of the subject> <hash of the public key>
 *
 * and, for a chain, "chain ok", "chain error <BearSSL code>" or "chain crash <index>". <first> is the member that a lookup
 * of this member's subject arrives at. Verdicts: "anchor"; "pin" (no CA: good for itself only); "overflow" (the device
 * would write 32 bytes over a shorter subject); "crash" (found by its subject, and not decodable: the device would use
 * an anchor that was never filled in); "dead" (no subject could be read, so nothing ever finds it). The key's hash is
 * SHA-256 over the modulus without leading zeros, or over the point. Exits 0 if it could judge, and 2 if not.
 */
#include <bearssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT (16L * 1024 * 1024)
#define MAX_MEMBERS 4096
#define MAX_CHAIN 8
#define MAX_DN 65536L
#define DAYS_BEFORE_1970 719528L /* BearSSL counts from the year 0 */
#define HASH br_sha256_SIZE

enum verdict { ANCHOR, PIN, OVERFLOW, CRASH, DEAD };
static const char *const VERDICTS[] = { "anchor", "pin", "overflow", "crash", "dead" };

struct bytes { unsigned char *data; size_t length; };
struct member { unsigned char subject[HASH]; struct bytes der; };

static struct member members[MAX_MEMBERS];
static size_t member_count;

static void fail(const char *what)
{
	fprintf(stderr, "certstore: %s\n", what);
	exit(2);
}

static void *allocate(size_t size)
{
	void *memory = malloc(size ? size : 1);
	if (memory == NULL) fail("out of memory");
	return memory;
}

static struct bytes read_file(const char *path)
{
	struct bytes all = { NULL, 0 };
	long size;
	FILE *file = fopen(path, "rb");

	if (file == NULL || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0 || size > FILE_LIMIT) fail(path);
	rewind(file);
	all.data = allocate((size_t)size);
	all.length = fread(all.data, 1, (size_t)size, file);
	if (all.length != (size_t)size) fail(path);
	fclose(file);
	return all;
}

static void append(void *context, const void *data, size_t length)
{
	struct bytes *to = context;

	if (length > (size_t)MAX_DN - to->length) fail("a name is too long");
	memcpy(to->data + to->length, data, length);
	to->length += length;
}

static void hash(const void *data, size_t length, unsigned char *out)
{
	br_sha256_context context;

	br_sha256_init(&context);
	br_sha256_update(&context, data, length);
	br_sha256_out(&context, out);
}

static struct bytes new_name(void)
{
	struct bytes name = { allocate(MAX_DN), 0 };
	return name;
}

/* The outermost element, if it is a SEQUENCE with a definite length that its holder has room for. */
static size_t element_length(struct bytes der)
{
	size_t count, length = 0, i;

	if (der.length < 2 || der.data[0] != 0x30) return 0;
	if (der.data[1] < 0x80) return 2 + (size_t)der.data[1];
	count = der.data[1] & 0x7F;
	if (count == 0 || count > 4 || der.length < 2 + count) return 0;
	for (i = 0; i < count; i++) length = length << 8 | der.data[2 + i];
	return 2 + count + length;
}

/* The decoder is no safe place for what lies behind a certificate, so it gets none of that; `judge` counts the bytes. */
static void decode(br_x509_decoder_context *decoder, struct bytes der, struct bytes *subject)
{
	size_t length = element_length(der);

	subject->length = 0;
	br_x509_decoder_init(decoder, append, subject);
	br_x509_decoder_push(decoder, der.data, length > 0 && length < der.length ? length : der.length);
}

/* Nothing is left of what ends too early: the engine finds out for itself, and asks for no anchor then. */
static struct bytes skip(struct bytes der, size_t count)
{
	if (count > der.length) count = der.length;
	der.data += count;
	der.length -= count;
	return der;
}

static size_t header_length(struct bytes der)
{
	return der.length > 1 && der.data[1] >= 0x80 ? 2 + (size_t)(der.data[1] & 0x7F) : 2;
}

static struct bytes skip_element(struct bytes der)
{
	unsigned char tag;
	size_t length;

	if (der.length == 0) return der;
	tag = der.data[0];
	der.data[0] = 0x30; /* element_length knows one tag */
	length = element_length(der);
	der.data[0] = tag;
	return skip(der, length);
}

/* The issuer of a certificate of the chain, empty where it has none; Debian's decoder hands out the subject only. */
static struct bytes issuer_of(struct bytes der)
{
	der = skip(der, header_length(der)); /* the certificate */
	der = skip(der, header_length(der)); /* what is signed of it */
	if (der.length > 0 && der.data[0] == 0xA0) der = skip_element(der); /* version */
	der = skip_element(der); /* serial number */
	der = skip_element(der); /* algorithm */
	der.length = element_length(der) > der.length ? 0 : element_length(der);
	return der;
}

/* The ten characters of a size as "%d" reads them into 32 bits; 0 where nothing can be read: both end the scan. */
static int32_t scan_size(const unsigned char *field)
{
	int64_t value = 0;
	int at = 0, negative = 0;

	while (at < 10 && field[at] != 0 && strchr(" \t\n\v\f\r", field[at])) at++;
	if (at < 10 && (field[at] == '-' || field[at] == '+')) negative = field[at++] == '-';
	for (; at < 10 && field[at] >= '0' && field[at] <= '9'; at++) value = value * 10 + (field[at] - '0');
	if (value > INT32_MAX) value = INT32_MAX;
	return (int32_t)(negative ? -value : value);
}

static void index_archive(struct bytes archive)
{
	static br_x509_decoder_context decoder;
	struct bytes subject = new_name();
	size_t at = 8;

	if (archive.length < 8 || memcmp(archive.data, "!<arch>\n", 8) != 0) return;
	while (archive.length >= at && archive.length - at >= 60) {
		const unsigned char *header = archive.data + at;
		int32_t size = scan_size(header + 48);

		at += 60;
		if (size <= 0 || (size_t)size > archive.length - at) return;
		if (memcmp(header, "//", 2) != 0) {
			struct member *member = &members[member_count];

			if (member_count++ == MAX_MEMBERS) fail("too many members");
			/* A copy to the byte, so that a sanitizer would see what reads beyond it. */
			member->der.data = allocate((size_t)size);
			member->der.length = (size_t)size;
			memcpy(member->der.data, archive.data + at, (size_t)size);
			decode(&decoder, member->der, &subject);
			hash(subject.data, subject.length, member->subject);
		}
		at += (size_t)size;
		at += at & 1;
	}
}

static size_t lookup(const unsigned char *subject)
{
	size_t i;

	for (i = 0; i < member_count; i++)
		if (memcmp(members[i].subject, subject, HASH) == 0) return i;
	return member_count;
}

/* What happens when a lookup arrives here; for a usable one the anchor, with memory of its own, is filled in. */
static enum verdict judge(struct bytes der, br_x509_trust_anchor *anchor)
{
	br_x509_decoder_context *decoder = allocate(sizeof *decoder);
	struct bytes subject = new_name();
	br_x509_pkey *key;

	decode(decoder, der, &subject);
	if (subject.length == 0 || element_length(subject) != subject.length) return DEAD;
	key = br_x509_decoder_get_pkey(decoder);
	if (key == NULL || element_length(der) != der.length) return CRASH;
	if (subject.length < HASH) return OVERFLOW;
	memset(anchor, 0, sizeof *anchor);
	anchor->dn.data = subject.data;
	anchor->dn.len = subject.length;
	anchor->flags = br_x509_decoder_isCA(decoder) ? BR_X509_TA_CA : 0;
	anchor->pkey = *key; /* points into the decoder, which stays */
	return anchor->flags ? ANCHOR : PIN;
}

static void print_hash(const unsigned char *digest)
{
	size_t i;

	for (i = 0; i < HASH; i++) printf("%02x", digest[i]);
}

static void print_key(const br_x509_pkey *key)
{
	unsigned char digest[HASH];
	const unsigned char *data = key->key_type == BR_KEYTYPE_RSA ? key->key.rsa.n : key->key.ec.q;
	size_t length = key->key_type == BR_KEYTYPE_RSA ? key->key.rsa.nlen : key->key.ec.qlen;

	while (key->key_type == BR_KEYTYPE_RSA && length > 0 && *data == 0) data++, length--;
	hash(data, length, digest);
	print_hash(digest);
}

static void print_members(void)
{
	br_x509_trust_anchor anchor;
	size_t i;

	printf("count %zu\n", member_count);
	for (i = 0; i < member_count; i++) {
		enum verdict verdict = judge(members[i].der, &anchor);

		printf("member %zu %s %zu ", i, VERDICTS[verdict], lookup(members[i].subject));
		print_hash(members[i].subject);
		printf(" ");
		if (verdict <= PIN) print_key(&anchor.pkey);
		else printf("-");
		printf("\n");
	}
}

/* Adds the anchor that a lookup finds, if any; returns the member that would take the device down, or member_count. */
static size_t add_anchor(struct bytes dn, br_x509_trust_anchor *anchors, size_t *count)
{
	unsigned char digest[HASH];
	size_t found;

	hash(dn.data, dn.length, digest);
	found = lookup(digest);
	if (found == member_count) return found;
	if (judge(members[found].der, &anchors[*count]) > PIN) return found;
	(*count)++;
	return member_count;
}

static void start_engine(br_x509_minimal_context *engine, const br_x509_trust_anchor *anchors, long seconds)
{
	br_x509_minimal_init(engine, &br_sha256_vtable, anchors, 0);
	br_x509_minimal_set_rsa(engine, br_rsa_i15_pkcs1_vrfy);
	br_x509_minimal_set_ecdsa(engine, &br_ec_all_m15, br_ecdsa_i15_vrfy_asn1);
	br_x509_minimal_set_hash(engine, br_sha1_ID, &br_sha1_vtable);
	br_x509_minimal_set_hash(engine, br_sha256_ID, &br_sha256_vtable);
	br_x509_minimal_set_hash(engine, br_sha384_ID, &br_sha384_vtable);
	br_x509_minimal_set_hash(engine, br_sha512_ID, &br_sha512_vtable);
	br_x509_minimal_set_time(engine, (uint32_t)(seconds / 86400 + DAYS_BEFORE_1970), (uint32_t)(seconds % 86400));
	engine->vtable->start_chain(&engine->vtable, NULL);
}

/*
 * The device looks up the leaf's subject, then each issuer, as the engine comes to them. Here the answers are put among
 * the engine's own anchors just before the certificate that asks for them; the engine compares the same hashes. A
 * lookup happens only if the certificate gave no error before, so that only then it can bring the device down.
 */
static void validate(long seconds, char **paths, int count)
{
	static br_x509_trust_anchor anchors[MAX_CHAIN + 1] /* the leaf asks twice */;
	br_x509_minimal_context *engine = allocate(sizeof *engine);
	br_x509_decoder_context *decoder = allocate(sizeof *decoder);
	struct bytes subject = new_name();
	size_t anchor_count = 0;
	unsigned error;
	int i;

	if (count > MAX_CHAIN) fail("the chain is too long");
	memset(anchors, 0, sizeof anchors);
	start_engine(engine, anchors, seconds);
	for (i = 0; i < count; i++) {
		struct bytes der = read_file(paths[i]);
		size_t fatal = member_count, also;

		decode(decoder, der, &subject);
		if (i == 0) fatal = add_anchor(subject, anchors, &anchor_count);
		also = add_anchor(issuer_of(der), anchors, &anchor_count);
		if (fatal == member_count) fatal = also;
		engine->trust_anchors_num = anchor_count;
		engine->vtable->start_cert(&engine->vtable, (uint32_t)der.length);
		engine->vtable->append(&engine->vtable, der.data, der.length);
		if (fatal != member_count && engine->err == 0) {
			printf("chain crash %zu\n", fatal);
			return;
		}
		engine->vtable->end_cert(&engine->vtable);
	}
	error = engine->vtable->end_chain(&engine->vtable);
	if (error == 0) printf("chain ok\n");
	else printf("chain error %u\n", error);
}

static void judge_archive(int count, char **words)
{
	if (count == 0 || count == 2) fail("usage: certstore archive [seconds leaf.der intermediate.der...]");
	member_count = 0;
	index_archive(read_file(words[0]));
	print_members();
	if (count > 2) validate(atol(words[1]), words + 2, count - 2);
}

/* What is allocated for one line stays: a line is a few archives' worth of memory, and the process ends soon. */
static void judge_each_line(void)
{
	static char line[8192];
	char *words[MAX_CHAIN + 3];
	int count;

	while (fgets(line, sizeof line, stdin) != NULL) {
		for (count = 0, words[0] = strtok(line, " \n"); words[count] != NULL; words[count] = strtok(NULL, " \n"))
			if (++count > MAX_CHAIN + 2) fail("the chain is too long");
		judge_archive(count, words);
		printf("end\n");
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "-") == 0) judge_each_line();
	else judge_archive(argc - 1, argv + 1);
	return 0;
}
