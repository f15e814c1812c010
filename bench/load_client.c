/*
 * Many devices that ask an update server over TLS 1.2, as ESP8266httpUpdate does: ECDHE-RSA with ChaCha20 and X25519, no
 * session tickets, a new connection for each request unless told otherwise. Certificates are not verified: what is
 * measured is the server.
 *
 *   load_client <port> <requests> <threads> <new|resumed|kept|day> <record size> <status> <first device> <devices> < request
 *
 * <record size> is 512 to negotiate maximum-fragment-length, 0 not to. In the request "00:00:00", the last half of the
 * MAC address, is replaced by the number of a device, from <first device> on, <devices> of them in turn; with 0 <devices>
 * the input is all requests instead, each as long as the others, and is sent as it is. Prints the bytes
 * of all bodies and the number of sessions resumed; exits 1 when an answer is not complete or has not that status.
 *
 * For a "day" each device resumes its own last session, and forgets it after 24 hours. Behind the request's empty line
 * come lines "<seconds> <device> <device> ...": these poll, each at most once, at that time of the day; what is printed
 * follows each line. How old the sessions are that devices begin the day with, is spread over 24 hours.
 */
#define _GNU_SOURCE /* strcasestr */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define MAX_REQUEST 4096
#define INPUT_ROOM (16 << 20)
#define MAX_HEAD 8192
#define MAX_THREADS 64
#define TIMEOUT_SECONDS 20
#define MARK "00:00:00"

#define SESSION_SECONDS (24 * 3600L)

enum mode { NEW, RESUMED, KEPT, DAY };

static int port, threads, status_wanted, record_size;
static long requests, first_device, devices;
static enum mode mode;
static char *input;
static size_t request_length, mark;
static SSL_CTX *context;

struct work { long from, to, bytes, resumed; };

struct device { SSL_SESSION *session; long since; };

static struct device *fleet; /* for a day, those of `due`, at `now` */
static long *due, now;

