/* An RSA public key out of a SubjectPublicKeyInfo in DER, for BearSSL, which reads no such thing itself. */
#ifndef PUBLIC_KEY_H
#define PUBLIC_KEY_H

#include <bearssl.h>
#include <stddef.h>

/* Steps into the DER element at *at, which must have this tag; its content's length goes to *length. 0: there is none. */
static int enter(const unsigned char **at, const unsigned char *end, int tag, size_t *length)
{
	const unsigned char *p = *at;
	size_t size;

	if (end - p < 2 || *p++ != tag) return 0;
	size = *p++;
	if (size & 0x80) {
		int count = size & 0x7f;

		if (count > 2 || end - p < count) return 0;
		for (size = 0; count; count--) size = size << 8 | *p++;
	}
	if ((size_t)(end - p) < size) return 0;
	*at = p;
	*length = size;
	return 1;
}

static int integer(const unsigned char **at, const unsigned char *end, unsigned char **value, size_t *size)
{
	if (!enter(at, end, 0x02, size)) return 0;
	*value = (unsigned char *)*at;
	*at += *size;
	while (*size && !**value) ++*value, --*size;
	return 1;
}

/* The key points into `der`. Returns 0 if this is no RSA key. */
static int read_rsa_key(const unsigned char *der, size_t size, br_rsa_public_key *key)
{
	const unsigned char *at = der, *end = der + size;
	size_t length;

	if (!enter(&at, end, 0x30, &length) || !enter(&at, end, 0x30, &length)) return 0;
	at += length; /* the algorithm */
	if (!enter(&at, end, 0x03, &length) || length == 0) return 0;
	at++; /* unused bits of the bit string: none */
	return enter(&at, end, 0x30, &length) && integer(&at, end, &key->n, &key->nlen)
	       && integer(&at, end, &key->e, &key->elen);
}

#endif
