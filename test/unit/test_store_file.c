#include "catalog/base/io.h"
#include "catalog/store/store.h"
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], url[96];

static struct store *fresh(struct transfer *t)
{
	struct err e = ERR_INIT;
	struct store *s = NULL;
	snprintf(folder, sizeof folder, "/tmp/meshfs-test-XXXXXX");
	if (!mkdtemp(folder))
		return NULL;
	snprintf(url, sizeof url, "file://%s/s", folder);
	if (store_open(t, "sales", url, NULL, NULL, &s, &e) || store_prepare(s, &e))
		printf("%s\n", e.text);
	return s;
}

static void finish(struct store *s)
{
	store_free(s);
	io_remove_tree(folder, NULL);
}

TEST(put_get_head_delete)
{
	struct err e = ERR_INIT;
	struct store *s = fresh(NULL);
	CHECK(s);
	CHECK_OK(store_put(s, ".mesh/packs/ab", "hello", 5, PUT_REPLACE, &e), &e);
	struct buf b = BUF_INIT;
	struct object_info info, again;
	CHECK_OK(store_get(s, ".mesh/packs/ab", 100, &b, &info, &e), &e);
	CHECK_STR(buf_text(&b), "hello");
	CHECK_INT(info.size, 5);
	CHECK(info.etag[0] == '"' && info.modified_ns > 0);
	CHECK_INT(store_get(s, ".mesh/packs/ab", 4, &b, NULL, &e), -EFBIG);
	buf_free(&b);
	char bytes[3];
	CHECK_OK(store_get_range(s, ".mesh/packs/ab", 1, 3, info.etag, bytes, &e), &e);
	CHECK(!memcmp(bytes, "ell", 3));
	CHECK_INT(store_get_range(s, ".mesh/packs/ab", 3, 3, NULL, bytes, &e), -EBADMSG);
	CHECK_OK(store_put(s, ".mesh/packs/ab", "HELLO", 5, PUT_REPLACE, &e), &e);
	CHECK_OK(store_head(s, ".mesh/packs/ab", &again, &e), &e);
	CHECK(strcmp(info.etag, again.etag) != 0);
	CHECK_INT(store_get_range(s, ".mesh/packs/ab", 1, 3, info.etag, bytes, &e), -ESTALE);
	CHECK_OK(store_delete(s, ".mesh/packs/ab", &e), &e);
	CHECK_OK(store_delete(s, ".mesh/packs/ab", &e), &e);
	CHECK_INT(store_head(s, ".mesh/packs/ab", &again, &e), -ENOENT);
	CHECK_INT(e.kind, ERR_ABSENT);
	finish(s);
}

TEST(exclusive_create_has_one_winner)
{
	struct err e = ERR_INIT;
	bool honoured = false;
	struct store *s = fresh(NULL);
	CHECK_OK(store_probe_exclusive(s, &honoured, &e), &e);
	CHECK(honoured);
	CHECK_OK(store_put(s, ".mesh/heads/1", "a", 1, PUT_EXCLUSIVE, &e), &e);
	CHECK_INT(store_put(s, ".mesh/heads/1", "b", 1, PUT_EXCLUSIVE, &e), -EEXIST);
	struct buf b = BUF_INIT;
	CHECK_OK(store_get(s, ".mesh/heads/1", 10, &b, NULL, &e), &e);
	CHECK_STR(buf_text(&b), "a");
	buf_free(&b);
	finish(s);
}

TEST(mesh_folder_is_private_and_no_temporary_stays)
{
	struct err e = ERR_INIT;
	struct stat st;
	char path[128];
	struct store *s = fresh(NULL);
	snprintf(path, sizeof path, "%s/s/.mesh", folder);
	CHECK(!stat(path, &st));
	CHECK_INT(st.st_mode & 07777, 0700);
	CHECK_OK(store_put(s, ".mesh/x", "1", 1, PUT_EXCLUSIVE, &e), &e);
	CHECK_INT(store_put(s, ".mesh/x", "1", 1, PUT_EXCLUSIVE, &e), -EEXIST);
	CHECK_OK(store_put(s, ".mesh/x", "2", 1, PUT_REPLACE, &e), &e);
	snprintf(path, sizeof path, "%s/s/.mesh/tmp", folder);
	CHECK_INT(rmdir(path), 0);
	finish(s);
}

static int count_keys(void *arg, const char *key, const struct object_info *info)
{
	struct buf *b = arg;
	buf_addf(b, "%s=%llu;", key, (unsigned long long)info->size);
	return 0;
}

static int stop_at_once(void *arg, const char *key, const struct object_info *info)
{
	(void)arg;
	(void)key;
	(void)info;
	return 7;
}

