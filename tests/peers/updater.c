/*
 * What a device makes of an update, from the first byte to the restart: Updater.cpp and eboot.c, on flash as it is.
 *
 *   updater < CASES
 *
 * Each line of CASES is "CORE KEY FLASH FS_START FLASH_SIZE SIZE FILE": the core's release (2.7.4, 3.0.2, 3.1.2, head),
 * the key in the firmware ("-": none; PEM or DER), the chip's content before, where its filesystem begins, the chip's
 * real size, the size that the server announces, and the body. Each gets one line:
 *
 *   error NUMBER                    the updater refuses (F1, F2, F7 to F10)
 *   boots|keeps|bricks CRC          it accepts; after the restart the new image runs, the old one, or none
 *
 * CRC is that of the whole flash then, "-" where eboot wrote what nobody can foretell (behind the end of a gzip, or out
 * of a damaged one). eboot's inflate is zlib here: what zlib refuses, uzlib may take for data. Exits 2 if it cannot judge.
 */
#include "public_key.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { SECTOR = 4096, CHUNK = 128, WORD = 4, MODE = 2, APPLICATION = 4096, MAX_FILE = 16 << 20, MAX_KEY = 8192 };
enum { SPACE = 4, SIZE = 5, STREAM = 6, FLASH_CONFIG = 8, NEW_FLASH_CONFIG = 9, MAGIC_BYTE = 10, SIGN = 12 };

struct device { const char *core, *key_path; unsigned char *flash; size_t fs_start, flash_size, chip_size; };
struct staged { size_t start, size; }; /* where eboot is told to copy from, and how much */

static void fail(const char *what)
{
	fprintf(stderr, "updater: %s\n", what);
	exit(2);
}

static unsigned char *load(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	unsigned char *data = malloc(MAX_FILE + 1);

	if (file == NULL || data == NULL) fail(path);
	*size = fread(data, 1, MAX_FILE + 1, file);
	fclose(file);
	if (*size > MAX_FILE) fail("a file is too large");
	return data;
}

static size_t sectors(size_t size)
{
	return (size + SECTOR - 1) / SECTOR * SECTOR;
}

