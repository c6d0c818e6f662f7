/*
 * A store from the command line, for the tests that run the stores against real servers.
 *
 *   store_tool [-e ENDPOINT] [-r REGION] [-d DEADLINE_MS] [-c CONNECT_MS] [-n RETRIES] URL COMMAND ARGUMENTS
 *
 *   head KEY | get KEY | range KEY OFFSET LENGTH [ETAG] | fetch KEY OFFSET LENGTH [ETAG] | getfile KEY PATH | put KEY TEXT | putx KEY TEXT |
 *   putfile KEY PATH | delete KEY | list PREFIX | probe | prepare | twice KEY (two gets: the second's time shows health) |
 *   parallel KEY COUNT LENGTH (COUNT fetches of adjacent ranges, in order)
 *
 * Bytes go to stdout.  A failure prints "ENAME: message" on stderr and exits 1.
 */
#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct wait {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool done;
	int code;
	struct err e;
	struct buf got;
};

static int on_data(void *arg, const void *bytes, size_t len)
{
	struct wait *w = arg;
	buf_add(&w->got, bytes, len);
	return 0;
}

static void on_done(void *arg, int code, const struct err *e)
{
	struct wait *w = arg;
	pthread_mutex_lock(&w->lock);
	w->code = code;
	if (code)
		w->e = *e;
	w->done = true;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&w->lock);
}

static int begin(struct store *s, struct wait *w, const char *key, uint64_t offset, uint64_t length, const char *etag, struct err *e)
{
	struct fetch_request q = { .key = key, .offset = offset, .length = length, .if_match = etag, .on_data = on_data, .on_done = on_done, .arg = w };
	memset(w, 0, sizeof *w);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->ended, NULL);
	return store_fetch(s, &q, NULL, e);
}

static int end(struct wait *w, struct err *e)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->ended, &w->lock);
	pthread_mutex_unlock(&w->lock);
	fwrite(buf_text(&w->got), 1, w->got.len, stdout);
	buf_free(&w->got);
	if (w->code)
		*e = w->e;
	return w->code;
}

static int fetch(struct store *s, char **a, const char *etag, struct err *e)
{
	struct wait w;
	int r = begin(s, &w, a[0], strtoull(a[1], NULL, 10), strtoull(a[2], NULL, 10), etag, e);
	return r ? r : end(&w, e);
}

static int parallel(struct store *s, char **a, struct err *e)
{
	size_t count = strtoull(a[1], NULL, 10), length = strtoull(a[2], NULL, 10), started = 0;
	struct wait *w = calloc(count, sizeof *w);
	int r = w ? 0 : -ENOMEM;
	for (; !r && started < count; started += !r)
		r = begin(s, &w[started], a[0], started * length, length, NULL, e);
	for (size_t i = 0; i < started; i++) {
		struct err mine = ERR_INIT;
		int one = end(&w[i], &mine);
		if (one && !r) {
			r = one;
			*e = mine;
		}
	}
	free(w);
	return r;
}

static int print_object(void *arg, const char *key, const struct object_info *info)
{
	(void)arg;
	printf("%llu %s %s\n", (unsigned long long)info->size, info->etag, key);
	return 0;
}

static void print_progress(void *arg, uint64_t n)
{
	*(uint64_t *)arg += n;
}

static int get(struct store *s, const char *key, struct err *e)
{
	struct buf b = BUF_INIT;
	int r = store_get(s, key, 64u << 20, &b, NULL, e);
	if (!r)
		fwrite(buf_text(&b), 1, b.len, stdout);
	buf_free(&b);
	return r;
}

static int twice(struct store *s, const char *key, struct err *e)
{
	struct err first = ERR_INIT;
	int r = get(s, key, &first);
	int64_t from = clock_mono_ms();
	fprintf(stderr, "first %s healthy %d\n", r ? strerrorname_np(-r) : "ok", store_healthy(s));
	r = get(s, key, e);
	fprintf(stderr, "second after %lld ms\n", (long long)(clock_mono_ms() - from));
	for (int i = 0; r && i < 100 && !store_healthy(s); i++)
		usleep(100000);
	fprintf(stderr, "healthy %d\n", store_healthy(s));
	return r ? get(s, key, e) : 0;
}

