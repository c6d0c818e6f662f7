#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/domain.h"
#include "catalog/heads.h"
#include "catalog/manifest_write.h"
#include "test/unit/check.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

static char folder[64];
static struct transfer *transfer;
static struct err e;

/* A manifest with one empty file, put into the store; `ret` names it as a snapshot would. */
static struct domain *with_manifest(const char *host, struct version_info *ret)
{
	struct domain *d = NULL;
	struct stage *stage;
	struct stage_result result;
	struct manifest_entry file = { .kind = ENTRY_FILE };
	char path[160], key[HEADS_KEY_SIZE];
	if (!*folder) {
		strcpy(folder, "/tmp/meshfs-test-manifests-XXXXXX");
		if (!mkdtemp(folder) || transfer_start(&(struct transfer_config){ 0 }, &transfer, NULL))
			abort();
	}
	char *cache = text_format("%s/%s", folder, host), *url = text_format("file://%s/store", folder);
	struct mesh_config mesh = { .cache_folder = cache };
	struct mesh_domain config = { .name = (char *)"sales", .store = url };
	snprintf(path, sizeof path, "%s/manifest", folder);
	unlink(path);
	if (domain_open(&mesh, &config, transfer, &d, &e) || store_prepare(domain_store(d), &e) || stage_new(folder, &stage, &e))
		abort();
	sha256_of("", 0, &file.content);
	xxh128_of("", 0, &file.hash);
	if (stage_put(stage, "a.csv", &file, 1, NULL, 0, false, &e) || stage_write(stage, path, "sales", "orders", "1.0.0", 1, &result, &e))
		printf("%s\n", e.text);
	stage_free(stage);
	*ret = (struct version_info){ .number = { 1, 0, 0 }, .manifest = result.digest, .manifest_size = result.size };
	strcpy(ret->version, "1.0.0");
	manifest_key(&ret->manifest, key);
	if (store_put_file(domain_store(d), key, path, NULL, NULL, &e))
		printf("%s\n", e.text);
	free(cache);
	free(url);
	return d;
}

static void run(const char *what)
{
	char *command = text_format("cd %s && %s", folder, what);
	if (system(command))
		abort();
	free(command);
}

TEST(fetched_once_then_from_the_cache)
{
	struct version_info v;
	struct manifest *m, *again;
	struct manifest_entry entry;
	struct domain *d = with_manifest("a", &v);
	CHECK_INT(domain_manifest_cached(d, "orders", &v, &m, &e), -EAGAIN);
	CHECK_OK(domain_manifest(d, "orders", &v, &m, &e), &e);
	CHECK_INT(manifest_resolve(m, "a.csv", &entry), 0);
	run("mv store away");
	CHECK_OK(domain_manifest_cached(d, "orders", &v, &again, &e), &e);
	CHECK(m == again);
	manifest_unref(m);
	manifest_unref(again);
	domain_free(d);
	run("mv away store");
	d = with_manifest("a", &v); /* another process later: from the file */
	run("mv store away");
	CHECK_OK(domain_manifest_cached(d, "orders", &v, &m, &e), &e);
	manifest_unref(m);
	domain_free(d);
	run("mv away store");
}

TEST(damaged_copies_are_fetched_again)
{
	struct version_info v;
	struct manifest *m;
	struct domain *d = with_manifest("b", &v);
	CHECK_OK(domain_manifest(d, "orders", &v, &m, &e), &e);
	manifest_unref(m);
	domain_free(d);
	run("for f in b/domains/*/manifests/*; do printf X | dd of=$f bs=1 seek=900 conv=notrunc 2>/dev/null; done");
	d = with_manifest("b", &v);
	CHECK_INT(domain_manifest_cached(d, "orders", &v, &m, &e), -EAGAIN);
	CHECK_OK(domain_manifest(d, "orders", &v, &m, &e), &e);
	manifest_unref(m);
	domain_free(d);
}

TEST(what_does_not_fit_is_refused)
{
	struct version_info v, other;
	struct manifest *m = NULL;
	struct domain *d = with_manifest("c", &v);
	CHECK_OK(domain_manifest(d, "orders", &v, &m, &e), &e);
	manifest_unref(m);
	CHECK_INT(domain_manifest(d, "returns", &v, &m, &e), -EBADMSG); /* one manifest under two names */
	other = v;
	strcpy(other.version, "2.0.0");
	CHECK_INT(domain_manifest(d, "orders", &other, &m, &e), -EBADMSG);
	domain_free(d);
	d = with_manifest("d", &v);
	v.manifest_size -= 1; /* a length that is not the object's */
	CHECK_INT(domain_manifest(d, "orders", &v, &m, &e), -EBADMSG);
	v.manifest_size += 1;
	run("for f in store/.mesh/manifests/*; do chmod u+w $f; printf X | dd of=$f bs=1 seek=900 conv=notrunc 2>/dev/null; done");
	CHECK_INT(domain_manifest(d, "orders", &v, &m, &e), -EBADMSG);
	CHECK_INT(e.kind, ERR_INTEGRITY);
	run("rm -f store/.mesh/manifests/*; test ! -e d/domains/*/manifests/*");
	CHECK_INT(domain_manifest(d, "orders", &v, &m, &e), -EIO);
	CHECK(strstr(e.text, "not in the store"));
	domain_free(d);
}

struct shared {
	struct domain *d;
	struct version_info *v;
	struct manifest *m;
	int r;
};

static void *load(void *arg)
{
	struct shared *s = arg;
	struct err why = ERR_INIT;
	s->r = domain_manifest(s->d, "orders", s->v, &s->m, &why);
	return NULL;
}

TEST(many_threads_share_one_load)
{
	struct version_info v;
	struct domain *d = with_manifest("e", &v);
	struct shared shared[8];
	pthread_t threads[8];
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 8; i++) {
			shared[i] = (struct shared){ d, &v, NULL, 1 };
			CHECK_INT(pthread_create(&threads[i], NULL, load, &shared[i]), 0);
		}
		for (int i = 0; i < 8; i++)
			pthread_join(threads[i], NULL);
		for (int i = 0; i < 8; i++) {
			CHECK_INT(shared[i].r, 0);
			CHECK(shared[i].m == shared[0].m);
			manifest_unref(shared[i].m);
		}
	}
	domain_free(d);
	run("rm -rf store e");
	d = with_manifest("e", &v);
	run("rm -rf store/.mesh/manifests");
	for (int i = 0; i < 8; i++) {
		shared[i] = (struct shared){ d, &v, NULL, 1 };
		CHECK_INT(pthread_create(&threads[i], NULL, load, &shared[i]), 0);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 8; i++)
		CHECK(shared[i].r < 0 && !shared[i].m);
	domain_free(d);
	io_remove_tree(folder, NULL);
	transfer_stop(transfer);
}

CHECK_MAIN()