static uint32_t word(const unsigned char *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static size_t size_by_code(unsigned char byte)
{
	static const size_t kib[16] = { 512, 256, 1024, 2048, 4096, 0, 0, 0, 8192, 16384 };

	return kib[byte >> 4] * 1024;
}

static unsigned char mode_by_byte(unsigned char byte)
{
	return byte < 4 ? byte : 255;
}

/* Where the segments of the image at `start` end; SIZE_MAX if outside of what there is. */
static size_t end_of_segments(const unsigned char *data, size_t size, size_t start)
{
	size_t at = start + 8, i;

	if (size < at) return SIZE_MAX;
	for (i = 0; i < data[start + 1]; i++) {
		if (at > size - 8) return SIZE_MAX;
		at += 8 + (size_t)word(data + at + 4);
		if (at > size) return SIZE_MAX;
	}
	return at;
}

/* ---- The key, as the core reads it ---- */

struct text { unsigned char der[MAX_KEY]; size_t size; };

static void collect(void *context, const void *data, size_t size)
{
	struct text *to = context;

	if (size > MAX_KEY - to->size) fail("the key is too long");
	memcpy(to->der + to->size, data, size);
	to->size += size;
}

/* BearSSLHelpers.cpp, decode_pem and read_public_key: 0 where anything is damaged, or no key is there. */
static int decode_pem(const unsigned char *text, size_t size, struct text *out)
{
	static const char *names[] = { "PUBLIC KEY", "RSA PUBLIC KEY", "EC PUBLIC KEY" };
	br_pem_decoder_context pem;
	size_t used, i;
	int inside = 0, wanted = 0, found = 0, last = 0;
	static struct text skipped;

	br_pem_decoder_init(&pem);
	while (size > 0) {
		used = br_pem_decoder_push(&pem, text, size);
		text += used;
		size -= used;
		switch (br_pem_decoder_event(&pem)) {
		case BR_PEM_BEGIN_OBJ:
			for (wanted = i = 0; i < 3; i++) wanted |= !found && strcmp(br_pem_decoder_name(&pem), names[i]) == 0;
			skipped.size = 0;
			br_pem_decoder_setdest(&pem, collect, wanted ? out : &skipped);
			inside = 1;
			break;
		case BR_PEM_END_OBJ:
			found |= wanted;
			inside = 0;
			break;
		case BR_PEM_ERROR: return 0;
		}
		if (size == 0 && !last) text = (const unsigned char *)"\n", size = last = 1;
	}
	return found && !inside;
}

/* The fork of BearSSL that the cores build skips these in PEM wherever they stand; upstream, linked here, does not (F2). */
static size_t drop_carriage_returns(unsigned char *text, size_t size)
{
	size_t from, to = 0;

	for (from = 0; from < size; from++) if (text[from] != '\r') text[to++] = text[from];
	return to;
}

/* 0 where the key is on a curve or cannot be used at all: then nothing is ever accepted (F2). It is read as text. */
static int load_key(const char *path, br_rsa_public_key *key)
{
	static struct text der;
	size_t size;
	unsigned char *text = load(path, &size), *zero = memchr(text, 0, size);
	int found = 1;

	if (zero != NULL) size = (size_t)(zero - text);
	der.size = 0;
	if (size > 3 && text[0] == 0x30 && text[1] == 0x82 && (size_t)(text[2] << 8 | text[3]) == size - 4) collect(&der, text, size);
	else found = decode_pem(text, drop_carriage_returns(text, size), &der);
	free(text);
	return found && read_rsa_key(der.der, der.size, key);
}

/* ---- Updater.cpp ---- */

/* 3.1.2 hashes a last chunk that is no whole number of words without reading it: old bytes, or none at all (F8). */
static int hash(const char *core, const unsigned char *payload, size_t size, unsigned char *digest)
{
	unsigned char chunk[CHUNK];
	br_sha256_context context;
	size_t offset, length;
	int known = 0;

	br_sha256_init(&context);
	for (offset = 0; offset < size; offset += length) {
		length = size - offset < CHUNK ? size - offset : CHUNK;
		if (strcmp(core, "3.1.2") != 0 || length % WORD == 0) memcpy(chunk, payload + offset, length), known = 1;
		if (!known) return 0;
		br_sha256_update(&context, chunk, length);
	}
	br_sha256_out(&context, digest);
	return 1;
}

/* Takes the trailer off *size if the signature holds. */
static int verify(const struct device *device, const unsigned char *update, size_t *size)
{
	unsigned char computed[br_sha256_SIZE], opened[br_sha256_SIZE];
	br_rsa_public_key key;
	size_t payload;

	if (!load_key(device->key_path, &key) || *size < WORD) return SIGN;
	if (word(update + *size - WORD) != key.nlen || *size < key.nlen + WORD) return SIGN;
	payload = *size - key.nlen - WORD;
	if (!br_rsa_i15_pkcs1_vrfy(update + payload, key.nlen, BR_HASH_OID_SHA256, sizeof opened, &key, opened)) return SIGN;
	if (!hash(device->core, update, payload, computed) || memcmp(computed, opened, sizeof opened) != 0) return SIGN;
	*size = payload;
	return 0;
}

static void write_flash(const struct device *device, size_t start, const unsigned char *data, size_t size)
{
	unsigned char *to = device->flash + start;

	memset(to, 0xFF, sectors(size));
	memcpy(to, data, size);
	/* The first buffer, unless it begins as a gzip does; the comparison is between modes, not bytes (F7). */
	if (size > MODE && data[0] != 0x1F && mode_by_byte(data[MODE]) != mode_by_byte(device->flash[MODE]))
		to[MODE] = mode_by_byte(device->flash[MODE]);
}

/* begin, writeStream and end; returns the error's number, or 0 and what eboot is told. */
static int update(const struct device *device, const unsigned char *data, size_t size, size_t said, struct staged *staged)
{
	size_t sketch = end_of_segments(device->flash, device->flash_size, APPLICATION), whole = size;
	const unsigned char *head;
	int error;

	if (said == 0) return SIZE;
	if (size_by_code(device->flash[3]) > device->chip_size) return FLASH_CONFIG;
	if (sketch == SIZE_MAX) fail("the chip has no sketch");
	sketch = sectors((sketch + 16) & ~(size_t)15);
	staged->start = device->fs_start > sectors(said) ? device->fs_start - sectors(said) : 0;
	if (staged->start < sketch) return SPACE;
	if (size == 0 || (data[0] != 0xE9 && data[0] != 0x1F)) return MAGIC_BYTE;
	write_flash(device, staged->start, data, size < said ? size : said);
	if (size < said) return STREAM;
	head = device->flash + staged->start;
	if (device->key_path[0] != '-' && (error = verify(device, head, &size)) != 0) return error;
	if (head[0] != 0x1F || head[1] != 0x8B) {
		if (head[0] != 0xE9) return MAGIC_BYTE;
		if (size_by_code(head[3]) > device->chip_size) return NEW_FLASH_CONFIG;
	}
	staged->size = strcmp(device->core, "2.7.4") == 0 ? whole : size; /* 2.7.4 forgets to take the trailer off (F8b) */
	return 0;
}

/* ---- eboot.c ---- */

struct gzip { unsigned char *flash; size_t limit, next; z_stream inflate; unsigned char sector[SECTOR]; int ended; };

static int take(struct gzip *gzip)
{
	if (gzip->inflate.avail_in == 0) { /* a sector is read when it is needed, whatever has become of it by then */
		if (gzip->next + SECTOR > gzip->limit) return -1;
		memcpy(gzip->sector, gzip->flash + gzip->next, SECTOR);
		gzip->next += SECTOR;
		gzip->inflate.next_in = gzip->sector;
		gzip->inflate.avail_in = SECTOR;
	}
	gzip->inflate.avail_in--;
	return *gzip->inflate.next_in++;
}

static void skip_text(struct gzip *gzip)
{
	while (take(gzip) > 0) { }
}

static int skip_header(struct gzip *gzip)
{
	int head[10], i, extra;

	for (i = 0; i < 10; i++) head[i] = take(gzip);
	if (head[2] != 8 || head[3] & 0xE0) return 0;
	if (head[3] & 0x04) {
		extra = take(gzip);
		extra |= take(gzip) << 8;
		while (extra-- > 0) take(gzip);
	}
	if (head[3] & 0x08) skip_text(gzip);
	if (head[3] & 0x10) skip_text(gzip);
	if (head[3] & 0x02) take(gzip), take(gzip);
	return 1;
}

/* Inflates up to `wanted` bytes; returns how many there were, or SIZE_MAX for data that makes no sense. */
static size_t inflate_some(struct gzip *gzip, unsigned char *to, size_t wanted)
{
	gzip->inflate.next_out = to;
	gzip->inflate.avail_out = (uInt)wanted;
	while (gzip->inflate.avail_out > 0 && !gzip->ended) {
		int result;

		if (gzip->inflate.avail_in == 0) {
			if (take(gzip) < 0) return SIZE_MAX;
			gzip->inflate.next_in--;
			gzip->inflate.avail_in++;
		}
		result = inflate(&gzip->inflate, Z_NO_FLUSH);
		if (result == Z_STREAM_END) gzip->ended = 1;
		else if (gzip->inflate.avail_out == 0) break; /* zlib looks ahead, uzlib does not */
		else if (result != Z_OK && result != Z_BUF_ERROR) return SIZE_MAX;
	}
	return wanted - gzip->inflate.avail_out;
}

/* Copies a gzip over the flash it lies in. *written counts bytes that were written, *known is cleared for unknown ones. */
static void copy_gzip(const struct device *device, const struct staged *staged, size_t *written, int *known)
{
	static struct gzip gzip;
	static unsigned char buffer[SECTOR];
	int32_t left = (int32_t)word(device->flash + staged->start + staged->size - WORD);
	size_t to = 0, wanted, got;

	memset(&gzip, 0, sizeof gzip);
	gzip.flash = device->flash;
	gzip.limit = device->flash_size;
	gzip.next = staged->start;
	if (inflateInit2(&gzip.inflate, -15) != Z_OK) fail("zlib");
	if (skip_header(&gzip)) {
		for (; left > 0 && to < device->flash_size; left -= SECTOR, to += SECTOR) {
			wanted = left < SECTOR ? (size_t)left : SECTOR;
			got = inflate_some(&gzip, buffer, wanted);
			if (got == SIZE_MAX) {
				*known = 0;
				if (strcmp(device->core, "2.7.4") == 0) { /* erases before it unpacks; since 3.0 after */
					memset(device->flash + to, 0xFF, SECTOR);
					*written = to + SECTOR;
				}
				break;
			}
			if (got < wanted) *known = 0; /* behind the end: whatever uzlib makes of it, anything but the image */
			memset(buffer + got, got < wanted ? 0xA5 : 0xFF, SECTOR - got);
			memcpy(device->flash + to, buffer, SECTOR);
			*written = to + wanted;
		}
	}
	inflateEnd(&gzip.inflate);
}

static void copy_raw(const struct device *device, const struct staged *staged, size_t *written)
{
	size_t at;

	for (at = 0; at < staged->size; at += SECTOR)
		memmove(device->flash + at, device->flash + staged->start + at, SECTOR);
	*written = staged->size;
}

/* The boot ROM's checksum over the segments of the boot loader. */
static int rom_starts(const unsigned char *flash)
{
	size_t end = end_of_segments(flash, APPLICATION, 0), at = 8, i, segment;
	unsigned char sum = 0xEF;

	if (flash[0] != 0xE9 || end == SIZE_MAX) return 0;
	for (segment = 0; segment < flash[1]; segment++) {
		size_t length = word(flash + at + 4);

		for (i = 0; i < length; i++) sum ^= flash[at + 8 + i];
		at += 8 + length;
	}
	end = (end + 16) / 16 * 16 - 1;
	return end < APPLICATION && flash[end] == sum;
}

/* What the chip starts: eboot loads segments wherever they lead and checks nothing, so the bytes have to be there. */
static const char *outcome(const struct device *device, const unsigned char *wanted, size_t size, size_t written)
{
	size_t end;

	if (!rom_starts(device->flash)) return "bricks";
	if (written <= APPLICATION) return "keeps"; /* the application is the old one */
	end = end_of_segments(wanted, size, APPLICATION);
	if (end == SIZE_MAX || (end = (end + 16) / 16 * 16) > size || end > written) return "bricks";
	return memcmp(device->flash + APPLICATION, wanted + APPLICATION, end - APPLICATION) ? "bricks" : "boots";
}

/* What was meant: the raw payload, or the gzip's content as it was before the copying. */
static unsigned char *meant(const struct device *device, const struct staged *staged, int gzipped, size_t *size)
{
	static struct gzip gzip;
	unsigned char *out = malloc(MAX_FILE);

	if (out == NULL) fail("out of memory");
	*size = staged->size;
	if (!gzipped) return memcpy(out, device->flash + staged->start, staged->size);
	memset(&gzip, 0, sizeof gzip);
	gzip.flash = device->flash;
	gzip.limit = device->flash_size;
	gzip.next = staged->start;
	if (inflateInit2(&gzip.inflate, -15) != Z_OK) fail("zlib");
	*size = skip_header(&gzip) ? inflate_some(&gzip, out, MAX_FILE) : 0;
	if (*size == SIZE_MAX) *size = 0;
	inflateEnd(&gzip.inflate);
	return out;
}

static void restart(const struct device *device, const struct staged *staged)
{
	const unsigned char *head = device->flash + staged->start;
	int gzipped = head[0] == 0x1F && head[1] == 0x8B, known = 1;
	size_t size, written = 0;
	unsigned char *wanted = meant(device, staged, gzipped, &size);

	if (gzipped) copy_gzip(device, staged, &written, &known);
	else copy_raw(device, staged, &written);
	printf("%s ", outcome(device, wanted, size, written));
	if (known) printf("%08lx\n", crc32(0, device->flash, (uInt)device->flash_size));
	else printf("-\n");
	free(wanted);
}

int main(void)
{
	static char core[16], key[512], chip[512], file[512];
	struct device device = { .core = core, .key_path = key };
	size_t said, size;

	while (scanf("%15s %511s %511s %zu %zu %zu %511s", core, key, chip, &device.fs_start, &device.chip_size, &said, file) == 7) {
		struct staged staged;
		unsigned char *data = load(file, &size);
		int error;

		device.flash = load(chip, &device.flash_size);
		if (device.fs_start > device.flash_size || device.flash_size < 2 * SECTOR) fail("the chip is too small");
		error = update(&device, data, size, said, &staged);
		if (error) printf("error %d\n", error);
		else restart(&device, &staged);
		free(data);
		free(device.flash);
	}
	return 0;
}