static int range(struct store *s, char **a, const char *etag, struct err *e)
{
	size_t len = strtoull(a[2], NULL, 10);
	char *bytes = malloc(len + 1);
	int r = bytes ? store_get_range(s, a[0], strtoull(a[1], NULL, 10), len, etag, bytes, e) : -ENOMEM;
	if (!r)
		fwrite(bytes, 1, len, stdout);
	free(bytes);
	return r;
}

static int run(struct store *s, int argc, char **argv, struct err *e)
{
	const char *c = argc ? argv[0] : "";
	char **a = argv + 1;
	struct object_info info;
	uint64_t sent = 0;
	bool yes = false;
	int r = -EINVAL;
	if (!strcmp(c, "head") && argc == 2) {
		r = store_head(s, a[0], &info, e);
		if (!r)
			printf("%llu %s %lld\n", (unsigned long long)info.size, info.etag, (long long)info.modified_ns);
	} else if (!strcmp(c, "get") && argc == 2) {
		r = get(s, a[0], e);
	} else if (!strcmp(c, "range") && argc >= 4) {
		r = range(s, a, argc > 4 ? a[3] : NULL, e);
	} else if (!strcmp(c, "fetch") && argc >= 4) {
		r = fetch(s, a, argc > 4 ? a[3] : NULL, e);
	} else if (!strcmp(c, "parallel") && argc == 4) {
		r = parallel(s, a, e);
	} else if (!strcmp(c, "getfile") && argc == 3) {
		r = store_get_file(s, a[0], a[1], &info, e);
	} else if (!strcmp(c, "put") && argc == 3) {
		r = store_put(s, a[0], a[1], strlen(a[1]), PUT_REPLACE, e);
	} else if (!strcmp(c, "putx") && argc == 3) {
		r = store_put(s, a[0], a[1], strlen(a[1]), PUT_EXCLUSIVE, e);
	} else if (!strcmp(c, "putfile") && argc == 3) {
		r = store_put_file(s, a[0], a[1], print_progress, &sent, e);
		printf("%llu\n", (unsigned long long)sent);
	} else if (!strcmp(c, "delete") && argc == 2) {
		r = store_delete(s, a[0], e);
	} else if (!strcmp(c, "list") && argc == 2) {
		r = store_list(s, a[0], print_object, NULL, e);
	} else if (!strcmp(c, "probe")) {
		r = store_probe_exclusive(s, &yes, e);
		printf("%s\n", yes ? "exclusive" : "not exclusive");
	} else if (!strcmp(c, "prepare")) {
		r = store_prepare(s, e);
	} else if (!strcmp(c, "twice") && argc == 2) {
		r = twice(s, a[0], e);
	} else {
		err_set(e, r, "unknown command or wrong number of arguments");
	}
	return r;
}

int main(int argc, char **argv)
{
	struct transfer_config config = { 0 };
	struct transfer *t = NULL;
	struct store *s = NULL;
	struct err e = ERR_INIT;
	const char *endpoint = NULL, *region = NULL;
	int option;
	while ((option = getopt(argc, argv, "+e:r:d:c:n:")) != -1) {
		if (option == 'e')
			endpoint = optarg;
		else if (option == 'r')
			region = optarg;
		else if (option == 'd')
			config.deadline_ms = atoll(optarg);
		else if (option == 'c')
			config.connect_timeout_ms = atoll(optarg);
		else if (option == 'n')
			config.max_retries = (unsigned)atoi(optarg);
		else
			return 2;
	}
	if (optind >= argc)
		return 2;
	int r = transfer_start(&config, &t, &e);
	if (!r)
		r = store_open(t, "test", argv[optind], endpoint, region, &s, &e);
	if (!r)
		r = run(s, argc - optind - 1, argv + optind + 1, &e);
	store_free(s);
	transfer_stop(t);
	if (r)
		fprintf(stderr, "%s: %s\n", strerrorname_np(-r), e.text);
	return r ? 1 : 0;
}
