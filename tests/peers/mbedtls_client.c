/*
 * An Mbed TLS client with the library's defaults, at a time that is given.
 *
 *   mbedtls_client <port> <name> <seconds since 1970> <anchor.der>...
 *
 * Connects to 127.0.0.1, requires the server's certificate to be for <name>. Prints "ok" and exits 0 after a complete
 * handshake, or "error <Mbed TLS code> flags <verification flags>" and exits 1; exits 2 when it could not try.
 */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MILLISECONDS 60000

static time_t fixed_now;

/* The library asks the C library for the time: this definition stands before that one. */
time_t time(time_t *out)
{
	if (out != NULL) *out = fixed_now;
	return fixed_now;
}

static void fail(const char *what, int code)
{
	fprintf(stderr, "mbedtls_client: %s: -0x%04x\n", what, (unsigned)-code);
	exit(2);
}

int main(int argc, char **argv)
{
	static const unsigned char request[] = "GET / HTTP/1.0\r\n\r\n";
	mbedtls_ssl_context ssl;
	mbedtls_ssl_config config;
	mbedtls_x509_crt anchors;
	mbedtls_entropy_context entropy;
	mbedtls_ctr_drbg_context random;
	mbedtls_net_context net;
	int code, i;

	if (argc < 5) fail("usage: mbedtls_client <port> <name> <time> <anchor.der>...", 0);
	fixed_now = (time_t)atoll(argv[3]);
	mbedtls_ssl_init(&ssl);
	mbedtls_ssl_config_init(&config);
	mbedtls_x509_crt_init(&anchors);
	mbedtls_entropy_init(&entropy);
	mbedtls_ctr_drbg_init(&random);
	mbedtls_net_init(&net);
	code = mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0);
	if (code != 0) fail("random numbers", code);
	for (i = 4; i < argc; i++) {
		code = mbedtls_x509_crt_parse_file(&anchors, argv[i]);
		if (code != 0) {
			printf("error -0x%04x anchor\n", (unsigned)-code);
			return 1;
		}
	}
	code = mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
	if (code != 0) fail("configuration", code);
	mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
	mbedtls_ssl_conf_ca_chain(&config, &anchors, NULL);
	mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
	mbedtls_ssl_conf_read_timeout(&config, TIMEOUT_MILLISECONDS);
	code = mbedtls_ssl_setup(&ssl, &config);
	if (code == 0) code = mbedtls_ssl_set_hostname(&ssl, argv[2]);
	if (code == 0) code = mbedtls_net_connect(&net, "127.0.0.1", argv[1], MBEDTLS_NET_PROTO_TCP);
	if (code != 0) fail("connection", code);
	mbedtls_ssl_set_bio(&ssl, &net, mbedtls_net_send, NULL, mbedtls_net_recv_timeout);
	code = mbedtls_ssl_handshake(&ssl);
	if (code != 0) {
		printf("error -0x%04x flags 0x%x\n", (unsigned)-code, (unsigned)mbedtls_ssl_get_verify_result(&ssl));
		return 1;
	}
	mbedtls_ssl_write(&ssl, request, sizeof request - 1);
	printf("ok\n");
	mbedtls_ssl_close_notify(&ssl);
	return 0;
}
