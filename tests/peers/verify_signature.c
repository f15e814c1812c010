/* A model of how core 3.1.2 verifies a signed update, on the same BearSSL that the core uses.
 *
 *   verify_signature KEY.der IMAGE FLASH_MODE          prints "accepted" or "refused: why"; exit code 0 or 1
 *   verify_signature KEY.der IMAGE FLASH_MODE sweep    flips every single bit of IMAGE in turn, prints "OFFSET BIT" for
 *                                                      each flip that is accepted, then "flips COUNT"
 *
 * KEY.der is a public key as SubjectPublicKeyInfo, FLASH_MODE the chip's own (0 to 3). Facts F1, F2, F7, F8.
 */
#include "public_key.h"
#include <bearssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 16 << 20, MAX_SIGNATURE = 1024, CHUNK = 128, WORD = 4, MODE_OFFSET = 2 };

static br_rsa_public_key key;

static void fail(const char *why)
{
    fprintf(stderr, "verify_signature: %s\n", why);
    exit(2);
}

static unsigned char *load(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *data = malloc(MAX_FILE + 1);
    if (!file || !data)
        fail("cannot read a file");
    *size = fread(data, 1, MAX_FILE + 1, file);
    fclose(file);
    if (*size > MAX_FILE)
        fail("file too large");
    return data;
}

static void load_key(const char *path)
{
    size_t size;
    unsigned char *der = load(path, &size); /* stays: the key points into it */
    if (!read_rsa_key(der, size, &key))
        fail("key is no SubjectPublicKeyInfo of an RSA key");
}

/* Hash the payload in chunks through one buffer; a chunk that is no multiple of a word is not read into it (F8). */
static void hash_payload(const unsigned char *flash, size_t size, unsigned char *digest)
{
    unsigned char buffer[CHUNK] = { 0 };
    br_sha256_context context;
    br_sha256_init(&context);
    for (size_t offset = 0; offset < size; offset += CHUNK) {
        size_t length = size - offset < CHUNK ? size - offset : CHUNK;
        if (length % WORD == 0)
            memcpy(buffer, flash + offset, length);
        br_sha256_update(&context, buffer, length);
    }
    br_sha256_out(&context, digest);
}

/* Open the signature; the one opened last is remembered, because a sweep asks for it again and again. */
static int open_signature(const unsigned char *signature, size_t size, unsigned char *digest)
{
    static unsigned char last[MAX_SIGNATURE], opened[br_sha256_SIZE];
    static size_t last_size;
    static uint32_t good;
    if (size > MAX_SIGNATURE)
        return 0;
    if (size != last_size || memcmp(last, signature, size)) {
        memcpy(last, signature, size);
        last_size = size;
        good = br_rsa_i15_pkcs1_vrfy(signature, size, BR_HASH_OID_SHA256, br_sha256_SIZE, &key, opened);
    }
    memcpy(digest, opened, br_sha256_SIZE);
    return good == 1;
}

/* Return NULL if the update is accepted, else why not. `flash` is what the updater wrote, byte 2 replaced already. */
static const char *verify(const unsigned char *flash, size_t size)
{
    unsigned char computed[br_sha256_SIZE], signed_digest[br_sha256_SIZE];
    const unsigned char *word;
    if (!size || (flash[0] != 0xe9 && flash[0] != 0x1f))
        return "first byte";
    if (size < WORD)
        return "too short";
    word = flash + size - WORD;
    if ((word[0] | word[1] << 8 | word[2] << 16 | (uint32_t)word[3] << 24) != key.nlen)
        return "length word";
    if (size < key.nlen + WORD)
        return "too short";
    size -= key.nlen + WORD;
    if (!open_signature(flash + size, key.nlen, signed_digest))
        return "signature";
    hash_payload(flash, size, computed);
    if (memcmp(computed, signed_digest, sizeof computed))
        return "digest";
    if (flash[0] == 0x1f && flash[1] != 0x8b)
        return "magic";
    return NULL;
}

static void write_flash(unsigned char *flash, const unsigned char *data, size_t size, int mode)
{
    memcpy(flash, data, size);
    if (size > MODE_OFFSET && data[0] != 0x1f)
        flash[MODE_OFFSET] = (unsigned char)mode; /* before anything is hashed (F7) */
}

static void sweep(unsigned char *data, size_t size, int mode)
{
    unsigned char *flash = malloc(size);
    size_t count = 0;
    if (!flash)
        fail("out of memory");
    for (size_t offset = 0; offset < size; offset++)
        for (int bit = 0; bit < 8; bit++, count++) {
            data[offset] ^= 1u << bit;
            write_flash(flash, data, size, mode);
            if (!verify(flash, size))
                printf("%zu %d\n", offset, bit);
            data[offset] ^= 1u << bit;
        }
    printf("flips %zu\n", count);
    free(flash);
}

int main(int argc, char **argv)
{
    size_t size;
    if (argc < 4)
        fail("usage: verify_signature KEY.der IMAGE FLASH_MODE [sweep]");
    load_key(argv[1]);
    unsigned char *data = load(argv[2], &size);
    int mode = atoi(argv[3]);
    if (argc > 4) {
        sweep(data, size, mode);
        return 0;
    }
    unsigned char *flash = malloc(size + 1);
    if (!flash)
        fail("out of memory");
    write_flash(flash, data, size, mode);
    const char *why = verify(flash, size);
    if (why)
        printf("refused: %s\n", why);
    else
        puts("accepted");
    return why ? 1 : 0;
}