TEST(list_by_prefix)
{
	struct err e = ERR_INIT;
	struct store *s = fresh(NULL);
	CHECK_OK(store_put(s, ".mesh/heads/1", "a", 1, PUT_REPLACE, &e), &e);
	CHECK_OK(store_put(s, ".mesh/heads2/1", "ab", 2, PUT_REPLACE, &e), &e);
	CHECK_OK(store_put(s, "data/a b.csv", "abc", 3, PUT_REPLACE, &e), &e);
	struct buf b = BUF_INIT;
	CHECK_OK(store_list(s, ".mesh/heads/", count_keys, &b, &e), &e);
	CHECK_STR(buf_text(&b), ".mesh/heads/1=1;");
	buf_clear(&b);
	CHECK_OK(store_list(s, "da", count_keys, &b, &e), &e);
	CHECK_STR(buf_text(&b), "data/a b.csv=3;");
	CHECK_INT(store_list(s, "", stop_at_once, NULL, &e), 7);
	buf_clear(&b);
	CHECK_OK(store_list(s, "none/", count_keys, &b, &e), &e);
	CHECK_STR(buf_text(&b), "");
	buf_free(&b);
	finish(s);
}

TEST(bad_keys_and_links_out_are_refused)
{
	struct err e = ERR_INIT;
	struct object_info info;
	char path[128];
	struct store *s = fresh(NULL);
	static const char *const bad[] = { "", "/etc/passwd", "a//b", "../x", "a/../../x", "a/.", "a/" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_INT(store_head(s, bad[i], &info, &e), -EINVAL);
	snprintf(path, sizeof path, "%s/s/out", folder);
	CHECK_INT(symlink("/etc/passwd", path), 0);
	CHECK_INT(store_head(s, "out", &info, &e), -EACCES);
	snprintf(path, sizeof path, "%s/s/pipe", folder);
	CHECK_INT(mkfifo(path, 0600), 0);
	CHECK_INT(store_head(s, "pipe", &info, &e), -ENOENT);
	finish(s);
}

TEST(a_missing_folder_is_unreachable_not_empty)
{
	struct err e = ERR_INIT;
	struct object_info info;
	struct store *s = NULL;
	CHECK_OK(store_open(NULL, "sales", "file:///nonexistent/s", NULL, NULL, &s, &e), &e);
	CHECK_INT(store_head(s, ".mesh/HEAD", &info, &e), -EIO);
	CHECK_INT(store_list(s, "", stop_at_once, NULL, &e), -EIO);
	store_free(s);
	CHECK_INT(store_open(NULL, "sales", "ftp://x/", NULL, NULL, &s, &e), -EINVAL);
	CHECK_INT(store_open(NULL, "sales", "file://x/", NULL, NULL, &s, &e), -EINVAL);
}

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int code;
	struct buf got;
};

static int on_data(void *arg, const void *bytes, size_t len)
{
	struct waiter *w = arg;
	buf_add(&w->got, bytes, len);
	return 0;
}

static void on_done(void *arg, int code, const struct err *e)
{
	struct waiter *w = arg;
	(void)e;
	pthread_mutex_lock(&w->lock);
	w->code = code;
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static int fetch_and_wait(struct store *s, const char *key, uint64_t offset, uint64_t length, struct waiter *w)
{
	struct err e = ERR_INIT;
	*w = (struct waiter){ PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, BUF_INIT };
	struct fetch_request q = { .key = key, .offset = offset, .length = length, .on_data = on_data, .on_done = on_done, .arg = w };
	int r = store_fetch(s, &q, NULL, &e);
	if (r)
		return r;
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return w->code;
}

TEST(async_ranges_and_files)
{
	struct err e = ERR_INIT;
	struct transfer *t = NULL;
	struct waiter w;
	size_t size = 3u << 20;
	CHECK_OK(transfer_start(NULL, &t, &e), &e);
	struct store *s = fresh(t);
	char *bytes = malloc(size), path[128];
	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 31 + (i >> 9));
	CHECK_OK(store_put(s, "big", bytes, size, PUT_REPLACE, &e), &e);
	CHECK_INT(fetch_and_wait(s, "big", 1000, size - 2000, &w), 0);
	CHECK_INT(w.got.len, size - 2000);
	CHECK(!memcmp(w.got.data, bytes + 1000, size - 2000));
	buf_free(&w.got);
	CHECK_INT(fetch_and_wait(s, "big", size - 10, 20, &w), -EBADMSG);
	buf_free(&w.got);
	CHECK_INT(fetch_and_wait(s, "none", 0, 20, &w), -ENOENT);
	CHECK_INT(fetch_and_wait(s, "big", 0, 0, &w), -EINVAL);
	snprintf(path, sizeof path, "%s/copy", folder);
	CHECK_OK(store_get_file(s, "big", path, NULL, &e), &e);
	CHECK_OK(store_put_file(s, "big2", path, NULL, NULL, &e), &e);
	struct buf b = BUF_INIT;
	CHECK_OK(store_get(s, "big2", size, &b, NULL, &e), &e);
	CHECK(b.len == size && !memcmp(b.data, bytes, size));
	buf_free(&b);
	free(bytes);
	finish(s);
	transfer_stop(t);
}

CHECK_MAIN()
