/* Whether mbedTLS, as the OtaSeal library calls it on an ESP32, takes signatures over a SHA-256.
 *
 *   mbedtls_signature KEY.pem     reads lines "DIGEST SIGNATURE" in hexadecimal, and prints 1 or 0 for each
 */
#include <mbedtls/pk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGEST = 32, LARGEST = 1024, LINE = 2 * (DIGEST + LARGEST) + 3 };

static size_t parse(const char *hex, unsigned char *out)
{
    size_t size = strlen(hex) / 2;
    for (size_t i = 0; i < size; i++) {
        unsigned value;
        if (sscanf(hex + 2 * i, "%2x", &value) != 1)
            exit(2);
        out[i] = (unsigned char)value;
    }
    return size;
}

int main(int count, char **arguments)
{
    static char line[LINE];
    unsigned char digest[DIGEST], signature[LARGEST];
    mbedtls_pk_context key;
    mbedtls_pk_init(&key);
    if (count != 2 || mbedtls_pk_parse_public_keyfile(&key, arguments[1]) != 0)
        return 2;
    while (fgets(line, sizeof line, stdin)) {
        char *first = strtok(line, " \n"), *second = strtok(NULL, " \n");
        if (!first || !second || strlen(first) != 2 * DIGEST || strlen(second) > 2 * LARGEST)
            return 2;
        parse(first, digest);
        size_t size = parse(second, signature), length = (mbedtls_pk_get_bitlen(&key) + 7) / 8;
        int good = size == length && mbedtls_pk_verify(&key, MBEDTLS_MD_SHA256, digest, DIGEST, signature, size) == 0;
        printf("%d\n", good);
    }
    mbedtls_pk_free(&key);
    return 0;
}