static void fail(const char *what)
{
	fprintf(stderr, "load_client: %s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static SSL *open_connection(SSL_SESSION *session, struct work *work)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	struct timeval limit = { TIMEOUT_SECONDS, 0 };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	SSL *ssl = SSL_new(context);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || ssl == NULL || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("no connection");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	SSL_set_fd(ssl, fd);
	SSL_set_tlsext_host_name(ssl, "localhost");
	if (session != NULL) SSL_set_session(ssl, session);
	if (SSL_connect(ssl) != 1) fail("no handshake");
	work->resumed += SSL_session_reused(ssl);
	return ssl;
}

static void close_connection(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
}

static long ask(SSL *ssl, long position)
{
	static __thread char buffer[65536];
	char own[MAX_REQUEST], number[16], *end, *length;
	size_t have = 0;
	long left, body, device;
	int got;

	memcpy(own, devices == 0 ? input + (size_t)position * request_length : input, request_length);
	if (mark != 0) {
		device = first_device + position % devices;
		snprintf(number, sizeof number, "%02lX:%02lX:%02lX", device >> 16 & 255, device >> 8 & 255, device & 255);
		memcpy(own + mark, number, strlen(MARK));
	}
	if (SSL_write(ssl, own, (int)request_length) != (int)request_length) fail("the request was not taken");
	do {
		got = SSL_read(ssl, buffer + have, (int)(MAX_HEAD - have));
		if (got <= 0) fail("no answer");
		have += (size_t)got;
		buffer[have] = 0;
		end = strstr(buffer, "\r\n\r\n");
	} while (end == NULL && have < MAX_HEAD);
	if (end == NULL || atoi(buffer + strlen("HTTP/1.1 ")) != status_wanted) fail(buffer);
	*end = 0;
	length = strcasestr(buffer, "\r\ncontent-length:");
	if (length == NULL && status_wanted != 304) fail("no Content-Length");
	body = length == NULL ? 0 : atol(length + strlen("\r\ncontent-length:"));
	for (left = body - (long)(have - (size_t)(end + 4 - buffer)); left > 0; left -= got) {
		got = SSL_read(ssl, buffer, sizeof buffer);
		if (got <= 0) fail("half an answer");
	}
	return body;
}

static void *run(void *argument)
{
	struct work *work = argument;
	SSL_SESSION *session = NULL;
	SSL *ssl = NULL;
	long number;

	for (number = work->from; number < work->to; number++) {
		if (ssl == NULL) ssl = open_connection(session, work);
		work->bytes += ask(ssl, number);
		if (mode == RESUMED && session == NULL) session = SSL_get1_session(ssl);
		if (mode != KEPT) {
			close_connection(ssl);
			ssl = NULL;
		}
	}
	if (ssl != NULL) close_connection(ssl);
	SSL_SESSION_free(session);
	return NULL;
}

static void *run_day(void *argument)
{
	struct work *work = argument;
	struct device *device;
	SSL *ssl;
	long i;

	for (i = work->from; i < work->to; i++) {
		device = &fleet[due[i]];
		if (now - device->since >= SESSION_SECONDS) {
			SSL_SESSION_free(device->session);
			device->session = NULL;
			device->since = now;
		}
		ssl = open_connection(device->session, work);
		work->bytes += ask(ssl, due[i]);
		SSL_SESSION_free(device->session);
		device->session = SSL_get1_session(ssl);
		close_connection(ssl);
	}
	return NULL;
}

static void share(long count, void *(*thread)(void *))
{
	pthread_t started[MAX_THREADS];
	struct work works[MAX_THREADS] = { 0 };
	long bytes = 0, resumed = 0;
	int i;

	for (i = 0; i < threads; i++) {
		works[i].from = count * i / threads;
		works[i].to = count * (i + 1) / threads;
		if (pthread_create(&started[i], NULL, thread, &works[i]) != 0) fail("no thread");
	}
	for (i = 0; i < threads; i++) {
		pthread_join(started[i], NULL);
		bytes += works[i].bytes;
		resumed += works[i].resumed;
	}
	printf("%ld %ld\n", bytes, resumed);
	fflush(stdout);
}

static void live_a_day(void)
{
	char *line = NULL, *at, *next;
	size_t room = 0;
	long count, i;

	fleet = calloc((size_t)devices, sizeof *fleet);
	due = calloc((size_t)devices, sizeof *due);
	if (fleet == NULL || due == NULL) fail("no memory");
	for (i = 0; i < devices; i++) fleet[i].since = -(i * SESSION_SECONDS / devices);
	while (getline(&line, &room, stdin) > 0) {
		now = strtol(line, &at, 10);
		for (count = 0; count < devices; count++, at = next) {
			due[count] = strtol(at, &next, 10);
			if (next == at) break;
			if (due[count] < 0 || due[count] >= devices) fail("no such device");
		}
		share(count, run_day);
	}
}

static size_t read_head(void)
{
	char *line = input;

	while (fgets(line, (int)(input + MAX_REQUEST - line), stdin) != NULL) {
		if (strcmp(line, "\r\n") == 0) return (size_t)(line - input) + 2;
		line += strlen(line);
	}
	return 0;
}

int main(int argc, char **argv)
{
	char *found;

	if (argc != 9) fail("usage: see the source");
	port = atoi(argv[1]);
	requests = atol(argv[2]);
	threads = atoi(argv[3]);
	mode = strcmp(argv[4], "kept") == 0 ? KEPT : strcmp(argv[4], "resumed") == 0 ? RESUMED
	    : strcmp(argv[4], "day") == 0 ? DAY : NEW;
	record_size = atoi(argv[5]);
	status_wanted = atoi(argv[6]);
	first_device = atol(argv[7]);
	devices = atol(argv[8]);
	if (threads < 1 || threads > MAX_THREADS || requests < 1 || devices < 0) fail("1 to 64 threads, and requests");
	input = calloc(1, INPUT_ROOM + 1);
	if (input == NULL) fail("no memory");
	request_length = mode == DAY ? read_head() : fread(input, 1, INPUT_ROOM, stdin);
	if (devices == 0) {
		if (request_length % (size_t)requests != 0) fail("requests of different lengths");
		request_length /= (size_t)requests;
	}
	if (request_length == 0 || request_length >= MAX_REQUEST) fail("no request, or too long a one");
	found = devices == 0 ? NULL : strstr(input, MARK);
	mark = found == NULL ? 0 : (size_t)(found - input);
	context = SSL_CTX_new(TLS_client_method());
	if (context == NULL || !SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION)
	    || !SSL_CTX_set_cipher_list(context, "ECDHE-RSA-CHACHA20-POLY1305")
	    || !SSL_CTX_set1_groups_list(context, "X25519")) fail("no TLS");
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	if (record_size == 512) SSL_CTX_set_tlsext_max_fragment_length(context, TLSEXT_max_fragment_length_512);
	if (mode == DAY) live_a_day();
	else share(requests, run);
	return 0;
}
